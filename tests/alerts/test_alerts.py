"""From the stream to a webhook and a mail: once, counted, whatever dies."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from arbig.alerts.service import AlertsService
from arbig.bus.memory import MemoryBus
from arbig.bus.redis import RedisBus
from arbig.bus.topics import EVENT
from arbig.domain.messages import SHANGHAI, EventData, EventType, encode
from arbig.runtime.audit import note
from arbig.runtime.clock import WallClock
from arbig.runtime.http import CallError, ask
from arbig.runtime.settings import Settings

AT = datetime(2025, 10, 9, 21, 0, 5, tzinfo=SHANGHAI)


def event(name: str, kind: EventType = EventType.ALARM, **more: Any) -> tuple[str, bytes]:
    words = {"message": f"{name} is wrong"} | more
    return EVENT.name, encode(EventData(event=kind, source="trading", datetime=AT, event_id=name, **words))


class Alerting:
    """The service on the bus in memory."""

    def __init__(self, settings: Settings) -> None:
        self.bus = MemoryBus()
        self.settings = settings

    async def __aenter__(self) -> Alerting:
        await self.restart()
        return self

    async def restart(self) -> None:
        self.service = AlertsService(self.settings, self.bus, WallClock())
        await self.service.start()

    async def __aexit__(self, *_: object) -> None:
        await self.service.stop()


async def holds(what: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not what():  # noqa: ASYNC110 - the receiver is a thread
            await asyncio.sleep(0.02)


def test_each_kind_reaches_the_targets_that_want_it_by_webhook_and_by_mail(house, webhook, mail):
    settings = house(
        f"targets:\n  hook: {{url: 'json://127.0.0.1:{webhook.port}', per_minute: 60}}\n"
        f"  mail: {{url: 'mailto://127.0.0.1:{mail.port}?from=a@localhost&to=b@localhost&mode=insecure',"
        " kinds: [halt]}"
    )

    async def run() -> None:
        async with Alerting(settings) as alerting:
            await alerting.bus.append([event("Redis"), event("by hand", EventType.TRADING_STATE, state="HALTED")])
            await holds(lambda: len(webhook.lines) == 2 and mail.mails)
            note(settings, "web session", "10.0.0.7", "log in", "by ticket")
            await holds(lambda: len(webhook.lines) == 3)

    asyncio.run(run())
    assert [line.split(" ", 2)[2] for line in webhook.lines] == [
        "alarm: Redis is wrong",
        "trading state: trading is HALTED: by hand is wrong",
        "log-in: web session logged in from 10.0.0.7",
    ]
    assert len(mail.mails) == 1 and "trading is HALTED: by hand is wrong" in mail.mails[0].replace("=\r\n", "")


def test_a_dead_target_is_told_on_the_console_and_hears_everything_when_it_is_back(house, webhook, monkeypatch):
    monkeypatch.setattr("arbig.alerts.sender.AGAIN_SECONDS", (0.05,))
    settings = house(f"targets: {{hook: {{url: 'json://127.0.0.1:{webhook.port}', per_minute: 60}}}}")
    webhook.broken = True

    async def run() -> None:
        async with Alerting(settings) as alerting:
            await alerting.bus.append([event("Redis")])
            await holds(lambda: alerting.service.senders["hook"].failures >= 2)
            (line,) = alerting.service.status()["alarms"]
            assert line.startswith("alert target hook is not reached since ") and "1 alerts wait" in line
            assert "503" in line
            webhook.broken = False
            await holds(lambda: webhook.lines)
            await holds(lambda: alerting.service.status()["alarms"] == [])

    asyncio.run(run())
    assert len(webhook.lines) == 1


def test_in_quiet_hours_only_what_is_urgent_is_told(house, webhook):
    settings = house(
        f"targets: {{hook: {{url: 'json://127.0.0.1:{webhook.port}', quiet: '00:00-23:59', urgent: [halt]}}}}"
    )

    async def run() -> None:
        async with Alerting(settings) as alerting:
            await alerting.bus.append([event("Redis"), event("by hand", EventType.TRADING_STATE, state="HALTED")])
            await holds(lambda: webhook.lines)
            assert [one.kind for one in alerting.service.store.waiting("hook")] == ["alarm"]
            assert alerting.service.senders["hook"].as_json()["state"] == "QUIET"

    if WallClock().now().strftime("%H:%M") == "23:59":
        pytest.fail("run again in a minute")
    asyncio.run(run())
    assert [line.split(" ", 2)[2] for line in webhook.lines] == ["trading state: trading is HALTED: by hand is wrong"]


def test_a_restart_reads_on_where_it_stopped(house, webhook):
    settings = house(f"targets: {{hook: {{url: 'json://127.0.0.1:{webhook.port}', per_minute: 60}}}}")

    async def run() -> None:
        async with Alerting(settings) as alerting:
            await alerting.bus.append([event("one")])
            await holds(lambda: alerting.service.senders["hook"].last_sent)
            await alerting.service.stop()
            await alerting.bus.append([event("two")])
            await alerting.restart()
            await holds(lambda: len(webhook.lines) == 2)

    asyncio.run(run())
    assert [line.split(": ", 1)[1] for line in webhook.lines] == ["one is wrong", "two is wrong"]


def test_the_test_button_says_what_each_target_answered(house, webhook):
    settings = house(
        f"language: zh\ntargets:\n  hook: {{url: 'json://127.0.0.1:{webhook.port}'}}\n"
        "  nobody: {url: 'json://127.0.0.1:9/x'}"
    )
    app = FastAPI()
    service = AlertsService(settings, MemoryBus(), WallClock())
    service.routes(app)

    async def asked(method: str, path: str, json: Any = None) -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            return await client.request(method, path, json=json)

    answer = asyncio.run(asked("POST", "/alerts/test", {})).json()["results"]
    assert [(one["target"], one["ok"]) for one in answer] == [("hook", True), ("nobody", False)]
    assert webhook.heard[0]["title"] == "[ARBIG sim] 测试"
    assert asyncio.run(asked("POST", "/alerts/test", {"target": "pager"})).status_code == 404
    shown = asyncio.run(asked("GET", "/alerts")).json()["targets"]
    assert [(one["name"], one["kind"], one["masked"]) for one in shown] == [
        ("hook", "JSON", f"json://127.0.0.1:{webhook.port}/"),
        ("nobody", "JSON", "json://127.0.0.1:9/x"),
    ]
    service.store.close()


# ---- real processes, a real Redis ---------------------------------------------------------------------------------


@contextmanager
def child(settings: Settings, module: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    house = {
        "ARBIG_ROOT": settings.root,
        "ARBIG_CONFIG": settings.config,
        "ARBIG_DATA": settings.data,
        "ARBIG_PORT_OFFSET": settings.port_offset,
    }
    environment = {**os.environ, **{name: str(value) for name, value in house.items()}, **more}
    process = subprocess.Popen([sys.executable, "-m", "arbig.runtime.lean", module], env=environment)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def is_ready(settings: Settings) -> bool:
    try:
        return bool(ask(settings, "alerts", "GET", "/ready")["ready"])
    except CallError:
        return False


def test_who_is_killed_in_the_middle_loses_no_alert_and_repeats_at_most_one(
    redis: Settings, webhook, until, tmp_path: Path
):
    """Before it is written down, after, and while the receiver has the message and has not answered."""
    crash = tmp_path / "crash"
    text = f"targets: {{hook: {{url: 'json://127.0.0.1:{webhook.port}', per_minute: 60}}}}"
    (redis.config / "alerts.yaml").write_text(text)

    def append(name: str) -> None:
        async def run() -> None:
            bus = await RedisBus.connect(redis.redis_for("trading"))
            await bus.append([event(name)])
            await bus.close()

        asyncio.run(run())

    def told() -> list[str]:
        return [line.split("alarm: ")[1].removesuffix(" is wrong") for line in webhook.lines]

    for name, point in (("first", "al.before_commit"), ("second", "al.after_commit")):
        with child(redis, "arbig.alerts", ARBIG_CRASH=f"@{crash}") as process:
            until(lambda: is_ready(redis))
            crash.write_text(point)
            append(name)
            process.wait(30)
    with child(redis, "arbig.alerts") as process:
        until(lambda: told() == ["first", "second"])
        webhook.gate.clear()
        append("third")
        until(lambda: told() == ["first", "second", "third"])
        process.send_signal(signal.SIGKILL)
        process.wait()
        webhook.gate.set()
        append("fourth")
    with child(redis, "arbig.alerts"):
        until(lambda: is_ready(redis))
        until(lambda: {one["state"] for one in ask(redis, "alerts", "GET", "/alerts")["sent"]} == {"SENT"})
        until(lambda: told()[-1] == "fourth")
    assert told() == ["first", "second", "third", "third", "fourth"]
