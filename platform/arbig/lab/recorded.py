"""Recorded: what one trading day of a live session left behind: orders, trades, ticks, bars. Read only."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from datetime import datetime as Time
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, RowMapping, Select, create_engine, select
from sqlalchemy.exc import DBAPIError

from arbig.backtest.plan import PlanError
from arbig.backtest.series import TickSeries
from arbig.domain.messages import BarData, Detail, MessageError, OrderData, Status, TickData, decode
from arbig.lab.barfiles import joined
from arbig.runtime.files import SettingsError, read_yaml
from arbig.runtime.loader import suggest
from arbig.runtime.settings import Settings
from arbig.store import tables
from arbig.store.bars import BarFileError, BarStore
from arbig.store.faults import StoreError
from arbig.store.ticks import TickFileError, TickStore


class ParityError(PlanError):
    """A session that cannot be compared: what was found, where, what was expected, the mend. One line."""


@dataclass(frozen=True)
class Setup:
    """A strategy as `config/strategies/*.yaml` describes it."""

    name: str
    kind: str
    symbols: tuple[str, ...]
    params: Mapping[str, Any]
    risk: Mapping[str, Any]
    enabled: bool
    path: Path


def setups(settings: Settings) -> dict[str, Setup]:
    """By name, in the order of their files. Raises ParityError for a file that cannot be read."""
    found: dict[str, Setup] = {}
    for path in sorted((settings.config / "strategies").glob("*.y*ml")):
        try:
            words = read_yaml(path)
        except SettingsError as error:
            raise ParityError(str(error)) from None
        if isinstance(words, dict) and words.get("strategy_name"):
            one = _setup(path, words)
            found[one.name] = one
    return found


def _setup(path: Path, words: Mapping[str, Any]) -> Setup:
    name = str(words["strategy_name"])
    return Setup(
        name=name,
        kind=words.get("class_name") or name,
        symbols=tuple(map(str, words.get("symbols") or [words.get("symbol")])),
        params=words.get("params") or {},
        risk=words.get("risk") or {},
        enabled=words.get("enabled", True),
        path=path,
    )


def known(name: str, setups: Mapping[str, Setup]) -> Setup:
    """Raises ParityError, with what was probably meant."""
    if name in setups:
        return setups[name]
    raise ParityError(f"parity: strategy: found {name!r}, no such name in config/strategies{suggest(name, setups)}")


READABLE = tables.REVISIONS[1:]
"""Since 0002 there are trading days and accounts, and what is read here has its name."""
ORDER_COLUMNS = (
    *("order_id", "request_id", "symbol", "direction", "offset", "price", "volume", "status", "strategy_name"),
    *("created_at", "updated_at", "trading_day", "error_msg", "forced", "run_id", "code_hash", "cause"),
)
TRADE_COLUMNS = (
    *("trade_id", "order_id", "symbol", "exchange", "direction", "offset", "price", "volume", "strategy_name"),
    *("traded_at", "trading_day", "parent_id", "forced", "run_id"),
)


class Record:
    """The trading book of a house, without touching it."""

    def __init__(self, settings: Settings) -> None:
        self.path = place = settings.database("trading")
        self.account_id = settings.account_id
        if isinstance(place, Path):
            if not place.exists():
                raise ParityError(f"parity: {place}: no such file: no live session was recorded here; run: arbig up")
            self._engine = create_engine(f"sqlite:///file:{place}?mode=ro&uri=true")
        else:
            from arbig.store.postgres import reader

            self._engine = reader(place)
        self._check()

    def _check(self) -> None:
        try:
            with self._reading() as connection:
                found = connection.execute(select(tables.versions.c.version_num)).scalar()
        except ParityError:
            found = None
        if found not in READABLE:
            raise ParityError(
                f"parity: {self.path}: found schema {found or 'unknown'}, expected {tables.HEAD}; "
                "start the house once with this build (arbig up), which brings it up to date"
            )

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except (DBAPIError, StoreError) as error:
            why = " ".join(str(getattr(error, "orig", None) or error).split())
            raise ParityError(f"parity: {self.path}: {why}; is it a trading database?") from None

    def _rows(self, query: Select[Any]) -> list[RowMapping]:
        with self._reading() as connection:
            return list(connection.execute(query).mappings())

    @cached_property
    def days(self) -> list[date]:
        """The trading days with an order or a trade."""
        found: set[date] = set()
        for table in (tables.orders, tables.trades):
            mine = select(table.c.trading_day).where(table.c.account_id == self.account_id).distinct()
            found |= {row["trading_day"] for row in self._rows(mine) if row["trading_day"]}
        return sorted(found)

    def orders(self, day: date) -> list[RowMapping]:
        orders = tables.orders
        mine = select(*(orders.c[name] for name in ORDER_COLUMNS)).where(
            orders.c.account_id == self.account_id, orders.c.trading_day == day
        )
        return self._rows(mine.order_by(orders.c.id))

    def trades(self, day: date) -> list[RowMapping]:
        trades = tables.trades
        mine = select(*(trades.c[name] for name in TRADE_COLUMNS)).where(
            trades.c.account_id == self.account_id, trades.c.trading_day == day
        )
        return self._rows(mine.order_by(trades.c.id))

    def trades_before(self, day: date) -> list[RowMapping]:
        trades = tables.trades
        mine = select(*(trades.c[name] for name in TRADE_COLUMNS)).where(
            trades.c.account_id == self.account_id, trades.c.trading_day < day
        )
        return self._rows(mine.order_by(trades.c.trading_day, trades.c.id))

    def statement(self, day: date) -> RowMapping | None:
        """The counter's account at the day's settlement."""
        accounts = tables.accounts
        mine = select(accounts.c.pre_balance, accounts.c.commission).where(
            accounts.c.account_id == self.account_id, accounts.c.trading_day == day
        )
        return next(iter(self._rows(mine)), None)

    def close(self) -> None:
        self._engine.dispose()


class Arrivals(NamedTuple):
    """When the exchange took an order, and when it was cancelled there."""

    arrived: Time
    ended: Time | None


def arrivals(settings: Settings, day: date) -> dict[str, Arrivals]:
    """By order_id, as the Gateway's journal has heard it; it keeps some days only. Empty where it cannot be read."""
    path = settings.data / "db" / "gateway.db"
    found: dict[str, Arrivals] = {}
    query = "SELECT payload FROM events WHERE kind = 'order' AND trading_day = ? ORDER BY id"
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        for (payload,) in connection.execute(query, (str(day),)):
            order = decode(OrderData, payload)
            if order.detail is Detail.UNKNOWN:  # our own word: the exchange has not spoken yet
                continue
            known = found.get(order.order_id, Arrivals(order.datetime, None))
            is_over = order.status is Status.CANCELLED and known.ended is None
            found[order.order_id] = known._replace(ended=order.datetime) if is_over else known
    return found


