"""REST: what the services say, passed on; a dead one named in one sentence; a process stopped and started again."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from arbig.domain.messages import SHANGHAI, EventData, EventType, encode
from arbig.runtime.control import Control
from arbig.runtime.settings import Settings

QUERIES = [
    ("/positions", "trading", "/positions", {}),
    ("/account", "trading", "/account", {}),
    ("/orders?active=true&limit=5", "trading", "/orders", {"active": "true", "limit": "5"}),
    ("/trades?since=2025-10-09T09:00:00", "trading", "/trades", {"since": "2025-10-09T09:00:00"}),
    ("/ticks/au2512", "market", "/ticks/au2512", {}),
    ("/bars/au2512?interval=5m&limit=3", "market", "/bars/au2512", {"interval": "5m", "limit": "3"}),
    ("/bars/au2512?until=2025-10-09T09:00:00", "market", "/bars/au2512", {"until": "2025-10-09T09:00:00"}),
    ("/strategies", "strategy", "/strategies", {}),
    ("/instruments", "gateway", "/contracts", {}),
    ("/clock", "gateway", "/clock", {}),
]


@pytest.mark.parametrize(("path", "service", "asked", "query"), QUERIES)
def test_a_question_is_passed_on_with_its_words(
    web, path: str, service: str, asked: str, query: dict[str, str]
) -> None:
    web.start_sibling(service)
    web.siblings.answers[service, "GET", asked] = (200, {"as_of": {}, "here": service})
    with web.as_program() as program:
        assert {"as_of": {}, "here": service} == program.get(f"/api/v1{path}").json()
    heard = [(*heard[:3], {k: v for k, v in heard[3].items() if k in query}) for heard in web.siblings.heard]
    assert [(service, "GET", asked, query)] == heard


def test_bars_are_paged_back_through_history(web) -> None:
    web.start_sibling("market")
    bars = [{"datetime": f"2025-10-09T09:0{n}:00.000", "close_price": 880.0 + n} for n in range(3)]
    web.siblings.answers["market", "GET", "/bars/au2512"] = (200, {"bars": bars, "gaps": []})
    with web.as_program() as program:
        full = program.get("/api/v1/bars/au2512?limit=3").json()
        last = program.get("/api/v1/bars/au2512?limit=4", params={"cursor": full["cursor"]}).json()
    assert ("2025-10-09T09:00:00.000", False) == (full["cursor"], "cursor" in last)
    assert "2025-10-09T09:00:00" == web.siblings.heard[1][3]["until"]


def test_a_dead_service_is_named_in_one_sentence(web) -> None:
    with web.as_program() as program:
        answer = program.get("/api/v1/positions")
    assert (503, "trading does not answer; see: arbig logs trading") == (answer.status_code, answer.json()["detail"])


def test_a_refusal_keeps_its_status_and_its_words(web) -> None:
    web.start_sibling("trading")
    why = "au2512: price 812.3 is outside 790.0-810.0"
    web.siblings.answers["trading", "POST", "/orders"] = (422, {"detail": why})
    wish = {"symbol": "au2512", "direction": "LONG", "offset": "OPEN", "price": 812.3, "volume": 1}
    with web.as_program() as program:
        answer = program.post("/api/v1/orders", json=wish)
    assert (422, why) == (answer.status_code, answer.json()["detail"])


@pytest.mark.parametrize(
    "change", [{"direction": "UP"}, {"price": "nan"}, {"volume": "many"}, {"colour": "red"}, {"symbol": None}]
)
def test_a_wish_that_is_none_reaches_nobody(web, change: dict[str, object]) -> None:
    web.start_sibling("trading")
    wish = {"symbol": "au2512", "direction": "LONG", "offset": "OPEN", "price": 812.3, "volume": 1} | change
    with web.as_program() as program:
        assert program.post("/api/v1/orders", json=wish).status_code == 422
    assert [] == web.siblings.heard


@pytest.mark.parametrize(
    "path", ["/ticks/..%2F..%2Fetc", "/orders?limit=0", "/trades?since=yesterday", "/logs?grep=(", "/events?after=x"]
)
def test_a_question_that_makes_no_sense_is_422_or_404(web, path: str) -> None:
    with web.as_program() as program:
        assert program.get(f"/api/v1{path}").status_code in (404, 422)


def test_strategies_and_cancels_are_passed_on(web) -> None:
    for service in ("trading", "strategy"):
        web.start_sibling(service)
    web.siblings.answers["trading", "DELETE", "/orders/67890"] = (202, {"request_id": "r1", "status": "SUBMITTING"})
    web.siblings.answers["strategy", "POST", "/strategies/MaRsiStrategy/pause"] = (202, {"state": "PAUSED"})
    with web.as_program() as program:
        answers = [
            program.delete("/api/v1/orders/67890").status_code,
            program.post("/api/v1/strategies/MaRsiStrategy/pause").status_code,
            program.post("/api/v1/strategies/MaRsiStrategy/explode").status_code,
        ]
    assert [202, 202, 422] == answers


def test_events_are_read_page_by_page(web) -> None:
    nine = datetime(2025, 10, 9, 9, tzinfo=SHANGHAI)
    events = [EventData(event=EventType.ALARM, source="gateway", datetime=nine, message=str(n)) for n in range(5)]
    web.running.do(web.bus.append([("stream:event", encode(event)) for event in events]))
    with web.as_program() as program:
        newest = program.get("/api/v1/events?limit=2").json()
        rest = program.get("/api/v1/events", params={"after": newest["events"][0]["id"]}).json()
    assert (["3", "4"], ["4"]) == tuple([event["message"] for event in page["events"]] for page in (newest, rest))
    assert newest["as_of"] == rest["as_of"]


def test_logs_of_all_services_in_one_place(web) -> None:
    line = '{{"ts":"2025-10-09T09:00:0{n}.000+08:00","level":"{level}","service":"{name}","event":"{event}"}}\n'
    (web.settings.logs / "market.jsonl").write_text(line.format(n=1, level="info", name="market", event="ready"))
    (web.settings.logs / "trading.jsonl").write_text(line.format(n=0, level="error", name="trading", event="refused"))
    with web.as_program() as program:
        both = [record["event"] for record in program.get("/api/v1/logs").json()["records"]]
        errors = [record["event"] for record in program.get("/api/v1/logs?level=error").json()["records"]]
    assert (["refused", "ready"], ["refused"]) == (both, errors)


# ---- the supervisor


@pytest.fixture
def supervisor(settings: Settings) -> Iterator[Control]:
    """A real supervisord on the socket where ours would be; its `market` only sleeps."""
    configuration = settings.run / "test.conf"
    socket = settings.socket("supervisor")
    configuration.write_text(
        f"[unix_http_server]\nfile={socket}\n[supervisord]\nnodaemon=true\nsilent=true\nlogfile=/dev/null\n"
        f"logfile_maxbytes=0\npidfile={settings.run / 'test.pid'}\n[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        "[program:market]\ncommand=sleep 600\nstartsecs=0\n"
    )
    command = [sys.executable, "-W", "ignore", "-m", "supervisor.supervisord", "-c", str(configuration)]
    process = subprocess.Popen(command, cwd=settings.run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    control = Control(settings)
    while not control.is_up():
        assert process.poll() is None
        time.sleep(0.05)
    yield control
    process.terminate()
    process.wait(20)


def test_a_service_is_stopped_and_started_through_the_supervisor(web, supervisor: Control) -> None:
    pid = lambda: supervisor.processes()[0].pid
    first = pid()
    with web.as_program() as program:
        act = lambda name, action: program.post(f"/api/v1/services/{name}/{action}").status_code
        assert act("market", "restart") == 202
        second = pid()
        assert second not in (None, first)
        assert act("market", "stop") == 202
        assert pid() is None
        assert act("market", "start") == 202
        assert pid() not in (None, first, second)
        assert act("markt", "start") == 404
        assert act("market", "explode") == 422
        assert act("web", "stop") == 409


def test_without_a_supervisor_the_answer_says_so(web) -> None:
    with web.as_program() as program:
        answer = program.post("/api/v1/services/market/restart")
    assert (503, True) == (answer.status_code, "arbig up" in answer.json()["detail"])


def test_status_is_the_object_of_the_command_line(web) -> None:
    with web.as_program() as program:
        found = program.get("/api/v1/status").json()
        services = program.get("/api/v1/services").json()["services"]
    assert {"services", "connection", "trading_state", "orders_today", "trades_today"} <= set(found)
    assert {"gateway", "market", "trading", "strategy", "web", "console", "jupyter"} <= {
        one["name"] for one in services
    }
