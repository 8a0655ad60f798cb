"""Api: the library's two classes, made to say everything they hear into one place and do nothing else.

Their callbacks come on a thread of the library's own. Whatever base classes are given, vnpy_ctp's real ones or a
double with the same names, the subclasses made here only hand on the callback's name and arguments.
"""

from __future__ import annotations

import asyncio
import ctypes
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import structlog

from arbig.runtime.broker import check_library
from arbig.runtime.settings import SettingsError

log = structlog.get_logger()
MARKET_CALLBACKS = (
    "onFrontConnected", "onFrontDisconnected", "onRspError", "onRspUserLogin", "onRspSubMarketData",
    "onRtnDepthMarketData",
)  # fmt: skip
TRADING_CALLBACKS = (
    "onFrontConnected", "onFrontDisconnected", "onRspError", "onRspAuthenticate", "onRspUserLogin",
    "onRspQrySettlementInfoConfirm", "onRspQrySettlementInfo", "onRspSettlementInfoConfirm", "onRspQryInstrument",
    "onRspQryTradingAccount", "onRspQryInvestorPosition", "onRspQryInstrumentMarginRate",
    "onRspQryInstrumentCommissionRate", "onRspQryOrder", "onRspQryTrade", "onRspOrderInsert",
    "onErrRtnOrderInsert", "onRspOrderAction", "onErrRtnOrderAction", "onRtnOrder", "onRtnTrade",
    "onRtnInstrumentStatus",
)  # fmt: skip


class Apis(NamedTuple):
    """The base classes: vnpy_ctp's, or a double of theirs. The real ones end with the process: their `exit` waits for
    their thread while it holds the interpreter, and that thread may be waiting for the interpreter."""

    trading: type[Any]
    market: type[Any]
    end_with_process: bool = False


class Ear:
    """What threads say, heard on the loop in order. What cannot be used is logged and counted; the next is heard."""

    def __init__(self, hear: Callable[[str, str, tuple[Any, ...]], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._hear = hear
        self._said: deque[tuple[str, str, tuple[Any, ...]]] = deque()
        self._is_due = False
        self.failures = 0

    def say(self, source: str, name: str, args: tuple[Any, ...]) -> None:
        """From any thread; never raises: the library would print it to stdout and go on."""
        self._said.append((source, name, args))
        if not self._is_due:
            self._is_due = True
            try:
                self._loop.call_soon_threadsafe(self._drain)
            except RuntimeError:
                return  # the loop is closed: nobody listens any more

    def _drain(self) -> None:
        self._is_due = False
        while self._said:
            source, name, args = self._said.popleft()
            try:
                self._hear(source, name, args)
            except Exception:
                self.failures += 1
                log.exception("a callback of the counter could not be used", callback=f"{source}.{name}")


def speaking(base: type[Any], source: str, callbacks: Sequence[str], ear: Ear) -> Any:
    """An object of `base` whose callbacks speak into the ear."""

    def callback(name: str) -> Callable[..., None]:
        def heard(_: Any, *args: Any) -> None:
            ear.say(source, name, args)

        return heard

    return type(base.__name__, (base,), {name: callback(name) for name in callbacks})()


def end(api: Any, apis: Apis) -> None:
    """Stop an object of these classes, or let it live as long as the process does."""
    if apis.end_with_process:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(api))
    else:
        api.exit()


def real_apis() -> Apis:
    """vnpy_ctp's classes. Raises SettingsError before the library could abort the process."""
    check_library()
    try:
        from vnpy_ctp.api import MdApi, TdApi
    except ImportError as error:
        raise SettingsError(
            f"vnpy_ctp cannot be loaded: {error}; build it anew: pip install --force-reinstall --no-deps vnpy vnpy_ctp"
        ) from None
    return Apis(TdApi, MdApi, end_with_process=True)
