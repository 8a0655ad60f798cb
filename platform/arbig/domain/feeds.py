"""Feeds: where the bars of a backtest come from, as `ArrayManager` and `BarGenerator` see it.

As long as they are given the bars of one feed, one after the other, they need nothing of their own: what they would
collect stands in the feed's columns already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from arbig.domain.messages import BarData

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from arbig.domain.template import BarGenerator

    Array: TypeAlias = NDArray[np.float64]

Call: TypeAlias = tuple[str, tuple[int, ...], tuple[float, ...]]
"""A TA-Lib function, the columns it reads, its options."""
Stretch: TypeAlias = "tuple[int, tuple[Array, ...]]"
"""The row it begins with, and one array for each line of an indicator: its value, or its window, row by row."""


def as_they_are(*lines: Array) -> tuple[Array, ...]:
    return lines


class Recipe(NamedTuple):
    """How an indicator is made: TA-Lib functions, and what becomes of their lines, value by value."""

    calls: tuple[Call, ...]
    shape: Callable[..., tuple[Array, ...]] = as_they_are
    extra: tuple[float, ...] = ()

    def combine(self, *lines: Array) -> tuple[Array, ...]:
        return self.shape(*lines, *self.extra)


class Feed(Protocol):
    """A place in a history: the bar handed out last, and its row."""

    bar: BarData | None
    row: int

    @property
    def columns(self) -> Sequence[Array]:
        """The whole history: open, high, low, close, volume, turnover, open interest. Not to be written to."""

    def stretch(self, recipe: Recipe, size: int, row: int, array: bool) -> Stretch | None:
        """Values of the windows of `size` bars that end with `row` and the rows after it; None: compute it yourself."""

    def longer(self, generator: BarGenerator) -> Longer | None:
        """The longer bars that a generator makes which begins with this bar; None: collect them yourself."""

    def bars(self, start: int, stop: int) -> list[BarData]:
        """The rows once more, as bars."""


class Longer(NamedTuple):
    """Longer bars, each with the row at whose bar it is whole."""

    rows: Sequence[int]
    bars: Iterator[BarData]


feeds: ContextVar[list[Feed]] = ContextVar("feeds")
"""The feeds of a running backtest."""


def feed_of(bar: BarData) -> Feed | None:
    """The feed that has just handed out this bar."""
    for feed in feeds.get(()):
        if feed.bar is bar:
            return feed
    return None
