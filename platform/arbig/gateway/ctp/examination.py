"""Examination: the way to a broker's counter walked step by step, `arbig doctor --ctp`. Each step says what it found.

It reads: no order is sent, no settlement confirmed, no refused password tried twice, no secret shown. The first step
that fails is the last, and the line beside it mends it.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from arbig.gateway.ctp.api import MARKET_CALLBACKS, TRADING_CALLBACKS, Apis, Ear, end, speaking
from arbig.gateway.ctp.latch import Latch
from arbig.gateway.ctp.queries import QueryQueue, QueryRefused
from arbig.gateway.ctp.reconnect import FATAL, WORDS, Refused, reason_of
from arbig.gateway.ctp.settings import CtpSettings
from arbig.gateway.ctp.translate import Raw, contract_from_ctp, day_of, error_id_of, text_of, words_of
from arbig.gateway.port import MARKET_DATA, TRADING, NotConnected
from arbig.runtime.clock import Clock
from arbig.runtime.doctor import Finding

WITHIN = 15.0
MENDS = {
    3: "check user_id, broker_id and the password; a second wrong one may lock the account",
    7: "the counter's day has not begun; again later",
    8: "the front is closed outside trading hours; again later, or take a 7x24 front to practise",
    35: "again in a minute",
    60: "close another terminal of this account",
    63: "compare app_id and the auth code with what the broker registered, letter by letter",
    64: "the broker asks for an AppID: set app_id, export ARBIG_CTP_AUTH_CODE=...",
    75: "log-in is locked for a while: wait, or ask the broker",
    131: "change the password in the broker's own terminal, it is too weak",
    140: "change the password in the broker's own terminal, it is the first log-in",
    141: "change the password in the broker's own terminal, it has expired",
    143: "this address is banned: ask the broker",
    144: "this address is banned: ask the broker",
}
VERSIONS = "often another API version or environment: compare production and test in config/ctp_config.yaml"


class Stop(Exception):
    """A step failed; the finding that says so."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


async def reach(address: str) -> str | None:
    """Whether anybody listens there; None when somebody does."""
    parts = urlsplit(address)
    try:
        async with asyncio.timeout(WITHIN):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except TimeoutError:
        return f"{address}: no answer within {WITHIN:.0f} seconds"
    except OSError as error:
        return f"{address}: {error.strerror or error}"
    writer.close()
    return None


