"""Differences: what the counter says beside what we say. Values and comparisons; nothing is asked or written here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple

import msgspec

from arbig.domain.messages import Direction, PositionData
from arbig.store.reconciliation import BookChange

CONFIRM_SECONDS = 1.0
FEN = 0.01
HALF_A_FEN = 0.005

Side = tuple[str, Direction]


class What(StrEnum):
    """What two sides can disagree about. The amounts of money bear the account's own names."""

    ORDER = "order"
    TRADE = "trade"
    TODAY = "today"
    YESTERDAY = "yesterday"
    FROZEN = "frozen"
    BOOKS = "books"
    PRE_BALANCE = "pre_balance"
    BALANCE = "balance"
    AVAILABLE = "available"
    MARGIN = "margin"
    FROZEN_MONEY = "frozen_money"
    COMMISSION = "commission"
    CLOSE_PROFIT = "close_profit"
    POSITION_PROFIT = "position_profit"


LOTS = frozenset({What.TODAY, What.YESTERDAY})
ALARMING = frozenset({What.ORDER, What.TODAY, What.YESTERDAY, What.BOOKS})
"""What leaves only closing: nobody knows what an opening order would add to. Money is shown and named, and the risk
rules count with the counter's own amounts anyway."""

WORDS = {
    What.TODAY: "lots of today",
    What.YESTERDAY: "lots of yesterday",
    What.FROZEN: "lots frozen by closing orders",
    What.BOOKS: "net lots, all books together",
    What.FROZEN_MONEY: "frozen",
}


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing on which the counter and we disagree. Numbers are lots or yuan; an order's state is a word."""

    what: What
    ours: float | str
    theirs: float | str
    symbol: str = ""
    direction: Direction | None = None
    order_id: str = ""
    done: str = ""

    @property
    def key(self) -> tuple[What, str, Direction | None, str]:
        return self.what, self.symbol, self.direction, self.order_id

    @property
    def gap(self) -> float | tuple[str, str]:
        """What stays the same while both sides move: fills between two looks change both numbers, not their gap."""
        if isinstance(self.ours, str) or isinstance(self.theirs, str):
            return str(self.ours), str(self.theirs)
        return round(self.theirs - self.ours, 2)

    @property
    def sentence(self) -> str:
        """One line for a person: contract, side, what, ours, theirs, what was done."""
        name = f"order {self.order_id}" if self.order_id else WORDS.get(self.what, self.what.replace("_", " "))
        where = " ".join(word for word in (self.symbol, self.direction or "", name) if word)
        yuan = "" if self.symbol else " yuan"
        return f"{where}: ours {_shown(self.ours)}{yuan}, the counter's {_shown(self.theirs)}{yuan}; {self.done}"


def _shown(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.0f}" if value == int(value) else f"{value:.2f}"


class Lots(NamedTuple):
    """Lots of one side by age."""

    today: int = 0
    yesterday: int = 0

    @property
    def volume(self) -> int:
        return self.today + self.yesterday

    @classmethod
    def of(cls, position: PositionData) -> Lots:
        return cls(position.volume - position.yd_volume, position.yd_volume)

    def minus(self, other: Lots) -> Lots:
        return Lots(self.today - other.today, self.yesterday - other.yesterday)


NONE = Lots()


def lots_of(change: BookChange) -> Lots:
    """What the account gained with a change that brought new lots."""
    return Lots(change.volume - change.yd_volume, change.yd_volume)


def of_positions(ours: Mapping[Side, Lots], theirs: Mapping[Side, Lots]) -> list[Difference]:
    """Today's and yesterday's lots, side by side."""
    found = []
    for side in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(side, NONE), theirs.get(side, NONE)
        found += [
            Difference(what=what, symbol=side[0], direction=side[1], ours=own, theirs=their)
            for what, own, their in (
                (What.TODAY, mine.today, other.today),
                (What.YESTERDAY, mine.yesterday, other.yesterday),
            )
            if own != their
        ]
    return found


def of_frozen(ours: Mapping[Side, int], theirs: Mapping[Side, int]) -> list[Difference]:
    return [
        Difference(
            what=What.FROZEN, symbol=side[0], direction=side[1], ours=ours.get(side, 0), theirs=theirs.get(side, 0)
        )
        for side in sorted(ours.keys() | theirs.keys())
        if ours.get(side, 0) != theirs.get(side, 0)
    ]


def of_books(ours: Mapping[str, int], theirs: Mapping[str, int], agreed: Iterable[str]) -> list[Difference]:
    """The strategies' books and the unassigned one together, beside the account's net lots. Only of contracts whose
    sides agree: a lot that is missing is not told twice."""
    return [
        Difference(what=What.BOOKS, symbol=symbol, ours=ours.get(symbol, 0), theirs=theirs.get(symbol, 0))
        for symbol in sorted(agreed)
        if ours.get(symbol, 0) != theirs.get(symbol, 0)
    ]


def tolerance(trades: int) -> float:
    """Yuan by which two honest sums may differ: each side shows whole fen (a fen at most between them), and a counter
    may round each fill's commission to the fen where we keep the fraction (half a fen a fill)."""
    return FEN + HALF_A_FEN * trades


def of_money(
    ours: Mapping[What, float], theirs: Mapping[What, float], allowed: Mapping[What, float]
) -> list[Difference]:
    """The amounts both sides know, each with what it may differ by."""
    return [
        Difference(what=what, ours=round(ours[what], 2), theirs=round(theirs[what], 2))
        for what in What
        if what in ours and what in theirs and abs(ours[what] - theirs[what]) > allowed[what] + 1e-9
    ]


class Doubts:
    """A difference counts when it is seen twice, a second or more apart, with the same gap. What was seen once, and is
    not there at the next look, was on its way."""

    def __init__(self) -> None:
        self._since: dict[object, tuple[object, float]] = {}

    def fresh(self, seconds: float) -> bool:
        """Whether something was seen once, and is to be looked at again soon."""
        return any(seconds - since < CONFIRM_SECONDS for _, since in self._since.values())

    def seen(self, found: Iterable[Difference], seconds: float) -> list[Difference]:
        """The confirmed ones."""
        now: dict[object, tuple[object, float]] = {}
        confirmed = []
        for difference in found:
            gap, since = self._since.get(difference.key, (None, seconds))
            if gap != difference.gap:
                since = seconds
            now[difference.key] = (difference.gap, since)
            if seconds - since >= CONFIRM_SECONDS:
                confirmed.append(difference)
        self._since = now
        return confirmed
