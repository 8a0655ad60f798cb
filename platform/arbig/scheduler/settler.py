"""Scheduler: what becomes of what a run has begun: its unfilled intents, and the strategies that it deployed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import structlog
from msgspec.structs import replace

from arbig.runtime.http import CallError, call
from arbig.runtime.settings import Settings
from arbig.store.runs import Run

DEPLOYED = "deployed.jsonl"
RUNNING = ("WAITING", "WORKING")
GONE = (404, 409)
log = structlog.get_logger()


def deployed(folder: Path) -> list[str]:
    """Strategies that came into the house through the run; one that it found there already is not its own."""
    wished, answered = [], {}
    for line in _lines(folder / DEPLOYED):
        if "attached" in line:
            answered[line["strategy_name"]] = line["attached"]
        elif line["strategy_name"] not in wished:
            wished.append(line["strategy_name"])
    return [name for name in wished if not answered.get(name, True)]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue  # the last one of a run that was killed while it wrote


async def settled(settings: Settings, run: Run, keep_intents: bool) -> Run:
    """The run with its orders, when everything is asked for. Raises CallError when somebody is away."""
    answer = await call(settings, "trading", "GET", "/intents", params={"run_id": run.run_id})
    intents = answer["intents"]
    if not keep_intents:
        for intent in intents:
            if intent["state"] in RUNNING:
                await _unless_gone(
                    settings, "trading", "DELETE", f"/intents/{intent['id']}", params={"reason": "its run has ended"}
                )
        intents = (await call(settings, "trading", "GET", "/intents", params={"run_id": run.run_id}))["intents"]
    strategies = deployed(settings.data / str(run.folder))
    for name in strategies if run.on_end != "keep" else ():
        await _unless_gone(settings, "strategy", "POST", f"/strategies/{name}/stop")
    if run.on_end == "flatten":
        for name in {*strategies, *(intent["strategy_name"] for intent in intents)}:
            wish = {"strategy_name": name, "reason": f"{run.name} has ended"}
            await _unless_gone(settings, "trading", "POST", "/flatten", json=wish)
    kept = ("id", "strategy_name", "intent", "symbol", "target", "state", "detail")
    return replace(
        run,
        strategies=tuple(strategies),
        orders=tuple(order["request_id"] for intent in intents for order in intent["orders"]),
        intents=tuple({name: intent[name] for name in kept} for intent in intents),
        settled=True,
    )


async def _unless_gone(settings: Settings, service: str, method: str, path: str, **words: Any) -> None:
    """What is over already, or never was, needs nothing."""
    try:
        await call(settings, service, method, path, **words)
    except CallError as error:
        if error.status not in GONE:
            raise
        log.info(f"{method} {path}: {error}")
