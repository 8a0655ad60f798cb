"""Unattended: what a notebook that the Scheduler runs may do where money is real. Nobody types there, so it looks,
closes and stops, and wants positions, which Trading takes under a grant alone; the rest is a person's.

A notebook says itself that it is one (`client.py`): this keeps a mistake from the counter, not a thief.
"""

from __future__ import annotations

import re

MOST_LETTERS = 64
NAME = r"[^/]+"
ALLOWED = tuple(
    (method, re.compile(f"/api/v1/{path}"))
    for method, path in (
        ("POST", "intents"),
        ("DELETE", f"intents/{NAME}"),
        ("PATCH", f"strategies/{NAME}"),  # under a grant of the strategy's name: the route asks for it
        ("POST", f"strategies/{NAME}/(stop|pause)"),
        ("DELETE", f"orders/{NAME}"),
        ("POST", "flatten"),
        ("POST", "halt"),
        ("POST", f"schedule/{NAME}/run"),
        ("POST", f"runs/{NAME}/stop"),
        ("POST", "alerts/test"),
    )
)
WORDS = (
    ("POST", "strategies", "deploy a strategy"),
    ("POST", f"strategies/{NAME}/(start|resume)", "start a strategy"),
    ("DELETE", f"strategies/{NAME}", "remove a strategy"),
    ("POST", "orders", "send an order"),
    ("POST", "rolls", "roll a strategy"),
    ("POST", "grants", "give a grant"),
)


def refusal(run: str, method: str, path: str, is_preview: bool) -> str | None:
    """Why a run may not do this with real money; None when it may."""
    if any(method == verb and door.fullmatch(path) for verb, door in ALLOWED):
        return None
    if is_preview and (method, path) == ("POST", "/api/v1/orders"):
        return None
    words = (what for verb, door, what in WORDS if verb == method and re.fullmatch(f"/api/v1/{door}", path))
    deed = next(words, f"{method} {path}")
    return f"{run}: a scheduled notebook may not {deed} with real money, a person does; it trades by desk.target alone"
