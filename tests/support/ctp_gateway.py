"""A Gateway on the counter double: the service as it is, with a connector over the double's two classes.

`ARBIG_TEST_COUNTER` is the unix socket of the double's truth, a process of its own. No setting leads here.
Under mode paper the double is a test counter, whose clock is followed: the paper counter keeps hours by it.
"""

from __future__ import annotations

import os

from counter_double import APP, AUTH_CODE, BROKER, PASSWORD, USER, MdApi, TdApi

from arbig.bus.port import Bus
from arbig.gateway.ctp.api import Apis
from arbig.gateway.ctp.connector import CtpConnector
from arbig.gateway.ctp.latch import Latch, latch_file
from arbig.gateway.ctp.rates import RateBook
from arbig.gateway.ctp.settings import CtpSettings
from arbig.gateway.paper import open_paper
from arbig.gateway.service import GatewayService
from arbig.gateway.subscriptions import Subscriptions
from arbig.runtime.broker import PAPER
from arbig.runtime.calendar import load_calendar
from arbig.runtime.clock import Clock
from arbig.runtime.credentials import Secret
from arbig.runtime.instruments import load_instruments
from arbig.runtime.service import run
from arbig.runtime.settings import Settings


class DoubleGateway(GatewayService):
    def __init__(self, settings: Settings, bus: Bus, clock: Clock) -> None:
        address = f"unix:{os.environ['ARBIG_TEST_COUNTER']}"
        is_paper = settings.mode == PAPER
        account = CtpSettings(
            BROKER, USER, address, address, APP, "arbig", not is_paper, Secret(PASSWORD), Secret(AUTH_CODE)
        )
        connector = CtpConnector(
            account, Apis(TdApi, MdApi), clock, load_calendar(settings), load_instruments(settings), settings.symbols,
            settings.account_id, settings.data / "ctp", latch=Latch(account, latch_file(settings)),
            rates=RateBook(settings.data / "ctp" / "rates.json"),
            subscriptions=Subscriptions(settings.symbols, settings.data / "ctp" / "symbols.txt"),
            market_only=is_paper,
        )  # fmt: skip
        book = load_instruments(settings)
        paper = open_paper(settings, connector, clock, 5_000_000.0, book) if is_paper else None
        super().__init__(settings, bus, clock, paper or connector)


if __name__ == "__main__":
    run(DoubleGateway)
