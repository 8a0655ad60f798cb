"""An exchange made of the shipped contracts, and a trader's hand to use it with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from arbig.backtest.prices import Character
from arbig.domain.counter import CancelOrder, InsertOrder
from arbig.domain.messages import SHANGHAI, Direction, Exchange, Offset, OrderType, TickData
from arbig.exchange.core import Event, Rules, SimulatedExchange
from arbig.runtime.calendar import load_calendar
from arbig.runtime.instruments import load_instruments
from arbig.runtime.settings import load_settings
from arbig.runtime.simulation import load_simulation

ROOT = Path(__file__).parents[2]
DAY = date(2025, 10, 15)


def at(text: str) -> datetime:
    """`10-14 21:00:00` of 2025."""
    return datetime.fromisoformat(f"2025-{text.replace(' ', 'T')}").replace(tzinfo=SHANGHAI)


class Desk:
    """Sends orders with growing references and keeps what the exchange said."""

    def __init__(self, rules: Rules, *symbols: str) -> None:
        self.exchange = SimulatedExchange(rules)
        self.exchange.subscribe(symbols or ("au2512",))
        self._refs = count(1)

    def until(self, moment: str) -> list[Event]:
        """What the exchange says up to then, ticks left out."""
        return [event for event in self.exchange.advance_to(at(moment)) if not isinstance(event, TickData)]

    def ticks(self, moment: str) -> list[TickData]:
        return [event for event in self.exchange.advance_to(at(moment)) if isinstance(event, TickData)]

    def order(
        self,
        price: float,
        volume: int = 1,
        direction: Direction = Direction.LONG,
        offset: Offset = Offset.OPEN,
        order_type: OrderType = OrderType.LIMIT,
        symbol: str = "au2512",
        ref: int | None = None,
    ) -> list[Event]:
        wish = InsertOrder(
            order_ref=next(self._refs) if ref is None else ref,
            memo="MEMO",
            symbol=symbol,
            exchange=Exchange.INE if symbol.startswith("sc") else Exchange.SHFE,
            direction=direction,
            offset=offset,
            order_type=order_type,
            price=price,
            volume=volume,
        )
        return self.exchange.insert_order(wish)

    def buy(self, price: float, volume: int = 1, **more: Any) -> list[Event]:
        return self.order(price, volume, Direction.LONG, **more)

    def sell(self, price: float, volume: int = 1, offset: Offset = Offset.CLOSETODAY, **more: Any) -> list[Event]:
        return self.order(price, volume, Direction.SHORT, offset, **more)

    def cancel(self, ref: int) -> list[Event]:
        return self.exchange.cancel_order(CancelOrder(order_ref=ref))

    def quote(self, symbol: str = "au2512") -> TickData:
        now = self.exchange.session_time
        return [
            tick for tick in self.exchange.ticks_between(now - timedelta(minutes=10), now) if tick.symbol == symbol
        ][-1]


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    """The rules of the shipped configuration."""
    settings = load_settings(root=ROOT, data=tmp_path_factory.mktemp("data"))
    made = load_simulation(settings).products
    return Rules(
        seed=1,
        first_day=DAY,
        book=load_instruments(settings),
        calendar=load_calendar(settings),
        characters={product: Character(**found.model_dump()) for product, found in made.items()},
        history_days=3,
    )


@pytest.fixture(scope="session")
def desk(shipped: Rules) -> Callable[..., Desk]:
    """`desk("au2512", seed=2)`"""
    return lambda *symbols, **changes: Desk(replace(shipped, **changes), *symbols)


@pytest.fixture
def moment() -> Callable[[str], datetime]:
    return at
