"""Opening: the connector of `gateway: ctp` as the Gateway runs it: vnpy_ctp's classes, this account, its folders."""

from __future__ import annotations

from arbig.domain.instruments import InstrumentBook
from arbig.gateway.ctp.api import real_apis
from arbig.gateway.ctp.connector import CtpConnector
from arbig.gateway.ctp.latch import Latch, latch_file
from arbig.gateway.ctp.settings import load_ctp
from arbig.runtime.broker import check_gateway
from arbig.runtime.calendar import load_calendar
from arbig.runtime.clock import Clock
from arbig.runtime.settings import Settings


def open_ctp(settings: Settings, clock: Clock, book: InstrumentBook) -> CtpConnector:
    """Raises SettingsError, one line, when this house may not or cannot trade at a broker's."""
    check_gateway(settings)
    account = load_ctp(settings)
    return CtpConnector(
        account,
        real_apis(),
        clock,
        load_calendar(settings),
        book,
        settings.symbols,
        settings.account_id,
        settings.data / "ctp" / settings.account_id,
        latch=Latch(account, latch_file(settings)),
    )
