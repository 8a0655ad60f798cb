"""Backtests: from a person's words to a plan, its history read and checked, and from a plan to a result."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from arbig.backtest.engine import run
from arbig.backtest.performance import equity
from arbig.backtest.plan import Costs, Matching, Plan, PlanError, StrategyPlan
from arbig.backtest.result import Interrupted, Result
from arbig.backtest.series import BarSeries, TickSeries
from arbig.domain.instruments import UnknownSymbol
from arbig.domain.template import BaseTemplate, CtaTemplate
from arbig.lab.jobs import setting_of
from arbig.lab.progress import counted
from arbig.lab.results import BacktestResult
from arbig.lab.signals import with_signals
from arbig.lab.sources import source_of
from arbig.lab.trials import Ledger, trial_of
from arbig.runtime.loader import Misconfigured, check_params, find_class, load_class
from arbig.runtime.simulation import load_simulation
from arbig.store.models import ModelError, Registry, RegistryPredictor

if TYPE_CHECKING:
    from arbig.lab.desk import Day, Desk, Strategy, Symbols

MODES = ("bar", "tick")


def backtest(
    desk: Desk,
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
    """Plan and run; a `Plan` is run as it is. A run that came to its end is a trial that every later deflated Sharpe
    ratio counts. Ctrl-C gives the result of what was done until then."""
    made = (
        strategy if isinstance(strategy, Plan) else plan(desk, strategy, symbol, start, end, params, capital, **options)
    )
    with counted("backtest", progress) as tell:
        try:
            return BacktestResult(_counted(desk, run(made, tell)), desk.settings.data)
        except Interrupted as stopped:
            return BacktestResult(stopped.result, desk.settings.data)


def _counted(desk: Desk, result: Result) -> Result:
    """Every strategy of a run in the ledger of trials. Where that cannot be written the result says so."""
    try:
        for one in result.plan.strategies:
            days = [day for day in result.days if day.strategy_name == one.name]
            ledger = Ledger(desk.settings.data, one.kind.__name__, one.vt_symbols)
            setting = setting_of(result.plan.matching, one.capital, result.plan.costs, one.vt_symbols)
            returns = equity(days, one.capital).returns
            ledger.add(
                trial_of(one.kind, _code(one.kind), setting, one.params, (result.plan.start, result.plan.end), returns)
            )
    except OSError as error:
        line = f"not counted among the trials: {error.filename or 'data/trials'}: {error.strerror or error}"
        return replace(result, warnings=(*result.warnings, line))
    return result


def _code(kind: type[BaseTemplate]) -> str:
    """As a sweep names it; a class whose source is not there goes by its name."""
    try:
        return source_of(kind).code_hash
    except PlanError:
        return f"{kind.__module__}.{kind.__qualname__}"


def plan(
    desk: Desk,
    strategy: Strategy,
    symbol: Symbols = None,
    start: Day | None = None,
    end: Day | None = None,
    params: Mapping[str, Any] | None = None,
    capital: float = 1_000_000.0,
    *,
    matching: str = "realistic",
    mode: str = "bar",
    slippage_ticks: int | None = None,
    volume_share: float = 0.2,
    rate: float = 0.0,
    slippage: float = 0.0,
    warmup_days: int = 60,
) -> Plan:
    """What `Desk.plan` says. Raises PlanError or HistoryError, one line."""
    rules = _one_of("matching", matching, tuple(Matching))
    kind = _one_of("mode", mode, MODES)
    first, last = _range(start, end)
    strategies = _strategies(desk, strategy, symbol, params, capital)
    names = tuple(dict.fromkeys(name for one in strategies for name in one.vt_symbols))
    ticks = slippage_ticks if slippage_ticks is not None else (1 if kind == "bar" else 0)
    costs = Costs(
        slippage_ticks=_at_least_zero("slippage_ticks", ticks),
        volume_share=_share("volume_share", volume_share),
        price_limits=_price_limits(desk),
        rate=_at_least_zero("rate", rate),
        slippage=_at_least_zero("slippage", slippage),
    )
    earliest = None if first is None else first - timedelta(days=warmup_days)
    series: dict[str, BarSeries | TickSeries] = {}
    warmup: dict[str, BarSeries] = {}
    for name in names:
        if kind == "bar":
            series[name] = desk.history.bars(name, earliest, last)
        else:
            series[name] = desk.history.ticks(name, first, last)
            before = series[name].trading_day[0].astype(date) - timedelta(days=1)
            if any(day <= before for day in desk.history.days(name)):
                warmup[name] = desk.history.bars(name, before - timedelta(days=warmup_days), before)
    days = [one.trading_day for one in series.values()]
    made = Plan(
        strategies=strategies,
        series=series,
        start=first or min(column[0] for column in days).astype(date),
        end=last or max(column[-1] for column in days).astype(date),
        book=desk.book,
        calendar=desk.calendar,
        matching=Matching(rules),
        costs=costs,
        warmup=warmup,
        predictor=_predictor(desk, strategies),
    )
    _check_range(made, desk)
    return with_signals(made)


def _check_range(made: Plan, desk: Desk) -> None:
    for name, series in made.series.items():
        if not len(series.days(made.start, made.end)):
            known = desk.history.days(name)
            raise PlanError(
                f"{name}: no trading from {made.start} to {made.end}; its history has {len(known)} trading days, "
                f"{known[0]} to {known[-1]}"
            )


def _predictor(desk: Desk, strategies: Sequence[StrategyPlan]) -> RegistryPredictor | None:
    """The models the strategies declare (with what to do without them), as they are in the registry now."""
    named = [one.params.get("model", one.kind.model) for one in strategies if one.kind.fallback is not None]
    references = [name for name in dict.fromkeys(named) if isinstance(name, str) and name]
    if not references:
        return None
    try:
        return RegistryPredictor(Registry(desk.settings.data / "models"), references)
    except ModelError as error:
        raise PlanError(str(error)) from None


def _strategies(
    desk: Desk, strategy: Strategy, symbol: Symbols, params: Mapping[str, Any] | None, capital: float
) -> tuple[StrategyPlan, ...]:
    if isinstance(strategy, StrategyPlan):
        strategy = [strategy]
    if isinstance(strategy, str):
        return _made(desk, _loaded(desk, strategy), symbol, params, capital)
    if isinstance(strategy, type) and issubclass(strategy, BaseTemplate):
        return _made(desk, strategy, symbol, params, capital)
    plans = [one for one in strategy if isinstance(one, StrategyPlan)] if isinstance(strategy, Sequence) else []
    if plans and len(plans) == len(strategy):
        if symbol is not None or params is not None:
            raise PlanError("symbol and params belong to one strategy; a list of StrategyPlan names its own")
        return tuple(_checked(replace(one, vt_symbols=_vt_symbols(desk, one.vt_symbols))) for one in plans)
    raise PlanError(
        f"strategy: found {strategy!r}, expected a strategy class, a class's name in strategies/, or a list of "
        "StrategyPlan"
    )


def _made(
    desk: Desk, kind: type[BaseTemplate], symbol: Symbols, params: Mapping[str, Any] | None, capital: float
) -> tuple[StrategyPlan, ...]:
    """A strategy with legs takes all symbols; a CtaTemplate takes one each, with its own capital."""
    if symbol is None:
        raise PlanError(f"{kind.__name__}: no symbol; write e.g. {_example(desk)!r}")
    names = _vt_symbols(desk, [symbol] if isinstance(symbol, str) else symbol)
    own = dict(params or {})
    if not issubclass(kind, CtaTemplate) or len(names) == 1:
        return (_checked(StrategyPlan(kind, kind.__name__, names, own, capital)),)
    return tuple(
        _checked(StrategyPlan(kind, f"{kind.__name__}.{name.partition('.')[0]}", (name,), own, capital))
        for name in names
    )


def _example(desk: Desk) -> str:
    return next(iter(desk.history.symbols()), "au2512")


def _loaded(desk: Desk, name: str) -> type[BaseTemplate]:
    try:
        return load_class(find_class(desk.settings.root / "strategies", name).path, name)
    except Misconfigured as error:
        raise PlanError(f"strategy: {error}") from None


def _vt_symbols(desk: Desk, symbols: Iterable[str]) -> tuple[str, ...]:
    names = []
    for symbol in symbols:
        if not isinstance(symbol, str):
            raise PlanError(f"symbol: found {symbol!r}, expected text such as 'au2512'")
        try:
            names.append(desk.book.get(symbol).vt_symbol)
        except UnknownSymbol as error:
            raise PlanError(f"symbol: {error}") from None
    if not names:
        raise PlanError(f"symbol: found none, expected at least one; write e.g. {_example(desk)!r}")
    if len(set(names)) < len(names):
        raise PlanError(f"symbol: found {', '.join(names)}, expected each once")
    return tuple(names)


def _checked(one: StrategyPlan) -> StrategyPlan:
    params = {name: value.item() if isinstance(value, np.generic) else value for name, value in one.params.items()}
    try:
        check_params(one.kind, params)
    except Misconfigured as error:
        raise PlanError(f"{one.name}: {error}") from None
    for name, value in params.items():
        if isinstance(value, float) and not isfinite(value):
            raise PlanError(f"{one.name}: params.{name}: found {value}, expected a number")
    is_number = isinstance(one.capital, int | float) and not isinstance(one.capital, bool)
    if not is_number or not isfinite(one.capital) or one.capital <= 0:
        raise PlanError(f"{one.name}: capital: found {one.capital!r}, expected yuan above zero, e.g. 1_000_000")
    return replace(one, params=params)


def _range(start: Day | None, end: Day | None) -> tuple[date | None, date | None]:
    first, last = _day("start", start), _day("end", end)
    if first is not None and last is not None and first > last:
        raise PlanError(f"start {first} is later than end {last}; exchange them")
    return first, last


def _day(name: str, given: Day | None) -> date | None:
    if given is None:
        return None
    if isinstance(given, datetime):
        return given.date()
    if isinstance(given, date):
        return given
    try:
        return date.fromisoformat(given)
    except (TypeError, ValueError):
        raise PlanError(f"{name}: found {given!r}, expected a trading day, e.g. '2025-10-15'") from None


def _one_of(name: str, given: Any, known: Sequence[str]) -> str:
    if given in known:
        return str(given)
    near = difflib.get_close_matches(str(given), [str(one) for one in known], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise PlanError(f"{name}: found {given!r}, expected {' or '.join(repr(str(one)) for one in known)}{hint}")


def _at_least_zero(name: str, given: Any) -> Any:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given < float("inf"):
        raise PlanError(f"{name}: found {given!r}, expected a number, zero or more")
    return given


def _share(name: str, given: Any) -> float:
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= 1:
        raise PlanError(f"{name}: found {given!r}, expected a share above 0 and at most 1, e.g. 0.2")
    return float(given)


def _price_limits(desk: Desk) -> dict[str, float]:
    """The house's own: `config/simulation.yaml` says how far a product may move in a day."""
    return {name: one.price_limit for name, one in load_simulation(desk.settings).products.items()}
