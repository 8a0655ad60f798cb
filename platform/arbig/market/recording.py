"""Recording: a finished day's journal becomes `data/ticks/{symbol}/{trading day}.parquet`.

The journal of a finished day is set aside in `data/market/finished/`; a process of its own turns it into tick files and
removes it last. Whatever ends that process, the day is still there and is done again at the next settlement or start:
a file is whole or not there, and ticks that a file has already are not added twice.

`python -m arbig.market.recording FINISHED TICKS` is that process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from array import array
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from arbig.domain.messages import Exchange, MessageError, TickData, decode
from arbig.market.complaints import Complaints
from arbig.runtime.child import die_with_parent
from arbig.runtime.clock import Clock
from arbig.runtime.crash import crash_point

if TYPE_CHECKING:
    from arbig.backtest.series import TickSeries

log = logging.getLogger(__name__)


class Recorder:
    """Market's side: says when something waits, never waits itself."""

    def __init__(self, finished: Path, ticks: Path, clock: Clock) -> None:
        self.finished = finished
        self._ticks = ticks
        self._something = asyncio.Event()
        self._failed = Complaints(clock, "ticks stay in data/market and are recorded later")

    def take(self, journal: Path) -> None:
        """The journal of a day that is over. One that cannot be moved stays, and is tried again with the next day."""
        try:
            set_aside(journal, self.finished)
        except OSError as error:
            self._failed.add(str(error))
        else:
            self._something.set()

    async def live(self) -> None:
        """One process at a time, for as long as Market lives."""
        while True:
            if waiting(self.finished):
                await self._run()
            await self._something.wait()
            self._something.clear()

    async def _run(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "arbig.market.recording", str(self.finished), str(self._ticks)),
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            _, said = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            lines = said.decode(errors="replace").strip().splitlines() or [f"ended with {process.returncode}"]
            self._failed.add(lines[-1])


def set_aside(journal: Path, finished: Path) -> None:
    """The journal of a day that is over, out of Market's way. A day may be set aside in several parts."""
    finished.mkdir(parents=True, exist_ok=True)
    parts = [int(path.stem.partition(".")[2]) for path in finished.glob(f"{journal.stem}.*.jsonl")]
    journal.rename(finished / f"{journal.stem}.{max(parts, default=0) + 1:03d}.jsonl")


def waiting(finished: Path) -> list[Path]:
    """The parts that are not recorded yet, oldest first."""
    return sorted(finished.glob("????-??-??.*.jsonl"))


class Columns:
    """The ticks of one contract and day as they come, ten times smaller than messages."""

    def __init__(self, exchange: Exchange, names: tuple[str, ...]) -> None:
        self.exchange = exchange
        self.moments: list[datetime] = []
        self.values = {name: array("d") for name in names}

    def add(self, tick: TickData) -> None:
        self.moments.append(tick.datetime.replace(tzinfo=None))
        for name, column in self.values.items():
            column.append(getattr(tick, name) or 0.0)


def record(journal: Path, folder: Path) -> None:
    """One part: every contract's ticks join what its file has. Raises TickFileError; then the part stays."""
    from arbig.store.ticks import TickStore

    store = TickStore(folder)
    for (symbol, day), columns in sorted(_columns(journal).items()):
        for torn in (folder / symbol).glob(f".{day}.parquet.*"):
            torn.unlink(missing_ok=True)  # of a process that was killed
        fresh = _series(symbol, day, columns)
        known = store.read_day(symbol, day) if store.path(symbol, day).exists() else None
        store.write_day(fresh if known is None else _joined(known, fresh))
        crash_point("recording.after_file")
    journal.unlink()


def _columns(journal: Path) -> dict[tuple[str, date], Columns]:
    from arbig.backtest.series import TICK_COLUMNS

    over = date.fromisoformat(journal.stem.partition(".")[0])
    found: dict[tuple[str, date], Columns] = {}
    for tick in _ticks(journal):
        key = tick.symbol, tick.trading_day or over
        if key not in found:
            found[key] = Columns(tick.exchange, TICK_COLUMNS)
        found[key].add(tick)
    return found


def _ticks(journal: Path) -> Iterator[TickData]:
    """A line torn by a crash is no tick."""
    with journal.open("rb") as lines:
        for line in lines:
            if line.startswith(b"{") and line.endswith(b"\n"):
                with contextlib.suppress(MessageError):
                    yield decode(TickData, line)


def _series(symbol: str, day: date, columns: Columns) -> TickSeries:
    import numpy as np

    from arbig.backtest.series import TickSeries

    moments = np.array(columns.moments, "datetime64[ms]")
    order = np.argsort(moments, kind="stable")
    return TickSeries(
        symbol=symbol,
        exchange=columns.exchange,
        datetime=moments[order],
        trading_day=np.full(len(order), day, "datetime64[D]"),
        **{name: np.frombuffer(column)[order] for name, column in columns.values.items()},
    )


def _joined(known: TickSeries, fresh: TickSeries) -> TickSeries:
    """Both, each tick once, in the order of time: a part may be recorded twice, and a day may have several."""
    import numpy as np

    from arbig.backtest.series import TICK_COLUMNS, TickSeries

    columns = {
        name: np.concatenate([getattr(known, name), getattr(fresh, name)])
        for name in ("datetime", "trading_day", *TICK_COLUMNS)
    }
    rows = np.rec.fromarrays(list(columns.values()))
    _, first = np.unique(rows, return_index=True)
    order = first[np.lexsort((first, columns["datetime"][first]))]
    return TickSeries(
        symbol=known.symbol, exchange=known.exchange, **{name: column[order] for name, column in columns.items()}
    )


def main() -> int:
    die_with_parent(signal.SIGKILL)
    os.nice(10)
    finished, folder = map(Path, sys.argv[1:])
    from arbig.store.ticks import TickFileError

    try:
        for journal in waiting(finished):
            record(journal, folder)
    except (TickFileError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
