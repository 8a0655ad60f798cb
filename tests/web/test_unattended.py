"""A notebook that nobody watches: where money is real Web lets it look, close, stop and want, and nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from arbig.client.client import ArbigClient
from arbig.runtime.audit import trail_of
from arbig.runtime.settings import Settings, load_settings
from arbig.web.unattended import refusal

RUN = {"X-Arbig-Run": "gold"}
REFUSED = (
    ("POST", "orders", "send an order"),
    ("POST", "strategies", "deploy a strategy"),
    ("POST", "strategies/Quiet/start", "start a strategy"),
    ("POST", "strategies/Quiet/resume", "start a strategy"),
    ("DELETE", "strategies/Quiet", "remove a strategy"),
    ("POST", "rolls", "roll a strategy"),
    ("POST", "grants", "give a grant"),
    ("POST", "trading/state", "POST /api/v1/trading/state"),
    ("POST", "positions/assign", "POST /api/v1/positions/assign"),
    ("POST", "tickets", "POST /api/v1/tickets"),
    ("POST", "intents/more", "POST /api/v1/intents/more"),
)
ALLOWED = (
    ("POST", "intents"),
    ("DELETE", "intents/3f2a"),
    ("DELETE", "orders/4711"),
    ("POST", "flatten"),
    ("POST", "halt"),
    ("POST", "strategies/Quiet/stop"),
    ("POST", "strategies/Quiet/pause"),
    ("POST", "orders?preview=true"),
)


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Of a house with real money."""
    config = tmp_path / "config"
    shutil.copytree(settings.config, config)
    house = {"gateway": "ctp", "mode": "live", "account_id": "broker-1", "symbols": ["au2512"]}
    (config / "arbig.yaml").write_text(yaml.safe_dump(house))
    return load_settings(root=settings.root, config=config, data=settings.data, port_offset=settings.port_offset)


@pytest.mark.parametrize(("method", "path", "deed"), REFUSED)
def test_what_only_a_person_does_is_refused_in_words(method: str, path: str, deed: str) -> None:
    line = f"gold: a scheduled notebook may not {deed} with real money, a person does; it trades by desk.target alone"
    assert refusal("gold", method, f"/api/v1/{path}", is_preview=False) == line


def test_the_door_is_shut_to_a_run_alone_and_the_trail_names_it(web: Any) -> None:
    for name in ("trading", "strategy", "scheduler"):
        web.start_sibling(name)
    with web.as_program() as program:
        doors = [(method, f"/api/v1/{path}") for method, path, _ in REFUSED]
        assert {program.request(*door, headers=RUN).status_code for door in doors} == {403}
        assert 403 not in {program.request(*door, json={}).status_code for door in doors}
        let_in = [program.request(method, f"/api/v1/{path}", headers=RUN, json={}) for method, path in ALLOWED]
        assert 403 not in {answer.status_code for answer in let_in}
    trail = [(row.who, row.what) for row in trail_of(web.settings).rows()]
    assert ("web trader by token in a run of gold", "-> 403 gold: a scheduled notebook may not send an order") in [
        (who, what.partition(" with")[0]) for who, what in trail
    ]


@pytest.mark.parametrize(
    ("risk", "change", "granted", "line"),
    [
        ({}, {}, None, "Quiet: has no max_position that a grant could name"),
        ({"max_position": 2}, {}, "Quiet: real money needs a grant", "Quiet: real money needs a grant"),
        ({"max_position": 2}, {"max_position": None}, None, "Quiet: has no max_position that a grant could name"),
        ({"max_position": 2}, {}, None, None),
    ],
)
def test_an_edit_needs_a_grant_of_all_the_strategy_may_hold(
    web: Any, risk: dict[str, Any], change: dict[str, Any], granted: str | None, line: str | None
) -> None:
    for name in ("trading", "strategy"):
        web.start_sibling(name)
    web.siblings.answers = {
        ("strategy", "GET", "/strategies"): (200, {"strategies": [{"strategy_name": "Quiet", "risk": risk}]}),
        ("strategy", "PATCH", "/strategies/Quiet"): (200, {"state": "RUNNING"}),
        ("trading", "GET", "/granted"): (200, {"refusal": granted}),
    }
    with web.as_program() as program:
        answer = program.patch("/api/v1/strategies/Quiet", headers=RUN, json={"params": {}, "risk": change})
    changed = [heard for heard in web.siblings.heard if heard[1] == "PATCH"]
    assert (answer.status_code, len(changed)) == ((200, 1) if line is None else (403, 0))
    assert line is None or line in answer.json()["detail"]


def test_a_client_says_for_which_run_it_speaks(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "X-Arbig-Run" not in ArbigClient("http://127.0.0.1:1", "word")._http.headers
    monkeypatch.setenv("ARBIG_RUN_NAME", "gold")
    assert ArbigClient("http://127.0.0.1:1", "word")._http.headers["X-Arbig-Run"] == "gold"
