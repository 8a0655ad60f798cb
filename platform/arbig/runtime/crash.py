"""Crash points: numbered places on the way of an order where a test lets a process die as if the power had failed.

`ARBIG_CRASH=gw.after_commit:3` ends the process at the third pass of that point, `gw.after_commit:1:stop` makes it
stand still there until it gets a SIGCONT. With `ARBIG_CRASH_GATE=FILE` passes count from when that file exists, and
the name of the point that was hit is written into it.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import NamedTuple

EXIT_CODE = 137


class Point(NamedTuple):
    """Where, on which step of an order's way, and what has happened when the process gets there."""

    name: str
    process: str
    step: str
    sentence: str


STEPS = ("request", "risk", "journal", "command", "reserve", "send", "ack", "status", "trade", "position")
BESIDE = "beside"
"""Of a point that no order passes."""

POINTS = tuple(
    Point(*point)
    for point in (
        ("web.before_forward", "web", "request", "a person's order is read, Trading has not been asked"),
        ("web.after_forward", "web", "request", "Trading has answered, the person has not been told"),
        ("st.before_send", "strategy", "request", "the signals are decided, none is on stream:order"),
        ("st.after_send", "strategy", "request", "the signals are on stream:order, none is ticked off"),
        ("tr.after_append", "trading", "request", "a person's order is on stream:order, nobody has been told"),
        ("tr.after_read", "trading", "request", "the entry is read, nothing has been looked at"),
        ("tr.after_judge", "trading", "risk", "the risk has been judged, nothing is written"),
        ("tr.after_commit", "trading", "journal", "answer, orders and command are on disk, the command is not said"),
        ("tr.after_publish", "trading", "command", "the command is on stream:cmd, not ticked off"),
        ("gw.after_read", "gateway", "command", "the command is read, nothing is written"),
        ("gw.after_commit", "gateway", "reserve", "row and order reference are on disk, nothing is sent"),
        ("gw.before_send", "gateway", "send", "the next thing is the send"),
        ("ex.after_read", "exchange", "send", "the exchange has read the wish, nothing is written"),
        ("ex.after_commit", "exchange", "send", "the exchange has the order, nobody has been told"),
        ("gw.after_send", "gateway", "send", "the order is on the line, no echo has come"),
        ("gw.before_ack", "gateway", "ack", "the command has had its effect, its entry is not acknowledged"),
        ("tr.before_ack", "trading", "ack", "the request has had its effect, its entry is not acknowledged"),
        ("gw.on_callback", "gateway", "status", "the counter has spoken, nothing is written"),
        ("gw.after_journal", "gateway", "status", "what the counter said is on disk, not on a stream"),
        ("gw.after_publish", "gateway", "status", "it is on its streams, not ticked off"),
        ("tr.after_status", "trading", "status", "the order's state is on disk, the entry not acknowledged"),
        ("st.after_apply", "strategy", "status", "an entry's effects and signals are on disk, nothing is sent"),
        ("gw.on_trade", "gateway", "trade", "the counter has told of a fill, nothing is written"),
        ("tr.on_trade", "trading", "trade", "the fill is read, nothing is written"),
        ("tr.after_trade", "trading", "trade", "the fill is on disk, the entry not acknowledged"),
        ("st.on_trade", "strategy", "trade", "the fill is read, the strategy has not been told"),
        ("gw.after_position", "gateway", "position", "the position is on disk, not on a stream"),
        ("tr.after_position", "trading", "position", "the position is adopted, the entry not acknowledged"),
        ("market.after_journal", "market", BESIDE, "the ticks are in the journal, no bar is stored"),
        ("market.after_csv", "market", BESIDE, "the bars are in their files, not published"),
        ("recording.after_file", "market", BESIDE, "the day's tick file is written, its journal not yet removed"),
    )
)


class _Plan:
    def __init__(self, passes: str, ending: str) -> None:
        self.left = int(passes or 1)
        self.stops = ending == "stop"


def _plans(text: str) -> dict[str, _Plan]:
    parts = (part.strip().split(":") for part in text.split(",") if part.strip())
    return {name: _Plan(*[*rest, "", ""][:2]) for name, *rest in parts}


_waiting = _plans(os.environ.get("ARBIG_CRASH", ""))
_gate = os.environ.get("ARBIG_CRASH_GATE", "")


def crash_point(name: str) -> None:
    """Nothing, unless the environment names this point."""
    if not _waiting or name not in _waiting or (_gate and not os.path.exists(_gate)):
        return
    plan = _waiting[name]
    plan.left -= 1
    if plan.left:
        return
    if _gate:
        Path(_gate).write_text(name)
    if not plan.stops:
        os._exit(EXIT_CODE)
    os.kill(os.getpid(), signal.SIGSTOP)
