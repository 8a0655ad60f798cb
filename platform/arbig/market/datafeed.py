"""Datafeed: history from a vnpy datafeed (`config/market.yaml: datafeed`), asked in a process of its own.

Such a package loads pandas and waits for the network; Market does neither. `python -m arbig.market.datafeed` is that
process: a Question on its standard input, bars on its output. vnpy finds its settings folder in `data/market/datafeed`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
from pydantic import Field

from arbig.compat.datafeed import DatafeedError, open_datafeed
from arbig.domain.messages import BarData, Exchange
from arbig.market.hours import Hours
from arbig.runtime.child import die_with_parent
from arbig.runtime.files import Config

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 120.0


class DatafeedConfig(Config):
    """`config/market.yaml: datafeed`. Secrets are not written there: `password: ${env:TUSHARE_TOKEN}`."""

    name: str = Field(min_length=1, pattern=r"^\w+$", examples=["tushare"])
    username: str = Field("", examples=["${env:TUSHARE_USER}"])
    password: str = Field("", examples=["${env:TUSHARE_TOKEN}"])
    stamps: Literal["start", "end"] = "start"


class Question(msgspec.Struct, frozen=True):
    """What the process is told; never in its arguments, where everybody could read the password."""

    name: str
    username: str
    password: str
    stamps: Literal["start", "end"]
    symbol: str
    exchange: Exchange
    start: datetime
    end: datetime


def feed_of(
    config: DatafeedConfig, hours: Hours, folder: Path
) -> Callable[[str, datetime, datetime], Awaitable[list[BarData]]]:
    """Ask for the bars of a contract from start to end. Raises DatafeedError."""

    async def bars(symbol: str, start: datetime, end: datetime) -> list[BarData]:
        exchange = hours.book.get(symbol).exchange
        question = Question(**config.model_dump(), symbol=symbol, exchange=exchange, start=start, end=end)
        log.info("%s: history from %s is asked of the datafeed %s", symbol, start.date(), config.name)
        return await _asked(question, folder)

    return bars


async def _asked(question: Question, folder: Path) -> list[BarData]:
    (folder / ".vntrader").mkdir(parents=True, exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "arbig.market.datafeed"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
    )
    try:
        answer, said = await asyncio.wait_for(process.communicate(msgspec.json.encode(question)), TIMEOUT_SECONDS)
    except TimeoutError:
        raise DatafeedError(f"{question.name}: no answer within {TIMEOUT_SECONDS:.0f} seconds") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        lines = said.decode(errors="replace").strip().splitlines()
        raise DatafeedError(lines[-1] if lines else f"{question.name}: its process ended with {process.returncode}")
    return msgspec.json.decode(answer, type=list[BarData])


def main() -> int:
    die_with_parent(signal.SIGKILL)
    os.nice(10)
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what such packages print is no answer
    question = msgspec.json.decode(sys.stdin.buffer.read(), type=Question)
    try:
        feed = open_datafeed(question.name, question.username, question.password, question.stamps)
        bars = feed.bars(question.symbol, question.exchange, question.start, question.end)
    except DatafeedError as error:
        print(error, file=sys.stderr)
        return 1
    with answer:
        answer.write(msgspec.json.encode(bars))
    return 0


if __name__ == "__main__":
    sys.exit(main())
