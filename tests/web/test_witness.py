"""The audit trail: each action that came to Web is one line, done or refused: who, in which role, from where, what,
and how it ended."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import datetime

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from arbig.bus.memory import MemoryBus
from arbig.domain.messages import SHANGHAI
from arbig.runtime.audit import trail_of
from arbig.runtime.clock import ManualClock, WallClock
from arbig.runtime.settings import Settings
from arbig.runtime.witness import STRANGERS_A_MINUTE, Strangers, outcome
from arbig.web.pending import Pending
from arbig.web.service import WebService

ORDER = {"symbol": "au2512", "direction": "LONG", "offset": "OPEN", "price": 880.0, "volume": 1}


def lines(web) -> list[tuple[str, str, str]]:
    return [(row.who, row.action, row.what) for row in trail_of(web.settings).rows()]


def test_an_order_is_one_line_with_who_what_and_how_it_ended(web) -> None:
    web.start_sibling("trading")
    web.siblings.answers["trading", "POST", "/orders"] = (202, {"request_id": "r1", "status": "SUBMITTING"})
    with web.as_program() as program:
        program.post("/api/v1/orders", json=ORDER)
    said = "LONG OPEN 1 au2512 at 880.0 -> 202 r1 SUBMITTING"
    assert [("web trader by token", "order", said)] == lines(web)
    assert ["127.0.0.1"] == [row.place for row in trail_of(web.settings).rows()]


def test_a_session_is_named_from_its_log_in_to_its_log_out(web) -> None:
    web.start_sibling("trading")
    web.siblings.answers["trading", "DELETE", "/orders/77"] = (409, {"detail": "77: is ALLTRADED already"})
    with web.as_browser() as browser:
        browser.delete("/api/v1/orders/77", headers={"Origin": web.url, "X-Arbig": "1"})
        browser.get("/logout")
    found = lines(web)
    assert ["log in", "cancel", "log out"] == [action for _, action, _ in found]
    assert 1 == len({who for who, _, _ in found}) and found[0][0].startswith("web trader by session ")
    assert "77 -> 409 77: is ALLTRADED already" == found[1][2]


@pytest.mark.parametrize(
    ("headers", "who", "ended"),
    [
        ({}, "stranger", "401 log in"),
        ({"Authorization": "Bearer wrong"}, "stranger", "401 wrong token"),
        ({"Host": "evil.example"}, "stranger", "421 Host 'evil.example'"),
        ({"Authorization": "viewer"}, "web viewer by token", "403 a viewer may look, not act"),
        ({"Authorization": "trader"}, "web trader by token", "422 body.direction:"),
    ],
)
def test_what_was_refused_is_a_line_too(web, headers: dict[str, str], who: str, ended: str) -> None:
    tokens = {"viewer": web.settings.viewer_token, "trader": web.settings.token}
    given = {name: f"Bearer {tokens[word]}" if word in tokens else word for name, word in headers.items()}
    with web.http(headers=given) as visitor:
        visitor.post("/api/v1/orders", json=ORDER | {"direction": "UP"})
    ((found, action, what),) = lines(web)
    assert (who, "POST /api/v1/orders", True) == (found, action, what.startswith(f"-> {ended}"))


def test_a_foreign_page_and_a_refused_websocket_are_lines(web) -> None:
    with web.as_browser() as browser:
        browser.post("/api/v1/halt", json={}, headers={"Origin": "http://evil.example", "X-Arbig": "1"})
    with pytest.raises(InvalidStatus), connect(web.url.replace("http", "ws") + "/ws", origin="http://evil.example"):
        pass
    (_, halt), (_, line) = [(who, f"{action} {what}") for who, action, what in lines(web)[1:]]
    assert "-> 403 a POST by cookie needs our own Origin" in halt and halt.startswith("POST /api/v1/halt")
    assert "WebSocket /ws -> 403 Origin 'http://evil.example'" in line


def test_questions_leave_no_line(web) -> None:
    with web.as_program() as program, web.as_viewer() as viewer, web.http() as stranger:
        for visitor in (program, viewer, stranger):
            visitor.get("/api/v1/events")
        assert [] == lines(web)
        stranger.get("/api/v1/events", headers={"Authorization": "Bearer wrong"})
    assert ["stranger"] == [who for who, _, _ in lines(web)]


def test_strangers_do_not_fill_the_disk() -> None:
    clock = ManualClock(datetime(2025, 10, 9, 9, 0, tzinfo=SHANGHAI))
    strangers = Strangers(clock)
    minute = [strangers.more() for _ in range(STRANGERS_A_MINUTE + 12)]
    asyncio.run(clock.advance(61))
    assert [0] * STRANGERS_A_MINUTE + [None] * 12 + [12] == [*minute, strangers.more()]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (202, b'{"request_id": "r1", "status": "SUBMITTING", "x": []}', "202 r1 SUBMITTING"),
        (200, b'{"trading": "HALTED", "gateway": "HALTED"}', "200 HALTED HALTED"),
        (500, b"Internal Server Error", "500"),
        (200, b"[1]", "200"),
        (422, b'{"detail": [{"loc": ["body", "price"], "msg": "too high"}]}', "422 body.price: too high"),
    ],
)
def test_an_outcome_is_a_few_words(status: int, body: bytes, said: str) -> None:
    assert said == outcome(status, body)


def test_an_action_that_web_did_not_outlive_is_a_line_at_its_next_start(settings: Settings) -> None:
    async def next_start() -> None:
        service = WebService(settings, MemoryBus(), WallClock())
        await service.start()
        await service.stop()

    pending = Pending(settings.data / "db" / "web.db")
    pending.add("web trader by session 3fA9b1", "127.0.0.1", "flatten", "au2512 token=abcdef")
    pending.close()
    asyncio.run(next_start())
    (row,) = trail_of(settings).rows()
    assert ("web trader by session 3fA9b1", "flatten") == (row.who, row.action)
    assert "au2512 token=*** -> unknown: Web ended meanwhile" == row.what
    again = Pending(settings.data / "db" / "web.db")
    assert [] == again.left()
    again.close()


def test_a_halt_does_not_wait_behind_slow_questions(web) -> None:
    """Forty people wait for a strategy that is just being deployed; the halt is answered meanwhile."""
    web.hold_strategy()
    for door in ("trading", "gateway"):
        web.start_sibling(door)
        web.siblings.answers[door, "POST", "/state"] = (200, {"state": "HALTED"})
    edit = lambda: httpx.patch(f"{web.url}/api/v1/strategies/x", json={}, headers=web.bearer, timeout=60)
    with ThreadPoolExecutor(40) as people, web.as_program() as program:
        waiting = [people.submit(edit) for _ in range(40)]
        while len(web.siblings.heard) < 40:
            wait(waiting, 0.05)
        assert {"trading": "HALTED", "gateway": "HALTED"} == program.post("/api/v1/halt", json={}).json()
        assert not any(one.done() for one in waiting)
        web.let_go()
