"""Live: the running house as a notebook sees it. The kernel is a client: it asks and wishes over Web, holds nothing.

Everything is asked at the moment of asking. Questions run on one event loop of their own, in a thread, so that nothing
here needs `await` and nothing collides with Jupyter's loop.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from arbig.client.client import TOKEN_VARIABLE, ArbigClient, ClientError
from arbig.client.feed import Feed, News
from arbig.domain.messages import SHANGHAI, Message, TradeData
from arbig.runtime.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")
ASK_SECONDS = 60.0
STOP_SECONDS = 2.0

ORDER_COLUMNS = (
    "datetime", "strategy_name", "symbol", "direction", "offset", "order_type", "price", "volume", "traded", "status",
    "detail", "error_msg", "order_id", "request_id", "run_id",
)  # fmt: skip
TRADE_COLUMNS = (
    "datetime", "trading_day", "strategy_name", "symbol", "direction", "offset", "price", "volume", "commission",
    "trade_id", "order_id", "request_id",
)  # fmt: skip
POSITION_COLUMNS = ("symbol", "direction", "volume", "yd_volume", "frozen", "price", "pnl", "margin")
OWNED_COLUMNS = ("strategy_name", "symbol", "volume", "price", "pnl", "total_pnl")
STRATEGY_COLUMNS = ("strategy_name", "class_name", "symbol", "state", "pos", "parameters", "variables", "error")
SERVICE_COLUMNS = ("name", "healthy", "state", "pid", "port", "uptime", "lag", "silence", "ticks_per_s")
EVENT_COLUMNS = ("datetime", "event", "source", "message", "state", "trading_day", "id")
LOG_COLUMNS = ("ts", "level", "service", "event")
BAR_COLUMNS = ("open_price", "high_price", "low_price", "close_price", "volume", "open_interest", "trading_day")


class _Loop:
    """One event loop in a thread of its own for the whole kernel."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="arbig", daemon=True).start()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)


_one_loop: _Loop | None = None


def run(coroutine: Coroutine[Any, Any, T]) -> Future[T]:
    global _one_loop
    if _one_loop is None:
        _one_loop = _Loop()
    return _one_loop.run(coroutine)


class Listening:
    """Somebody who hears news until `stop()`; what a callback raised ends it and is `.error`."""

    def __init__(self, future: Future[None], ended: threading.Event) -> None:
        self._future = future
        self._ended = ended

    def stop(self) -> None:
        """No callback begins after this has returned."""
        self._future.cancel()
        self._ended.wait(STOP_SECONDS)

    @property
    def is_running(self) -> bool:
        return not self._future.done()

    @property
    def error(self) -> BaseException | None:
        return self._future.exception() if self._future.done() and not self._future.cancelled() else None

    def __repr__(self) -> str:
        return f"<listening: {'yes' if self.is_running else self.error or 'stopped'}>"


class Live:
    """Questions and wishes to one running house."""

    def __init__(self, settings: Settings, token: str | None = None) -> None:
        self._url = f"http://127.0.0.1:{settings.port('web')}"
        self._token = token or os.environ.get(TOKEN_VARIABLE) or settings.token
        self._client: ArbigClient | None = None

    def ask(self, question: Callable[[ArbigClient], Coroutine[Any, Any, T]]) -> T:
        """The answer. Raises ClientError, one line: no running stack, a wrong token, or the service's own words."""

        async def asked() -> T:
            if self._client is None:
                self._client = ArbigClient(self._url, self._token, ASK_SECONDS)
            return await question(self._client)

        future = run(asked())
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            raise

    def close(self) -> None:
        """Let go of the connection; the next question makes a new one."""
        client, self._client = self._client, None
        if client is not None:
            run(client.close()).result()

    def listen(self, topics: Iterable[str], hear: Callable[[News], None]) -> Listening:
        """`hear` is called with everything said on these topics from now on, on a thread of its own."""

        ended = threading.Event()

        async def listening() -> None:
            feed = Feed(self._url, self._token)
            await feed.subscribe(topics)
            try:
                async with aclosing(feed.news()) as stream:
                    async for news in stream:
                        await asyncio.to_thread(hear, news)
            finally:
                ended.set()

        return Listening(run(listening()), ended)

    # ---- tables

    def positions(self) -> pd.DataFrame:
        return table(self.ask(lambda client: client.positions()).positions, POSITION_COLUMNS)

    def owned(self) -> pd.DataFrame:
        return table(self.ask(lambda client: client.positions()).strategies, OWNED_COLUMNS)

    def account(self) -> pd.Series[Any]:
        import pandas as pd

        return pd.Series(msgspec.to_builtins(self.ask(lambda client: client.account()).account), name="account")

    def orders(self, active: bool = False, limit: int = 500) -> pd.DataFrame:
        return table(self.ask(lambda client: client.orders(active, limit)).orders, ORDER_COLUMNS)

    def trades(self, since: datetime | None = None) -> pd.DataFrame:
        return table(self.ask(lambda client: client.trades(since)).trades, TRADE_COLUMNS)

    def strategies(self) -> pd.DataFrame:
        found = table(self.ask(lambda client: client.strategies()).strategies, STRATEGY_COLUMNS)
        return found.set_index("strategy_name")

    def services(self) -> pd.DataFrame:
        return table(self.ask(lambda client: client.status()).services, SERVICE_COLUMNS).set_index("name")

    def events(self, limit: int = 200) -> pd.DataFrame:
        return table(self.ask(lambda client: client.events(limit=limit)).events, EVENT_COLUMNS)

    def logs(self, **wanted: str | int | None) -> pd.DataFrame:
        return table(self.ask(lambda client: client.logs(**wanted)), LOG_COLUMNS)

    def bars(self, symbol: str, interval: str, since: datetime | None, limit: int) -> pd.DataFrame:
        bars = self.ask(lambda client: client.bars(plain(symbol), interval, since, limit)).bars
        return table(bars, ("datetime", *BAR_COLUMNS)).set_index("datetime")

    def tick(self, symbol: str) -> pd.Series[Any]:
        import pandas as pd

        tick = self.ask(lambda client: client.tick(plain(symbol))).tick
        if tick is None:
            raise ClientError(f"{symbol}: no tick yet; is it subscribed (config/arbig.yaml: symbols) and in session?")
        return pd.Series({name: value for name, value in row_of(tick).items() if value is not None}, name=symbol)

    def on_trade(self, callback: Callable[[TradeData], None]) -> Listening:
        def hear(news: News) -> None:
            if news.topic == "trade":
                message = news.message()
                assert isinstance(message, TradeData)
                callback(message)

        return self.listen(["trade"], hear)


def plain(symbol: str) -> str:
    """`au2512.SHFE` is `au2512` on the wire."""
    return symbol.partition(".")[0]


def row_of(message: Message | Any) -> dict[str, Any]:
    """A message's fields; times naive Shanghai, as in research."""
    fields = message if isinstance(message, Mapping) else msgspec.structs.asdict(message)
    return {name: _naive(value) for name, value in fields.items()}


def _naive(value: Any) -> Any:
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(SHANGHAI).replace(tzinfo=None)
    return str(value) if hasattr(value, "name") and hasattr(value, "value") else value


def table(rows: Sequence[Any], columns: Sequence[str]) -> pd.DataFrame:
    """One row an item, with these columns also when there is none."""
    import pandas as pd

    found = [row_of(row) for row in rows]
    return pd.DataFrame([{name: row.get(name) for name in columns} for row in found], columns=list(columns))
