"""Opening: CTP with vnpy_ctp's own classes, this account, its folders: for the Gateway and for `arbig doctor --ctp`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from arbig.domain.instruments import InstrumentBook
from arbig.gateway.ctp.api import real_apis
from arbig.gateway.ctp.connector import CtpConnector
from arbig.gateway.ctp.examination import Examination
from arbig.gateway.ctp.latch import Latch, latch_file
from arbig.gateway.ctp.rates import RateBook
from arbig.gateway.ctp.settings import load_ctp
from arbig.gateway.subscriptions import Subscriptions
from arbig.runtime.broker import check_gateway, is_paper
from arbig.runtime.calendar import load_calendar
from arbig.runtime.clock import Clock, WallClock
from arbig.runtime.doctor import Finding
from arbig.runtime.settings import Settings


def open_ctp(settings: Settings, clock: Clock, book: InstrumentBook) -> CtpConnector:
    """Raises SettingsError, one line, when this house may not or cannot trade at a broker's."""
    check_gateway(settings)
    account = load_ctp(settings)
    folder = settings.data / "ctp" / settings.account_id
    return CtpConnector(
        account,
        real_apis(),
        clock,
        load_calendar(settings),
        book,
        settings.symbols,
        settings.account_id,
        folder,
        latch=Latch(account, latch_file(settings)),
        rates=RateBook(folder / "rates.json"),
        subscriptions=Subscriptions(settings.symbols, folder / "symbols.txt"),
        market_only=is_paper(settings),
    )


def walk_to(settings: Settings, again: bool, tell: Callable[[Finding], None]) -> None:
    """`arbig doctor --ctp`: each step is told as it is taken. `again`: what was refused before may be tried once more.
    Raises SettingsError when the account is not written down."""
    account = load_ctp(settings)
    latch = Latch(account, latch_file(settings))
    if again:
        latch.open()

    async def walk() -> None:
        with TemporaryDirectory(prefix="arbig-ctp-") as folder:
            steps = Examination(account, real_apis, WallClock(), latch, settings.symbols, Path(folder))
            async for finding in steps.findings():
                tell(finding)

    asyncio.run(walk())
