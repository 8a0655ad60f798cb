"""Server: the simulated exchange as a process. A unix socket in, frames both ways; the session clock runs here.

In: wishes of a connector. Out: ticks, reports, the clock. Keeps: `data/exchange/exchange.db`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

import structlog

from arbig.backtest.prices import Character
from arbig.domain.counter import (
    CutLine,
    FrameError,
    Login,
    LoginRefused,
    Wish,
    Word,
    error_message,
    frame,
    wish_frames,
)
from arbig.domain.instruments import UnknownSymbol
from arbig.domain.messages import MessageError, TickData, decode
from arbig.exchange.core import Recorded, Rules, ScriptedReject
from arbig.exchange.counter import Counter
from arbig.exchange.store import ExchangeStore
from arbig.runtime import logs
from arbig.runtime.calendar import load_calendar
from arbig.runtime.child import die_with_parent
from arbig.runtime.clock import Clock, WallClock
from arbig.runtime.instruments import load_instruments
from arbig.runtime.settings import Settings, SettingsError, load_settings
from arbig.runtime.simulation import SimulationConfig, load_simulation
from arbig.store.sqlite import StoreError

EXIT_CONFIG = 78
MORE = "add the next year's holidays to config/holidays.yaml, or begin anew: arbig up --data ANOTHER_FOLDER"
PULSE = 0.02
"""Wall seconds between two looks at the clock."""
LONGEST_STEP = 0.25
"""A process that was held up does not leap: at most so many wall seconds count at once."""
SAVE_CLOCK = 0.25
SLOW_CLIENT = 5.0
log = structlog.get_logger()


class Client:
    """One connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.logged_in = False

    def say(self, words: Iterable[Word]) -> None:
        if not self.writer.is_closing():
            self.writer.write(b"".join(frame(word) for word in words))


class ExchangeServer:
    """Carries words between the Counter and its clients, and moves its clock."""

    def __init__(self, counter: Counter, socket: Path, config: SimulationConfig, clock: Clock) -> None:
        self.counter = counter
        self.socket = socket
        self.config = config
        self.clock = clock
        self._clients: set[Client] = set()
        self._cut_until = 0.0
        self._broken: asyncio.Queue[StoreError] = asyncio.Queue()

    async def serve(self) -> None:
        """Until cancelled."""
        self.socket.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._converse, self.socket)
        os.chmod(self.socket, 0o600)
        log.info("ready", session_time=self.counter.exchange.session_time.isoformat(), socket=str(self.socket))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._run_clock())
                tasks.create_task(self._until_broken())
        finally:
            server.close()
            for client in self._clients:
                client.writer.close()

    async def _until_broken(self) -> None:
        """What could not be committed has not happened: the process ends, the next one reads what is on disk."""
        raise await self._broken.get()

    async def _run_clock(self) -> None:
        grace = timedelta(seconds=self.config.closing_grace)
        last = saved = self.clock.monotonic()
        stood = False
        while True:
            await self.clock.sleep(PULSE)
            now = self.clock.monotonic()
            step, last = timedelta(seconds=min(now - last, LONGEST_STEP) * self.counter.speed), now
            if not self.counter.running:
                continue
            exchange = self.counter.exchange
            before = exchange.session_time
            self._tell(self.counter.advance(step, grace))
            await self._drain()
            stands = self.counter.exchange.session_time == before
            if stands and not stood:
                log.error(
                    f"the clock stands: {self.counter.exchange.trading_day} is the last day of the calendar; {MORE}"
                )
            stood = stands
            if now - saved >= SAVE_CLOCK:
                saved = now
                self.counter.save_clock()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Client(writer)
        self._clients.add(client)
        frames = wish_frames()
        try:
            while data := await reader.read(65536):
                for wish in frames.feed(data):
                    self._on_wish(client, wish)
                await writer.drain()
        except (FrameError, ConnectionError) as error:
            log.warning(f"client dropped: {error}")
        except StoreError as error:
            self._broken.put_nowait(error)
        finally:
            self._clients.discard(client)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _on_wish(self, client: Client, wish: Wish) -> None:
        if isinstance(wish, Login):
            self._on_login(client, wish)
            return
        if not client.logged_in:
            client.say([LoginRefused(error_id=3, error_msg=error_message(3))])
            client.writer.close()
            return
        if isinstance(wish, CutLine):
            self._cut(wish.seconds)
            return
        said = self.counter.on_wish(wish)
        client.say(said.to_asker)
        self._tell(said.to_all)

    def _on_login(self, client: Client, wish: Login) -> None:
        if self.clock.monotonic() < self._cut_until:
            client.say([LoginRefused(error_id=8, error_msg=error_message(8))])
            client.writer.close()
            return
        client.logged_in = True
        client.say(self.counter.on_wish(wish).to_asker)

    def _cut(self, seconds: float) -> None:
        self._cut_until = self.clock.monotonic() + seconds
        for client in self._clients:
            client.writer.close()

    def _tell(self, words: Sequence[Word]) -> None:
        listeners = [client for client in self._clients if client.logged_in]
        if listeners and words:
            data = b"".join(frame(word) for word in words)
            for client in listeners:
                if not client.writer.is_closing():
                    client.writer.write(data)

    async def _drain(self) -> None:
        """A client that does not read holds the market up for a moment, then it is disconnected."""
        for client in tuple(self._clients):
            try:
                async with asyncio.timeout(SLOW_CLIENT):
                    await client.writer.drain()
            except TimeoutError:
                log.warning("client dropped: it does not read")
                client.writer.transport.abort()
            except ConnectionError:
                continue


