"""A person's hand: halt, resume and flatten, over REST and on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain, repeat
from typing import Any

import pytest
from fastapi import FastAPI, Request
from typer.testing import CliRunner

from arbig.cli import app

GATEWAY = {"state": "HALTED", "reason": "storm", "since": None, "number": 4}
TRADING = {"state": "RECONCILING", "wanted": "HALTED", "reason": "storm", "since": "2025-10-15T10:00:00.000",
           "number": 4, "gateway_knows": True}  # fmt: skip
JOB = {"id": "f1", "strategy_name": None, "symbol": None, "state": "CANCELLING", "detail": "begun", "left": []}

Typed = Callable[..., Any]


@pytest.fixture
def typed(web: Any, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """`arbig WORDS` of this copy of the house."""
    monkeypatch.setenv("ARBIG_PORT_OFFSET", str(web.settings.port_offset))
    monkeypatch.setenv("ARBIG_CONFIG", str(web.settings.config))
    monkeypatch.setenv("ARBIG_ROOT", str(web.settings.root))

    def run(*words: str, types: str = "") -> Any:
        return CliRunner().invoke(app, [*words, "--data", str(web.settings.data)], input=types)

    return run


def test_a_halt_is_told_to_trading_and_to_the_gateway(web: Any) -> None:
    web.start_sibling("gateway")
    web.start_sibling("trading")
    web.siblings.answers |= {
        ("gateway", "POST", "/state"): (200, GATEWAY),
        ("trading", "POST", "/state"): (200, TRADING),
    }
    with web.as_program() as program:
        assert {"trading": "HALTED", "gateway": "HALTED"} == program.post(
            "/api/v1/halt", json={"reason": "storm"}
        ).json()
    said = {"state": "HALTED", "reason": "storm"}
    assert [("gateway", said), ("trading", said)] == sorted(
        (service, body) for service, _, _, body in web.siblings.heard
    )


def test_a_halt_works_with_either_dead_and_says_so_when_both_are(web: Any, typed: Typed) -> None:
    with web.as_program() as program:
        assert 503 == program.post("/api/v1/halt", json={}).status_code
    assert 1 == typed("halt").exit_code
    web.start_sibling("gateway")
    web.siblings.answers["gateway", "POST", "/state"] = (200, GATEWAY)
    with web.as_program() as program:
        found = program.post("/api/v1/halt", json={}).json()
    assert "HALTED" == found["gateway"] and "does not answer" in found["trading"]
    done = typed("halt", "the cable smokes")
    assert (0, True) == (done.exit_code, "trading  trading at http" in done.output)
    assert {"state": "HALTED", "reason": "the cable smokes"} == web.siblings.heard[-1][3]


def test_a_resume_says_what_holds_and_why_and_asks_for_a_typed_word(web: Any, typed: Typed) -> None:
    web.start_sibling("trading")
    answers = web.siblings.answers
    answers["trading", "GET", "/state"] = (200, TRADING)
    answers["trading", "POST", "/state"] = (200, TRADING | {"state": "ACTIVE", "wanted": "ACTIVE"})
    done = typed("resume", types="yes\n")
    assert (1, True) == (done.exit_code, "trading is HALTED since 2025-10-15 10:00:00: storm" in done.output)
    assert "nothing is changed" in done.output
    assert ["GET"] == [method for _, method, _, _ in web.siblings.heard]
    assert "trading is ACTIVE" in typed("resume", types="ACTIVE\n").output
    assert "trading is ACTIVE" in typed("resume", "--yes", "--reason", "sun").output
    assert {"state": "ACTIVE", "reason": "sun"} == web.siblings.heard[-1][3]


def test_a_flatten_is_shown_until_the_counter_says_that_it_is_done(web: Any, typed: Typed) -> None:
    left = {"symbol": "au2512", "direction": "LONG", "volume": 2}
    looks = [
        JOB | {"state": "CLOSING", "detail": "2 lots left", "left": [left]},
        JOB | {"state": "DONE", "detail": "flat"},
    ]
    moments = chain(looks, repeat(looks[-1]))
    trading = FastAPI()

    @trading.post("/flatten", status_code=202)
    async def flatten(request: Request) -> Any:
        assert {"strategy_name": None, "symbol": "au2512", "reason": "roll"} == json.loads(await request.body())
        return JOB

    @trading.get("/flatten")
    async def flattens() -> Any:
        return {"flattens": [next(moments)]}

    web.running.serve(trading, web.settings.port("trading"))
    done = typed("flatten", "--symbol", "au2512", "--reason", "roll")
    assert 0 == done.exit_code
    assert [
        "flatten f1 of au2512; Ctrl-C leaves it running",
        "CLOSING    2 lots left (left: 2 au2512 LONG)",
        "DONE       flat",
    ] == [line.strip() for line in done.output.splitlines()]


def test_ctrl_c_leaves_a_flatten_running_and_says_how_to_stop_it(
    web: Any, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.start_sibling("trading")
    answers = web.siblings.answers
    answers["trading", "POST", "/flatten"] = (202, JOB)
    answers["trading", "GET", "/flatten"] = (200, {"flattens": [JOB]})
    answers["trading", "DELETE", "/flatten/f1"] = (200, JOB | {"state": "STOPPED"})

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("arbig.runtime.halting.follow.__defaults__", ("flattens", interrupted))
    done = typed("flatten")
    assert (130, True) == (done.exit_code, "stop it: arbig flatten --stop f1" in done.output)
    assert "f1: STOPPED" in typed("flatten", "--stop", "f1").output


def test_the_state_and_flattens_are_passed_on(web: Any) -> None:
    web.start_sibling("trading")
    answers = web.siblings.answers
    answers["trading", "POST", "/state"] = (200, TRADING)
    answers["trading", "GET", "/flatten"] = (200, {"flattens": [JOB]})
    answers["trading", "POST", "/flatten"] = (202, JOB)
    answers["trading", "DELETE", "/flatten/f1"] = (409, {"detail": "f1: is DONE already"})
    with web.as_program() as program:
        assert "HALTED" == program.post("/api/v1/trading/state", json={"state": "HALTED"}).json()["wanted"]
        assert 422 == program.post("/api/v1/trading/state", json={"state": "RECONCILING"}).status_code
        assert 202 == program.post("/api/v1/flatten", json={"strategy_name": "A"}).status_code
        assert {"strategy_name": "A", "symbol": None, "reason": "asked for by a person"} == web.siblings.heard[-1][3]
        assert [JOB] == program.get("/api/v1/flatten").json()["flattens"]
        assert (409, "f1: is DONE already") == (
            (answer := program.delete("/api/v1/flatten/f1")).status_code,
            answer.json()["detail"],
        )
