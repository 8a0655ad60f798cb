"""Diary: what a strategy asked for, and how much of it after which bar, whichever engine runs it.

The strategy is run as a subclass of itself between its data and its engine: every order, stop order and cancel it asks
for is written down with the newest bar it had seen, also those the engine refuses.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime as Time
from types import new_class
from typing import Any, NamedTuple, cast

from arbig.domain.messages import SHANGHAI, Direction, Offset
from arbig.domain.template import BaseTemplate

EPSILON = 1e-9
ORDER, STOP_ORDER, CANCEL, CANCEL_ALL, FAILURE = "order", "stop", "cancel", "cancel all", "stops with"


class Event(NamedTuple):
    """One wish of a strategy, or the exception that ended it. `bar`: the newest data it had seen, Shanghai time."""

    bar: Time
    kind: str
    vt_symbol: str = ""
    direction: Direction | None = None
    offset: Offset | None = None
    price: float = 0.0
    volume: float = 0.0
    words: str = ""

    def __str__(self) -> str:
        if self.direction is None or self.offset is None:
            return f"{self.kind} {self.words}".strip()
        flags = f" ({self.words})" if self.words else ""
        kind = "" if self.kind == ORDER else f"{self.kind} "
        action = f"{kind}{ACTIONS[self.direction]} {self.offset.lower()}"
        return f"'{action} {self.volume:g} {self.vt_symbol} at {self.price:.10g}{flags}'"

    def is_same(self, other: Event) -> bool:
        """Equal but for the last digits of the price, which the order of a sum may change."""
        if abs(self.price - other.price) > EPSILON * max(1.0, abs(self.price)):
            return False
        return self._replace(price=0.0) == other._replace(price=0.0)


ACTIONS = {Direction.LONG: "buy", Direction.SHORT: "sell"}


@dataclass
class Diary:
    """Of one strategy in one run. `marks`: how many events there were when the callback of a bar was over."""

    events: list[Event] = field(default_factory=list)
    moments: list[Time] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    strategy: BaseTemplate | None = None
    warm_up_days: int = 0
    now: Time = Time.min

    def until(self, moment: Time) -> list[Event]:
        """What was asked for when the last bar stamped at that moment or before was over."""
        index = bisect_right(self.moments, moment)
        return self.events[: self.counts[index - 1]] if index else []

    def at(self, bar: Time) -> tuple[Event, ...]:
        """What was asked for with that bar as the newest one."""
        return tuple(event for event in self.events if event.bar == bar)

    def finish(self) -> None:
        """The callback of the newest bar is over."""
        self.moments.append(self.now)
        self.counts.append(len(self.events))

    def write(self, kind: str, **what: Any) -> None:
        self.events.append(Event(self.now, kind, **what))


def watched(kind: type[BaseTemplate], diary: Diary, callbacks: tuple[str, ...]) -> type[BaseTemplate]:
    """The class, keeping a diary. `callbacks`: those which bring the data (`on_bar` and `on_bars`, or `on_tick`)."""

    def begin(self: Any, engine: Any, *rest: Any, **named: Any) -> None:
        diary.strategy = self
        kind.__init__(self, Recorder(engine, diary), *rest, **named)

    body: dict[str, Any] = {name: _noting(getattr(kind, name), diary) for name in callbacks if hasattr(kind, name)}
    body |= {"__init__": begin, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    body |= {"__doc__": kind.__doc__}
    return cast("type[BaseTemplate]", new_class(kind.__name__, (kind,), exec_body=lambda names: names.update(body)))


def _noting(callback: Callable[[Any, Any], None], diary: Diary) -> Callable[[Any, Any], None]:
    def note(self: Any, news: Any) -> None:
        diary.now = _moment(news)
        try:
            callback(self, news)
        except Exception as error:
            diary.write(FAILURE, words=f"{type(error).__name__}: {error}")
            raise
        finally:
            diary.finish()

    return note


class Recorder:
    """The engine as the strategy sees it; what it is asked for is written down first."""

    def __init__(self, engine: Any, diary: Diary) -> None:
        self._engine = engine
        self._diary = diary

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def send_order(
        self,
        strategy: BaseTemplate,
        vt_symbol: str,
        direction: Direction,
        offset: Offset,
        price: float,
        volume: float,
        stop: bool,
        lock: bool,
        net: bool,
    ) -> list[str]:
        self._diary.write(
            STOP_ORDER if stop else ORDER,
            vt_symbol=vt_symbol,
            direction=direction,
            offset=offset,
            price=price,
            volume=volume,
            words="lock" if lock else "net" if net else "",
        )
        sent: list[str] = self._engine.send_order(
            strategy, vt_symbol, direction, offset, price, volume, stop, lock, net
        )
        return sent

    def cancel_order(self, strategy: BaseTemplate, vt_orderid: str) -> None:
        self._diary.write(CANCEL, words=vt_orderid)
        self._engine.cancel_order(strategy, vt_orderid)

    def cancel_all(self, strategy: BaseTemplate) -> None:
        self._diary.write(CANCEL_ALL)
        self._engine.cancel_all(strategy)

    def load_bar(self, vt_symbol: str, days: int, *rest: Any, **named: Any) -> Any:
        self._diary.warm_up_days = max(self._diary.warm_up_days, days)
        return self._engine.load_bar(vt_symbol, days, *rest, **named)


def _moment(news: Any) -> Time:
    """Of a bar, a tick, or the bars of one minute; naive Shanghai time."""
    newest: Time = max(one.datetime for one in news.values()) if isinstance(news, dict) else news.datetime
    if newest.tzinfo not in (None, SHANGHAI):
        newest = newest.astimezone(SHANGHAI)
    return newest.replace(tzinfo=None)
