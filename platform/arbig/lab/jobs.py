"""Jobs: a plan laid out in a folder, so that any process can run it with other parameters, over other days.

`job.json` says what to run, `{class}.py` is the strategy, `series/*.npy` are the columns: every process maps the same
read-only pages. What a process is asked and answers is plain JSON.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np

from arbig import __version__
from arbig.backtest.engine import run
from arbig.backtest.performance import equity, statistics_of
from arbig.backtest.plan import Costs, Matching, Plan, PlanError, StrategyPlan
from arbig.backtest.result import Result
from arbig.backtest.series import BarSeries, Floats, Series, TickSeries
from arbig.domain.instruments import InstrumentBook, ProductRow
from arbig.domain.messages import Exchange
from arbig.domain.sessions import TradingCalendar
from arbig.domain.template import BaseTemplate
from arbig.lab.sources import StrategySource
from arbig.runtime.loader import load_class
from arbig.store.models import Registry, RegistryPredictor

Answer: TypeAlias = dict[str, Any]
Columns: TypeAlias = dict[str, np.ndarray]
WORDS = ("symbol", "exchange", "interval")
KINDS: Mapping[str, type[BarSeries | TickSeries]] = {"bars": BarSeries, "ticks": TickSeries}


class SeriesHead(msgspec.Struct, frozen=True):
    """What a series is beside its columns. `digest` is of the columns' bytes."""

    kind: str
    symbol: str
    exchange: Exchange
    digest: str
    interval: str = ""


class Job(msgspec.Struct, frozen=True):
    """Everything that decides a run's numbers, apart from its days and its parameters. `models`: the version behind
    each name that strategies ask for."""

    version: str
    class_name: str
    code_hash: str
    name: str
    vt_symbols: tuple[str, ...]
    params: dict[str, Any]
    capital: float
    matching: Matching
    costs: Costs
    series: dict[str, SeriesHead]
    warmup: dict[str, SeriesHead]
    warmup_days: int
    products: tuple[ProductRow, ...]
    days: tuple[date, ...]
    no_night: tuple[date, ...]
    models: dict[str, str] = {}
    model_hashes: dict[str, str] = {}
    model_folder: str = ""

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(msgspec.json.encode(self, order="deterministic")).hexdigest()

    @property
    def setting(self) -> str:
        return setting_of(self.matching, self.capital, self.costs, self.vt_symbols)


class Task(msgspec.Struct, frozen=True):
    """One backtest: the parameters that differ, and the trading days."""

    params: dict[str, Any]
    start: date
    end: date

    @property
    def key(self) -> str:
        return json.dumps([self.start.isoformat(), self.end.isoformat(), self.params], sort_keys=True)


def setting_of(matching: Matching, capital: float, costs: Costs, vt_symbols: Sequence[str]) -> str:
    """How a strategy trades, whatever the code, the data and the parameters."""
    words = (matching, float(capital), costs, tuple(vt_symbols))
    return hashlib.sha256(msgspec.json.encode(words, order="deterministic")).hexdigest()[:12]


def job_of(plan: Plan, source: StrategySource, warmup_days: int) -> Job:
    """`warmup_days`: calendar days of history before the first day of a run. Raises PlanError for what cannot be sent
    to another process."""
    (strategy,) = plan.strategies
    if strategy.prepare is not None and not hasattr(strategy.kind, "prepare"):
        raise PlanError(f"{strategy.name}: its prepare stands outside the class; make it a static method of the class")
    products = {plan.book.get(name).product for name in plan.series}
    try:
        params = json.loads(json.dumps(dict(strategy.params)))
    except TypeError as error:
        raise PlanError(f"{strategy.name}: params: {error}; a sweep takes numbers, texts, lists and mappings") from None
    return Job(
        version=__version__,
        class_name=source.class_name,
        code_hash=source.code_hash,
        name=strategy.name,
        vt_symbols=tuple(strategy.vt_symbols),
        params=params,
        capital=strategy.capital,
        matching=plan.matching,
        costs=plan.costs,
        series={name: _head(one) for name, one in plan.series.items()},
        warmup={name: _head(one) for name, one in plan.warmup.items()},
        warmup_days=warmup_days,
        products=tuple(row for row in plan.book.rows if row.product in products),
        days=tuple(sorted(plan.calendar.days)),
        no_night=tuple(sorted(plan.calendar.no_night)),
        **_models(plan),
    )


def _models(plan: Plan) -> dict[str, Any]:
    predictor = plan.predictor
    if not isinstance(predictor, RegistryPredictor):
        return {}
    folder = str(predictor.registry.folder)
    return {"models": predictor.versions, "model_hashes": predictor.hashes, "model_folder": folder}


def _predictor(job: Job) -> RegistryPredictor | None:
    return RegistryPredictor(Registry(Path(job.model_folder)), known=job.models) if job.models else None


def columns_of(plan: Plan) -> Iterator[tuple[str, np.ndarray]]:
    """Every column of every series, under a name that is also a file's."""
    for role, group in (("series", plan.series), ("warmup", plan.warmup)):
        for vt_symbol, one in group.items():
            for name, column in _columns(one).items():
                yield f"{role}-{vt_symbol}-{name}", column