def counter_of(settings: Settings, config: SimulationConfig) -> Counter:
    """The counter that these settings describe. Raises SettingsError or StoreError, one line."""
    recorded = _recorded(settings, config)
    rules = Rules(
        seed=config.seed,
        first_day=config.first_day,
        book=load_instruments(settings),
        calendar=load_calendar(settings),
        characters={product: Character(**made.model_dump()) for product, made in config.products.items()},
        account_id=settings.account_id,
        capital=config.capital,
        history_days=config.history_days,
        rejects=tuple(ScriptedReject(**reject.model_dump()) for reject in config.rejects),
        recorded=recorded,
    )
    identity = f"seed={config.seed} first_day={config.first_day} account={settings.account_id} replay={config.replay}"
    store = ExchangeStore(settings.data / "exchange" / "exchange.db", identity)
    try:
        return Counter(rules, store, settings.symbols, config.speed)
    except UnknownSymbol as error:
        raise SettingsError(f"config/arbig.yaml: symbols: {error}") from None


def _recorded(settings: Settings, config: SimulationConfig) -> Recorded:
    """The days to be replayed, each contract's ticks in the order of their time."""
    if config.replay is None:
        return {}
    path = config.replay if config.replay.is_absolute() else settings.root / config.replay
    days: dict[tuple[str, date], list[TickData]] = {}
    for tick in _ticks_of_file(path) if path.suffix == ".parquet" else _ticks_of_lines(path):
        assert tick.trading_day is not None
        days.setdefault((tick.symbol, tick.trading_day), []).append(tick)
    last = max((day for _, day in days), default=None)
    if last is None or last < config.first_day:
        raise SettingsError(
            f"config/simulation.yaml: replay: {path}: found {'no tick' if last is None else f'ticks up to {last}'}, "
            f"expected a trading day from first_day {config.first_day} on; write e.g. "
            + ("replay: null" if last is None else f"first_day: {last}")
        )
    return {key: sorted(ticks, key=lambda tick: tick.datetime) for key, ticks in days.items()}


def _ticks_of_file(path: Path) -> Iterator[TickData]:
    """What Market recorded (`record_ticks: true`)."""
    from arbig.store.ticks import TickFileError, read_file

    try:
        return read_file(path).ticks()
    except TickFileError as error:
        raise SettingsError(f"config/simulation.yaml: replay: {error}; or write replay: null") from None


def _ticks_of_lines(path: Path) -> Iterator[TickData]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise SettingsError(
            f"config/simulation.yaml: replay: {path}: {error.strerror}; write e.g. replay: null"
        ) from None
    for number, line in enumerate(lines, 1):
        try:
            tick = decode(TickData, line)
        except MessageError as error:
            raise SettingsError(f"{path}: line {number}: {error}; remove the line") from None
        if tick.trading_day is None:
            raise SettingsError(f"{path}: line {number}: trading_day is missing; every tick of a recorded day names it")
        yield tick


def main() -> None:
    """`python -m arbig.exchange`."""
    die_with_parent()
    try:
        settings = load_settings()
        logs.configure("exchange", settings.logs)
        config = load_simulation(settings)
        counter = counter_of(settings, config)
    except (SettingsError, StoreError) as error:
        print(f"arbig exchange: {error}", file=sys.stderr)
        sys.exit(EXIT_CONFIG)
    server = ExchangeServer(counter, settings.socket("exchange"), config, WallClock())
    sys.exit(asyncio.run(_until_stopped(server)))


async def _until_stopped(server: ExchangeServer) -> int:
    loop = asyncio.get_running_loop()
    serving = loop.create_task(server.serve())
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        server.counter.save_clock()
        return 0
    except BaseExceptionGroup as broken:
        log.error("; ".join(str(error) for error in broken.exceptions))
        return 1
    finally:
        server.counter.close()
    return 0