class Tape:
    """Market's record: `data/bars`, `data/ticks`, and the journal of a day that is not settled yet."""

    def __init__(self, settings: Settings) -> None:
        self.bars_of = BarStore(settings.data / "bars")
        self.ticks_of = TickStore(settings.data / "ticks")
        self.journals = settings.data / "market"

    def days(self) -> list[date]:
        """The trading days with recorded ticks."""
        names = [path.stem.partition(".")[0] for path in self._journal_files("????-??-??")]
        settled = [day for symbol in self.ticks_of.symbols() for day in self.ticks_of.days(symbol)]
        return sorted({*map(date.fromisoformat, names), *settled})

    def bars(self, symbol: str, day: date) -> list[BarData]:
        """As Market stored and told them. Raises ParityError."""
        try:
            return self.bars_of.read_day(symbol, day)
        except BarFileError as error:
            raise ParityError(f"parity: {error}") from None

    def ticks(self, symbol: str, day: date) -> TickSeries | None:
        """As Market received them; None where they were not kept. Raises ParityError."""
        try:
            known = self.ticks_of.read_day(symbol, day) if self.ticks_of.path(symbol, day).exists() else None
        except TickFileError as error:
            raise ParityError(f"parity: {error}") from None
        fresh = list(self._journalled(symbol, day, 0 if known is None else known.datetime[-1].astype(object)))
        parts = [part for part in (known, TickSeries.from_ticks(fresh) if fresh else None) if part is not None]
        return joined(parts) if parts else None

    def _journal_files(self, day: str) -> list[Path]:
        finished = self.journals / "finished"
        return sorted(finished.glob(f"{day}.*.jsonl")) + sorted(self.journals.glob(f"{day}.jsonl"))

    def _journalled(self, symbol: str, day: date, after: Any) -> Iterator[TickData]:
        """Later ones than `after`, each once."""
        seen: TickData | None = None
        mark = f'"symbol":"{symbol}"'.encode()
        for path in self._journal_files(str(day)):
            for line in path.read_bytes().splitlines():
                if not line.startswith(b"{") or mark not in line[:64]:
                    continue
                with suppress(MessageError):
                    tick = decode(TickData, line)
                    moment = tick.datetime.replace(tzinfo=None)
                    if (after and moment <= after) or (seen is not None and tick.datetime < seen.datetime):
                        continue
                    if tick != seen:
                        seen = tick
                        yield tick


def chosen(day: date | None, record: Record, tape: Tape) -> date:
    """The newest recorded day, or the one asked for. Raises ParityError naming the days there are."""
    days = sorted({*record.days, *tape.days()})
    if not days:
        raise ParityError(f"parity: {record.path}: no order, trade or tick in it yet; let a session trade first")
    if day is None:
        return days[-1]
    if day not in days:
        raise ParityError(f"parity: no session was recorded on {day}; there are {_listed(days)}")
    return day


def _listed(days: Iterable[date], most: int = 10) -> str:
    names = [str(day) for day in days]
    return ", ".join(names if len(names) <= most else [*names[:3], "...", *names[-3:]])
