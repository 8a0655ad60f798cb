"""Crash points: numbered places on the way of an order where a test lets a process die as if the power had failed.

`ARBIG_CRASH=gw.after_commit:3` ends the process at the third pass of that point, `gw.after_commit:1:stop` makes it
stand still there until it gets a SIGCONT. `ARBIG_CRASH=@FILE`: such words stand in a file, whenever a test writes
them; who gets there takes the file away and leaves the point's name in FILE.hit.
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
        ("ex.after_read", "exchange", "send", "the exchange has judged the wish, nothing is written"),
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
        ("tr.flatten_asked", "trading", BESIDE, "a flatten is written down, nothing is done yet"),
        ("tr.flatten_reduced", "trading", BESIDE, "the account opens nothing any more, nothing is cancelled yet"),
        ("tr.flatten_cancelled", "trading", BESIDE, "cancels are on their way, nothing is closed yet"),
        ("tr.flatten_closed", "trading", BESIDE, "a close is on its way, the flatten does not know its name"),
        ("tr.flatten_verified", "trading", BESIDE, "the counter has said flat, it is not written down"),
        ("tr.intent_taken", "trading", BESIDE, "an intent is written down, the notebook has not been told"),
        ("tr.intent_numbered", "trading", BESIDE, "an intent's next order has its number, it is not written down"),
        ("tr.intent_sent", "trading", BESIDE, "an intent's order is on its way, the intent does not know its name"),
        ("tr.intent_over", "trading", BESIDE, "an intent's end is written down, nobody has been told"),
        ("tr.roll_asked", "trading", BESIDE, "a roll is written down, nothing is done yet"),
        ("tr.roll_held", "trading", BESIDE, "the strategy is laid to rest, its lots are not counted"),
        ("tr.roll_counted", "trading", BESIDE, "the lots are counted and written down, none has moved"),
        ("tr.roll_sent", "trading", BESIDE, "a close or an open is on its way, the roll does not know its name"),
        ("tr.roll_moved", "trading", BESIDE, "all lots are in the new contract, that is not written down"),
        ("tr.roll_bound", "trading", BESIDE, "the strategy has begun on the new contract, that is not written down"),
        ("st.roll_written", "strategy", BESIDE, "the strategy's file names the new contract, it has not begun"),
        ("paper.before_commit", "gateway", BESIDE, "the paper counter has judged or matched, nothing is written"),
        ("paper.after_commit", "gateway", BESIDE, "what the paper counter did is on disk, nobody has heard it"),
        ("al.before_commit", "alerts", BESIDE, "an event is read, nobody is to be told of it yet"),
        ("al.after_commit", "alerts", BESIDE, "it is written down who is to be told, nobody has been"),
        ("market.after_journal", "market", BESIDE, "the ticks are in the journal, no bar is stored"),
        ("market.after_csv", "market", BESIDE, "the bars are in their files, not published"),
        ("recording.after_file", "market", BESIDE, "the day's tick file is written, its journal not yet removed"),
    )
)


class _Plan:
    """`name:passes:stop`, several with commas."""

    def __init__(self, words: str) -> None:
        self.words = words
        self.left: dict[str, int] = {}
        self.stopping: set[str] = set()
        for part in filter(None, words.split(",")):
            name, passes, ending = [*part.strip().split(":"), "", ""][:3]
            self.left[name] = int(passes or 1)
            if ending == "stop":
                self.stopping.add(name)

    def is_due(self, name: str) -> bool:
        if name not in self.left:
            return False
        self.left[name] -= 1
        return self.left[name] == 0


_words = os.environ.get("ARBIG_CRASH", "")
_file = Path(_words[1:]) if _words.startswith("@") else None
_plan = _Plan("" if _file else _words)


def crash_point(name: str) -> None:
    """Nothing, unless the environment names this point."""
    if not _words:
        return
    plan = _newest_plan()
    if not plan.is_due(name):
        return
    if _file is not None:
        _file.with_suffix(".hit").write_text(name)
        _file.unlink(missing_ok=True)
    if name not in plan.stopping:
        os._exit(EXIT_CODE)
    os.kill(os.getpid(), signal.SIGSTOP)


def _newest_plan() -> _Plan:
    global _plan
    if _file is not None and (words := _read(_file)) != _plan.words:
        _plan = _Plan(words)
    return _plan


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError:
        return ""