class Examination:
    """`apis` are the library's classes or a double's; made when they are needed."""

    def __init__(
        self,
        account: CtpSettings,
        apis: Callable[[], Apis],
        clock: Clock,
        latch: Latch,
        symbols: Sequence[str],
        flow_folder: Path,
        reach: Callable[[str], Awaitable[str | None]] = reach,
    ) -> None:
        self._account = account
        self._make_apis = apis
        self._clock = clock
        self._latch = latch
        self._symbols = symbols
        self._flow_folder = flow_folder
        self._reach = reach
        self._numbers = itertools.count(1)
        self._queries = QueryQueue(clock, self._numbers)
        self._opened: list[Any] = []
        self._awaited: dict[tuple[str, str], asyncio.Future[tuple[Any, ...]]] = {}

    async def findings(self) -> AsyncIterator[Finding]:
        try:
            async for finding in self._steps():
                yield finding
        except Stop as stopped:
            yield stopped.finding

    async def _steps(self) -> AsyncIterator[Finding]:
        account = self._account
        for lamp in (TRADING, MARKET_DATA):
            if refused := self._latch.refusal(lamp):
                raise Stop(Finding("fail", f"{_words(lamp)} log-in", refused))
        for name, address in (("trading front", account.td_address), ("market data front", account.md_address)):
            if away := await self._reach(address):
                mend = "check the address with the broker, and the hour: many fronts close at night and at weekends"
                raise Stop(Finding("fail", name, away, mend))
            yield Finding("ok", name, f"{address} is reached")
        apis = self._make_apis()
        ear = Ear(self._hear)
        td = speaking(apis.trading, TRADING, TRADING_CALLBACKS, ear)
        md = speaking(apis.market, MARKET_DATA, MARKET_CALLBACKS, ear)
        self._flow_folder.mkdir(parents=True, exist_ok=True)
        try:
            async for finding in self._trading(td):
                yield finding
            async for finding in self._market(md):
                yield finding
        finally:
            self._queries.lose("the examination is over")
            for api in self._opened:
                end(api, apis)

    async def _trading(self, td: Any) -> AsyncIterator[Finding]:
        account = self._account
        td.createFtdcTraderApi(self._path("td_"), account.is_production)
        td.subscribePrivateTopic(0)
        td.subscribePublicTopic(0)
        td.registerFront(account.td_address)
        await self._front(TRADING, td)
        yield Finding("ok", "trading API", "the front speaks with this library")
        if account.needs_authentication:
            await self._answered(TRADING, "authentication", "onRspAuthenticate", td.reqAuthenticate, {
                "BrokerID": account.broker_id, "UserID": account.user_id, "UserProductInfo": account.product_name,
                "AppID": account.app_id, "AuthCode": account.auth_code.reveal(),
            })  # fmt: skip
            yield Finding("ok", "authentication", f"AppID {account.app_id}")
        else:
            yield Finding("warn", "authentication", "no app_id, so none was asked for; brokers want one")
        data = await self._answered(TRADING, "log-in", "onRspUserLogin", td.reqUserLogin, self._login())
        day = day_of(text_of(data, "TradingDay"))
        yield Finding("ok", "log-in", f"trading day {day}, counter's time {text_of(data, 'LoginTime') or 'not told'}")
        front = td.getFrontInfo()
        self._queries.allow(int(front.get("QryFreq") or 0))
        limits = f"{front.get('QryFreq', '?')} queries and {front.get('FTDPkgFreq', '?')} packets a second"
        yield Finding("ok", "flow control", limits)
        mine = {"BrokerID": account.broker_id, "InvestorID": account.user_id}
        days = await self._query("settlement", td.reqQrySettlementInfoConfirm, mine,
                                 lambda rows: {day_of(text_of(row, "ConfirmDate")) for row in rows})  # fmt: skip
        if day in days:
            yield Finding("ok", "settlement", f"confirmed for {day}")
        else:
            yield Finding("warn", "settlement", f"not yet confirmed for {day}; the Gateway confirms it once, before "
                          "the first order")  # fmt: skip
        found = await self._query("contracts", td.reqQryInstrument, {}, _symbols_of)
        yield self._contracts(found)

    def _contracts(self, found: set[str]) -> Finding:
        unknown = [symbol for symbol in self._symbols if symbol not in found]
        if not found:
            return Finding("warn", "contracts", "the counter names none; config/instruments.yaml is used")
        if unknown:
            mend = "write listed contracts into config/arbig.yaml: symbols"
            return Finding("fail", "contracts", f"{len(found)} there, not among them: {', '.join(unknown)}", mend)
        return Finding("ok", "contracts", f"{len(found)} there, also {', '.join(self._symbols)}")

    async def _market(self, md: Any) -> AsyncIterator[Finding]:
        md.createFtdcMdApi(self._path("md_"), self._account.is_production)
        md.registerFront(self._account.md_address)
        await self._front(MARKET_DATA, md)
        await self._answered(MARKET_DATA, "market data log-in", "onRspUserLogin", md.reqUserLogin, self._login())
        yield Finding("ok", "market data log-in", "taken")

    # ---- steps ----

    def _login(self) -> dict[str, Any]:
        one = self._account
        return {"BrokerID": one.broker_id, "UserID": one.user_id, "Password": one.password.reveal(),
                "UserProductInfo": one.product_name}  # fmt: skip

    async def _front(self, lamp: str, api: Any) -> None:
        connected, gone = self._await(lamp, "onFrontConnected"), self._await(lamp, "onFrontDisconnected")
        api.init()
        self._opened.append(api)
        name = f"{_words(lamp)} API"
        done, _ = await asyncio.wait({connected, gone}, timeout=WITHIN, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            raise Stop(Finding("fail", name, f"the front did not speak within {WITHIN:.0f} seconds", VERSIONS))
        if gone.done():
            raise Stop(Finding("fail", name, reason_of(gone.result()[0]), VERSIONS))

    async def _answered(
        self, lamp: str, name: str, callback: str, call: Callable[[dict[str, Any], int], int], request: dict[str, Any]
    ) -> Raw:
        answer = self._await(lamp, callback)
        code = call(request, next(self._numbers))
        if code:
            raise Stop(Finding("fail", name, f"the library answers {code}", "again in a minute"))
        try:
            async with asyncio.timeout(WITHIN):
                data, error, *_ = await answer
        except TimeoutError:
            raise Stop(Finding("fail", name, f"no answer within {WITHIN:.0f} seconds", "again in a minute")) from None
        number = error_id_of(error)
        if number:
            raise Stop(self._refused(lamp, name, number, words_of(error)))
        return dict(data)

    def _refused(self, lamp: str, name: str, number: int, words: str) -> Finding:
        refused = str(Refused(name, number, words or WORDS.get(number, "")))
        if number in FATAL:
            self._latch.close(lamp, refused, self._clock.now())
            refused += " (fatal: never tried again by itself)"
        return Finding("fail", name, refused.partition(": ")[2], MENDS.get(number, "ask the broker what it means"))

    async def _query(
        self,
        name: str,
        call: Callable[[dict[str, Any], int], int],
        request: dict[str, Any],
        finish: Callable[[Sequence[Raw]], Any],
    ) -> Any:
        try:
            return await self._queries.ask(name, lambda number: call(request, number), finish)
        except (QueryRefused, NotConnected) as error:
            raise Stop(Finding("fail", name, str(error), "again in a minute")) from None

    def _await(self, lamp: str, callback: str) -> asyncio.Future[tuple[Any, ...]]:
        found = self._awaited[lamp, callback] = asyncio.get_running_loop().create_future()
        return found

    def _hear(self, lamp: str, name: str, args: tuple[Any, ...]) -> None:
        if name.startswith("onRspQry"):
            self._queries.hear(*args)
        elif name == "onRspError":
            self._queries.hear({}, *args)
        awaited = self._awaited.get((lamp, name))
        if awaited is not None and not awaited.done():
            awaited.set_result(args)

    def _path(self, prefix: str) -> bytes:
        return str(self._flow_folder / prefix).encode("gb18030")


def _words(lamp: str) -> str:
    return lamp.replace("_", " ")


def _symbols_of(rows: Sequence[Raw]) -> set[str]:
    return {contract.symbol for row in rows if (contract := contract_from_ctp(row)) is not None}