def write_job(plan: Plan, job: Job, source: StrategySource, folder: Path) -> None:
    """Lay the job out. Raises OSError when the disk is full."""
    (folder / "job.json").write_bytes(msgspec.json.encode(job))
    (folder / f"{job.class_name}.py").write_text(source.text, encoding="utf-8")
    place = folder / "series"
    place.mkdir(exist_ok=True)
    for name, column in columns_of(plan):
        np.save(place / f"{name}.npy", column, allow_pickle=False)


def drop_series(folder: Path) -> None:
    """The columns are only needed while processes run."""
    for path in (folder / "series").glob("*.npy"):
        path.unlink(missing_ok=True)


class Runner:
    """A job taken up by one process: runs task after task on the same columns."""

    def __init__(self, job: Job, kind: type[BaseTemplate], columns: Callable[[str], np.ndarray]) -> None:
        self._warmup_days = job.warmup_days
        self._whole = Plan(
            strategies=(StrategyPlan(kind, job.name, job.vt_symbols, job.params, job.capital),),
            series={name: _series(head, f"series-{name}", columns) for name, head in job.series.items()},
            start=job.days[0],
            end=job.days[-1],
            book=InstrumentBook.from_rows(job.products, calendar := _calendar(job)),
            calendar=calendar,
            matching=job.matching,
            costs=job.costs,
            warmup={name: _series(head, f"warmup-{name}", columns) for name, head in job.warmup.items()},  # type: ignore[misc]
            predictor=_predictor(job),
        )
        self._cut = self._whole

    @classmethod
    def in_folder(cls, folder: Path, paths: list[str]) -> Runner:
        """`paths`: where the strategy may import from."""
        sys.path.extend(path for path in paths if path not in sys.path)
        job = msgspec.json.decode((folder / "job.json").read_bytes(), type=Job)
        return cls(
            job,
            load_class(folder / f"{job.class_name}.py", job.class_name),
            lambda name: np.load(folder / "series" / f"{name}.npy", mmap_mode="r", allow_pickle=False),
        )

    def answer(self, task: Task) -> Answer:
        """The statistics of one backtest and its daily returns, or the line that says why there are none."""
        if (self._cut.start, self._cut.end) != (task.start, task.end):
            self._cut = cut(
                self._whole, task.start, task.end, self._warmup_days
            )  # once: engines keep what they compute
        try:
            result = run(planned(self._cut, task))
            figures = dict(statistics_of(result))
        except Exception as error:
            return {"statistics": {}, "returns": "", "error": f"{type(error).__name__}: {error}".splitlines()[0]}
        return {
            "statistics": figures,
            "returns": packed(daily_returns(result)),
            "error": "; ".join(f"{one.datetime:%Y-%m-%d %H:%M}: {one.reason}" for one in result.failures) or None,
        }


def cut(plan: Plan, start: date, end: date, warmup_days: int) -> Plan:
    """The plan from one day to another, with the history before it that `desk.plan` would read. Rows after its end
    are not there at all: nothing of what follows can be seen."""
    first = start - timedelta(days=warmup_days)
    series = {name: _between(one, first, end) for name, one in plan.series.items()}
    return replace(plan, start=start, end=end, series=series)


def planned(plan: Plan, task: Task) -> Plan:
    """The plan with the task's parameters."""
    (strategy,) = plan.strategies
    made = replace(plan, strategies=(replace(strategy, params={**strategy.params, **task.params}),))
    if not hasattr(strategy.kind, "prepare"):
        return made
    from arbig.lab.signals import with_signals

    return with_signals(made)


def daily_returns(result: Result) -> Floats:
    """Simple returns by trading day, all strategies together."""
    return equity(result.days, sum(one.capital for one in result.plan.strategies)).returns


def packed(values: Floats) -> str:
    """Eight bytes a value, as text; `unpacked` gives the same values to the last bit."""
    return base64.b64encode(np.ascontiguousarray(values, "<f8").tobytes()).decode()


def unpacked(text: str) -> Floats:
    return np.frombuffer(base64.b64decode(text), "<f8")


def _between(series: Any, first: date, end: date) -> Any:
    start, stop = series.first_of(first), series.first_of(end + timedelta(days=1))
    return series if (start, stop) == (0, len(series)) else series.rows(start, stop)


def _head(series: Series) -> SeriesHead:
    digest = hashlib.sha256()
    for column in _columns(series).values():
        digest.update(np.ascontiguousarray(column).view(np.uint8).data)
    kind = "bars" if isinstance(series, BarSeries) else "ticks"
    interval = series.interval if isinstance(series, BarSeries) else ""
    return SeriesHead(kind, series.symbol, series.exchange, digest.hexdigest(), interval)


def _columns(series: Series) -> Columns:
    found = {field.name: getattr(series, field.name) for field in fields(series)}
    return {name: one for name, one in found.items() if isinstance(one, np.ndarray)}


def _series(head: SeriesHead, name: str, columns: Callable[[str], np.ndarray]) -> BarSeries | TickSeries:
    kind = KINDS[head.kind]
    words: dict[str, Any] = {"symbol": head.symbol, "exchange": head.exchange}
    words |= {"interval": head.interval} if head.interval else {}
    words |= {one.name: np.asarray(columns(f"{name}-{one.name}")) for one in fields(kind) if one.name not in WORDS}
    return kind(**words)


def _calendar(job: Job) -> TradingCalendar:
    return TradingCalendar(frozenset(job.days), frozenset(job.no_night))
