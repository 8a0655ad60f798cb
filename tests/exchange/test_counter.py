"""The counter's memory: what was said is on disk before, and is said again in the same words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from arbig.domain.counter import (
    ClockMark,
    DayMark,
    InsertOrder,
    LoggedIn,
    Login,
    OrderReport,
    ReplayEnd,
    TickBatch,
    TradeReport,
)
from arbig.domain.messages import Direction, Exchange, Offset, OrderType
from arbig.exchange.core import Rules
from arbig.exchange.counter import Counter
from arbig.exchange.store import ExchangeStore
from arbig.store.sqlite import StoreError

SECOND = timedelta(seconds=1)
GRACE = timedelta(seconds=6)


class Lives:
    """One counter after another on the same file; `die` leaves whatever is on disk, as a kill would."""

    def __init__(self, rules: Rules, path: Path) -> None:
        self.rules, self.path = rules, path
        self.counter = self._open()

    def _open(self) -> Counter:
        return Counter(self.rules, ExchangeStore(self.path, "seed=1"), ["au2512"], speed=60)

    def die(self) -> Counter:
        self.counter.close()
        self.counter = self._open()
        return self.counter


@pytest.fixture
def lives(shipped: Rules, tmp_path: Path) -> Iterator[Lives]:
    made = Lives(shipped, tmp_path / "exchange.db")
    yield made
    made.counter.close()


def order(ref: int, price: float, volume: int = 1) -> InsertOrder:
    return InsertOrder(
        order_ref=ref,
        memo=f"M{ref}",
        symbol="au2512",
        exchange=Exchange.SHFE,
        direction=Direction.LONG,
        offset=Offset.OPEN,
        order_type=OrderType.LIMIT,
        price=price,
        volume=volume,
    )


def last_price(counter: Counter) -> float:
    now = counter.exchange.session_time
    return list(counter.exchange.ticks_between(now - timedelta(minutes=1), now))[-1].last_price


def ticks(words: Any) -> dict[int, bytes]:
    return {seq: bytes(raw) for word in words if isinstance(word, TickBatch) for _, seq, raw in word.ticks}


def test_after_a_death_no_tick_is_missing_and_each_is_the_same(lives: Lives, moment: Callable[[str], Any]) -> None:
    counter = lives.counter
    told = ticks(counter.advance_to(moment("10-14 21:02:00")))
    counter.on_wish(order(1, 838.0))
    counter.advance_to(moment("10-14 21:02:30"))  # said by nobody: it died on the way out
    again = ticks(lives.die().advance_to(moment("10-14 21:03:00")))
    assert sorted({*told, *again}) == list(range(1, max(again) + 1))
    assert {seq: again[seq] for seq in told.keys() & again.keys()} == {
        seq: told[seq] for seq in told.keys() & again.keys()
    }


def test_a_resting_order_lives_through_a_death_and_fills(lives: Lives, moment: Callable[[str], Any]) -> None:
    lives.counter.advance_to(moment("10-14 21:01:00"))
    lives.counter.on_wish(order(1, round(last_price(lives.counter) - 1.0, 2), 2))
    words = lives.die().advance_to(moment("10-15 02:30:00"))
    assert sum(word.volume for word in words if isinstance(word, TradeReport)) == 2
    assert lives.die().exchange.positions()[0].volume == 2


def test_the_replay_is_the_days_flow_and_whatever_else_was_missed(lives: Lives, moment: Callable[[str], Any]) -> None:
    lives.counter.advance_to(moment("10-14 21:01:00"))
    lives.counter.on_wish(order(1, 700.0))
    said = [
        word for word in lives.counter.on_wish(order(2, 900.0)).to_all if isinstance(word, OrderReport | TradeReport)
    ]
    lives.counter.advance_to(moment("10-15 21:01:00"))
    today = lives.counter.on_wish(order(3, 700.0)).to_all[0]
    for since, first in ((0, 1), (said[0].flow, said[0].flow + 1), (10**6, today.flow)):
        greeting, *replayed, end = lives.counter.on_wish(Login(since=since)).to_asker
        assert isinstance(greeting, LoggedIn) and greeting.max_order_ref == 3
        assert [word.flow for word in replayed] == list(range(first, end.flow + 1))
        assert isinstance(end, ReplayEnd)


def test_the_day_rolls_and_every_segment_end_is_marked(lives: Lives) -> None:
    counter, ends, days = lives.counter, [], []
    while len(days) < 2:
        for word in counter.advance(timedelta(minutes=7), GRACE):
            if isinstance(word, ClockMark) and word.segment_end:
                ends.append(f"{word.session_time:%H:%M:%S}")
            if isinstance(word, DayMark):
                days.append((word.trading_day, word.settled))
    assert ends == ["02:30:06", "10:15:06", "11:30:06", "15:00:06"]
    assert days == [(date(2025, 10, 15), True), (date(2025, 10, 16), False)]


def test_closed_hours_pass_in_one_leap_and_trading_hours_do_not(lives: Lives, moment: Callable[[str], Any]) -> None:
    lives.counter.advance_to(moment("10-15 02:30:06"))
    assert lives.counter.exchange.next_moment(SECOND, GRACE) == (moment("10-15 09:00:00"), False)
    lives.counter.advance(SECOND, GRACE)
    assert lives.counter.exchange.next_moment(SECOND, GRACE) == (moment("10-15 09:00:01"), False)


def test_another_simulation_on_the_same_file_is_refused_in_one_line(lives: Lives) -> None:
    lives.counter.close()
    with pytest.raises(StoreError, match="belongs to another simulation") as refused:
        ExchangeStore(lives.path, "seed=2")
    assert "\n" not in str(refused.value)
    lives.counter = lives._open()


def test_a_second_exchange_on_the_same_file_is_refused(lives: Lives) -> None:
    with pytest.raises(StoreError, match="in use by another exchange"):
        ExchangeStore(lives.path, "seed=1")


def test_a_read_only_file_and_a_damaged_one_are_refused_in_one_line(lives: Lives, tmp_path: Path) -> None:
    broken = tmp_path / "broken.db"
    broken.write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match="is not a database: move it away"):
        ExchangeStore(broken, "seed=1")
