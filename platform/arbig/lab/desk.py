"""Desk: where a notebook begins. It knows the house's contracts, calendar and history, and speaks to the running
services as a client; each method calls its module.

desk = Desk()
result = desk.backtest("MaRsiStrategy", "au2512", "2025-09-01", "2025-10-31", {"fast_window": 12})
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from arbig.backtest.plan import Plan, StrategyPlan
from arbig.domain.instruments import InstrumentBook
from arbig.domain.sessions import TradingCalendar
from arbig.domain.template import BaseTemplate
from arbig.runtime.calendar import load_calendar
from arbig.runtime.instruments import load_instruments
from arbig.runtime.settings import Settings, load_settings

if TYPE_CHECKING:
    import pandas as pd

    from arbig.domain.messages import TradeData
    from arbig.lab.cockpit import Cockpit
    from arbig.lab.comparison import Comparison
    from arbig.lab.deploying import Deployed
    from arbig.lab.handles import Cancel, Flatten, Roll
    from arbig.lab.history import History
    from arbig.lab.intents import Intent
    from arbig.lab.live import Listening, Live
    from arbig.lab.lookahead import Report
    from arbig.lab.parity import Parity
    from arbig.lab.results import BacktestResult
    from arbig.lab.scheduling import Scheduling
    from arbig.lab.sweeps import Sweep
    from arbig.lab.walkforward import WalkForward
    from arbig.lab.watching import Watch
    from arbig.lab.whence import Whence

Strategy: TypeAlias = type[BaseTemplate] | str | StrategyPlan | Sequence[StrategyPlan]
Symbols: TypeAlias = str | Sequence[str] | None
Day: TypeAlias = str | date


class Desk:
    """The research desk of one house.

    `root`: the folder that holds `config/` and `strategies/` (default: found from the current folder upwards); `data`:
    the house's data folder; `history`: the folder of the bars (default: `data/bars`, which Market fills); `token`: what
    Web is asked with, the trader's or the viewer's (default: `ARBIG_TOKEN`, else the trader's in `data/run/token`).
    Raises SettingsError, one line, when there is no such house.
    """

    def __init__(
        self,
        root: Path | str | None = None,
        data: Path | str | None = None,
        history: Path | str | None = None,
        *,
        token: str | None = None,
    ) -> None:
        self._token = token
        self.settings: Settings = load_settings(root=root, data=data)
        self._history_folder = Path(history) if history is not None else self.settings.data / "bars"

    def __repr__(self) -> str:
        return f"Desk(root={str(self.settings.root)!r}, history={str(self._history_folder)!r})"

    @cached_property
    def calendar(self) -> TradingCalendar:
        return load_calendar(self.settings)

    @cached_property
    def book(self) -> InstrumentBook:
        return load_instruments(self.settings)

    @cached_property
    def history(self) -> History:
        """Bars and ticks on disk: read, import, check, generate."""
        from arbig.lab.history import History

        return History(self._history_folder, self.book, self.calendar, self.settings)

    def plan(
        self,
        strategy: Strategy,
        symbol: Symbols = None,
        start: Day | None = None,
        end: Day | None = None,
        params: Mapping[str, Any] | None = None,
        capital: float = 1_000_000.0,
        *,
        matching: Literal["realistic", "vnpy"] = "realistic",
        mode: Literal["bar", "tick"] = "bar",
        slippage_ticks: int | None = None,
        volume_share: float = 0.2,
        rate: float = 0.0,
        slippage: float = 0.0,
        warmup_days: int = 60,
    ) -> Plan:
        """What `backtest` runs, with its history read and checked.

        `strategy`: a class, the name of a class in `strategies/`, or a list of `StrategyPlan` (each with its own
        contracts, parameters and capital; `symbol`, `params` and `capital` are then left out). `symbol`: `au2512` or
        `au2512.SHFE`, several for a strategy with legs (a CtaTemplate then runs once on each). `start`, `end`: trading
        days, both included, as dates or `"2025-10-15"`; the first and last day of the history when left out. `capital`
        in yuan. `slippage_ticks`: price ticks against us on fills that take liquidity (1 on bars, 0 on ticks, which
        show the spread); `volume_share`: the most we may have of a bar's volume. `rate` (of turnover) and `slippage`
        (yuan of price a unit) belong to matching `vnpy`, which uses none of these nor the contract's own fees.
        `warmup_days`: calendar days of history before `start` for `load_bar`.
        Raises PlanError or HistoryError (both ValueError), one line.
        """
        from arbig.lab import backtests

        return backtests.plan(
            self,
            strategy,
            symbol,
            start,
            end,
            params,
            capital,
            matching=matching,
            mode=mode,
            slippage_ticks=slippage_ticks,
            volume_share=volume_share,
            rate=rate,
            slippage=slippage,
            warmup_days=warmup_days,
        )

    def backtest(
        self,
        strategy: Strategy | Plan,
        symbol: Symbols = None,
        start: Day | None = None,
        end: Day | None = None,
        params: Mapping[str, Any] | None = None,
        capital: float = 1_000_000.0,
        *,
        progress: bool | None = None,
        **options: Any,
    ) -> BacktestResult:
        """Run a strategy on history; arguments as for `plan` (or a `Plan` alone).

        `progress`: a bar while it runs; by default in a terminal or a notebook only. Ctrl-C keeps what was done.
        """
        from arbig.lab import backtests

        return backtests.backtest(self, strategy, symbol, start, end, params, capital, progress=progress, **options)

    def sweep(
        self,
        strategy: Strategy,
        symbol: Symbols,
        start: Day | None,
        end: Day | None,
        space: Mapping[str, Any],
        params: Mapping[str, Any] | None = None,
        capital: float = 1_000_000.0,
        **options: Any,
    ) -> Sweep | WalkForward:
        """Many parameter sets of one strategy. `space`: parameter -> the values to try; the rest as for `plan`, and as
        `arbig.lab.sweeps.sweep` says."""
        from arbig.lab import sweeps

        return sweeps.sweep(self, strategy, symbol, start, end, space, params, capital, **options)

    def check_lookahead(
        self,
        strategy: Strategy | Plan,
        symbol: Symbols = None,
        start: Day | None = None,
        end: Day | None = None,
        params: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Report:
        """Whether a strategy's orders depend on what it could not know yet. Arguments as for `plan`, and as
        `arbig.lab.lookahead.check_lookahead` says."""
        from arbig.lab import lookahead

        return lookahead.check_lookahead(self, strategy, symbol, start, end, params, **options)

    def compare(self, results: Sequence[BacktestResult] | Mapping[str, BacktestResult]) -> Comparison:
        """Several results side by side: a picture of their equity and a table of their statistics."""
        from arbig.lab import comparison

        return comparison.compare(results)

    def parity(self, day: Day | None = None, **options: Any) -> Parity:
        """What a live session did against what the backtest makes of its data; the newest recorded trading day when
        `day` is left out."""
        from arbig.lab import parity

        return parity.parity(self, day, **options)

    # ---- the running house: the kernel is a client, everything is asked at the moment of asking

    @cached_property
    def live(self) -> Live:
        """The way to the running services; made when first used."""
        from arbig.lab.live import Live

        return Live(self.settings, self._token)

    def close(self) -> None:
        """Let go of the connection to the services; what runs there goes on."""
        self.live.close()

    @property
    def positions(self) -> pd.DataFrame:
        """The account's holdings, a row per contract and side; lots, prices in yuan, `pnl` and `margin` in yuan."""
        return self.live.positions()

    @property
    def owned(self) -> pd.DataFrame:
        """Net lots by strategy and contract; what no strategy owns is `unassigned`."""
        return self.live.owned()

    @property
    def account(self) -> pd.Series[Any]:
        """The counter's account, in its currency."""
        return self.live.account()

    @property
    def orders(self) -> pd.DataFrame:
        """The newest 500 orders; `desk.working_orders` are those that still work."""
        return self.live.orders()

    @property
    def working_orders(self) -> pd.DataFrame:
        return self.live.orders(active=True)

    @property
    def trades(self) -> pd.DataFrame:
        return self.live.trades()

    @property
    def strategies(self) -> pd.DataFrame:
        """What is deployed: state, position, parameters, variables, and why one failed."""
        return self.live.strategies()

    @property
    def services(self) -> pd.DataFrame:
        return self.live.services()

    @property
    def events(self) -> pd.DataFrame:
        """Connections, reconciliations, trading states, alarms; the newest 200."""
        return self.live.events()

    def logs(self, service: str | None = None, level: str = "info", grep: str | None = None, since: str | None = None,
             limit: int = 200) -> pd.DataFrame:  # fmt: skip
        """The newest log lines. `since`: `10m`, `2h` or a time."""
        return self.live.logs(service=service, level=level, grep=grep, since=since, limit=limit)

    def bars(self, symbol: str, interval: str = "1m", since: datetime | None = None, limit: int = 500) -> pd.DataFrame:
        """Market's finished bars by their first minute (Shanghai), 1m 3m 5m 15m 30m 60m d. History on disk is
        `desk.history`."""
        return self.live.bars(symbol, interval, since, limit)

    def tick(self, symbol: str) -> pd.Series[Any]:
        """The last tick. Raises ClientError before the first."""
        return self.live.tick(symbol)

    def ticks(self, symbol: str, since: datetime | None = None, limit: int | None = None) -> pd.DataFrame:
        """Ticks of the running trading day by the exchange's time (Shanghai): the newest 500, the newest `limit`, or
        those `since` a moment. Days that were recorded are in `desk.history`."""
        from arbig.lab import whence

        return whence.tape(self, symbol, since, limit)

    def whence(self, order_id: str) -> Whence:
        """Where an order came from: code, parameters, the tick or bar behind the signal, and how long each hop took.
        By order id or request id. Raises ClientError for one that nobody knows."""
        from arbig.lab import whence

        return whence.whence(self, order_id)

    def watch(self, symbol: str, minutes: int = 120) -> Watch:
        """A live chart in this cell: one-minute candles, the last price, our fills; until `.close()`."""
        from arbig.lab.watching import Watch

        return Watch(self, symbol, minutes)

    def cockpit(self) -> Cockpit:
        """The strategies as widgets in this cell, with their buttons; it shows the same in every notebook."""
        from arbig.lab.cockpit import Cockpit

        return Cockpit(self)

    def on_trade(self, callback: Callable[[TradeData], None]) -> Listening:
        """`callback` hears each fill from now on, on a thread of its own, until `.stop()`."""
        return self.live.on_trade(callback)

    def deploy(
        self,
        strategy: type[BaseTemplate] | str,
        symbol: Symbols = None,
        params: Mapping[str, Any] | None = None,
        risk: Mapping[str, Any] | None = None,
        mode: Literal["paper", "live"] = "paper",
        *,
        strategy_name: str | None = None,
        confirm: str = "",
        replace: bool = False,
        force: bool = False,
    ) -> Deployed:
        """The strategy runs in the services from now on, whatever becomes of this notebook.

        `strategy`: a class that `%%strategy` saved, the name of a file in `strategies/` or of a class in one.
        `strategy_name`: the instance (default: the class), unique in the house. The same call again attaches to the
        run there is. Another version needs `replace=True` and is refused while orders of it work, unless
        `force=True`. `mode="live"` needs the strategy's name typed: `confirm="MaRsiStrategy"`.
        Raises ClientError or PlanError, one line, and then nothing has changed.
        """
        from arbig.lab import deploying

        return deploying.deploy(self, strategy, symbol, params, risk, mode, strategy_name, confirm, replace, force)

    def deployed(self, strategy_name: str) -> Deployed:
        """The handle of what is deployed already. Raises ClientError when there is no such strategy."""
        from arbig.lab import deploying

        return deploying.deployed(self, strategy_name)

    def start(self, strategy_name: str) -> Deployed:
        """A new run of what was stopped."""
        return self.deployed(strategy_name).start()

    def pause(self, strategy_name: str) -> Deployed:
        """No new signals; its orders and stop orders stay."""
        return self.deployed(strategy_name).pause()

    def resume(self, strategy_name: str) -> Deployed:
        return self.deployed(strategy_name).resume()

    def stop(self, strategy_name: str) -> Deployed:
        """`on_stop`, its orders cancelled; its position stays."""
        return self.deployed(strategy_name).stop()

    def edit(
        self,
        strategy_name: str,
        params: Mapping[str, Any] | None = None,
        risk: Mapping[str, Any] | None = None,
        force: bool = False,
    ) -> Deployed:
        """Other parameters, the rest as it is: `desk.edit("MaRsiStrategy", {"fast_window": 12})`. A new run with the
        position it has."""
        return self.deployed(strategy_name).edit(params, risk, force)

    def roll(self, strategy_name: str, to: str, symbol: str | None = None, reason: str | None = None) -> Roll:
        """The strategy moves to the next contract: lots, parameters and variables, once.

        It rests meanwhile: old lots are closed, as many new ones opened as are certainly closed, then it begins on
        `to` with what it knew. Indicators are made anew from the new contract's bars; variables are kept as they are.
        The job belongs to Trading and goes on whatever becomes of this notebook; it waits visibly through breaks and at
        price limits. The same call again attaches to it: `.state`, `.detail`, `.wait()`, `.stop()`. `symbol`: the
        contract it leaves, where the strategy has several of one product.
        """
        from arbig.lab import handles

        return handles.roll(self, strategy_name, to, symbol, reason)

    def remove(self, strategy_name: str, force: bool = False) -> None:
        """Out of the house; its file is laid aside. Refused while it holds lots, unless forced."""
        self.deployed(strategy_name).remove(force)

    @property
    def trading_day(self) -> date:
        """The run's, in a notebook that the Scheduler runs, else the session's: its bars are still being made, those of
        earlier days are whole. Raises ClientError when no house runs."""
        from arbig.lab import intents

        return date.fromisoformat(intents.trading_day(self))

    @property
    def schedule(self) -> Scheduling:
        """Notebooks on the trading calendar: `desk.schedule` shows them, `.run(name)`, `.history()`, `.grants`."""
        from arbig.lab.scheduling import Scheduling

        return Scheduling(self)

    def target(
        self,
        symbol: str,
        volume: int,
        intent: str,
        *,
        strategy_name: str | None = None,
        trading_day: Day | None = None,
    ) -> Intent:
        """The notebook's own book shall hold so many net lots of a contract: `desk.target("au2512", +2,
        intent="{trading_day}-close")`.

        Executed at most once for (strategy name, intent, trading day), however often the notebook runs: the same again
        is answered from what was said first. Trading works it from then on, through breaks, until it is DONE or its day
        is over. `strategy_name`: whose book (default: the schedule entry that runs the notebook); `trading_day`:
        default the run's, else the session's. Real money needs a grant. Raises ClientError or PlanError, one line.
        """
        from arbig.lab import intents

        return intents.target(self, symbol, volume, intent, strategy_name, trading_day)

    def halt(self, reason: str = "") -> dict[str, str]:
        """No new order leaves the house, those that work are cancelled; what Trading and Gateway answered. A person
        lifts it again: `arbig resume`, or the console."""
        return self.live.ask(lambda client: client.halt(reason))

    def cancel(self, order_id: str) -> Cancel:
        """This order shall be gone; by order id or request id. In a break or an auction it waits visibly and is asked
        again, and it is over only when the counter says so: `.state`, `.detail`, `.wait()`."""
        from arbig.lab import handles

        return handles.cancel(self, order_id)

    def flatten(self, strategy_name: str | None = None, symbol: str | None = None, reason: str = "") -> Flatten:
        """Close a strategy's lots, a contract's, or (without both) everything; the account is REDUCING meanwhile.

        The job belongs to Trading and goes on whatever becomes of this notebook. It waits visibly through breaks and
        at price limits, and is DONE only when the counter says so: `.state`, `.left`, `.wait()`.
        """
        from arbig.lab import handles

        return handles.flatten(self, strategy_name, symbol, reason)
