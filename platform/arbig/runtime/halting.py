"""Halting: a person's hand on the house. A halt is told to Trading and to the Gateway side by side: either one, alone,
keeps orders from the counter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from arbig.bus.topics import GATEWAY, TRADING
from arbig.runtime.http import CallError, ask
from arbig.runtime.settings import Settings

HALTED = "HALTED"
BY_HAND = "halted by a person"
ASK_SECONDS = 3.0
LOOK_SECONDS = 0.5
RUNNING = ("WAITING", "CANCELLING", "CLOSING", "HOLDING", "MOVING", "BINDING")
JOBS = {"flattens": "/flatten", "rolls": "/rolls"}


def halt(settings: Settings, reason: str = "") -> dict[str, str]:
    """What each of the two doors has answered."""
    body = {"state": HALTED, "reason": reason or BY_HAND}

    def told(service: str) -> str:
        try:
            found: Mapping[str, Any] = ask(settings, service, "POST", "/state", json=body, timeout=ASK_SECONDS)
        except CallError as error:
            return str(error)
        return str(found.get("wanted") or found["state"])

    with ThreadPoolExecutor(2) as pool:
        return dict(zip((TRADING, GATEWAY), pool.map(told, (TRADING, GATEWAY)), strict=True))


def follow(
    settings: Settings, job_id: str, kind: str = "flattens", pause: Callable[[float], None] = time.sleep
) -> Iterator[Mapping[str, Any]]:
    """A flatten or a roll each time it has changed, until it is over. While Trading is away: `{"state": "AWAY"}`."""
    last: Mapping[str, Any] = {}
    while True:
        try:
            rows = ask(settings, TRADING, "GET", JOBS[kind], timeout=ASK_SECONDS)[kind]
            found = next((row for row in rows if row["id"] == job_id), {"state": "UNKNOWN", "detail": "", "left": []})
        except CallError as error:
            found = {"state": "AWAY", "detail": f"{error}; it goes on when Trading is back", "left": []}
        if found != last:
            yield found
            last = found
        if found["state"] not in (*RUNNING, "AWAY"):
            return
        pause(LOOK_SECONDS)
