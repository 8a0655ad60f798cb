"""Sweeps: many parameter sets of one strategy on the same history, ranked, and judged by how many were tried.

sweep = desk.sweep("MaRsiStrategy", "au2512", "2025-06-03", "2025-11-28",
                   {"fast_window": (5, 20, 5), "slow_window": [30, 60, 90]})
sweep.rows, sweep.best, sweep.heatmap("fast_window", "slow_window"), sweep.deflated_sharpe, sweep.overfitting
"""

from __future__ import annotations

import fcntl
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from html import escape
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec
import numpy as np
import pandas as pd

from arbig.backtest.overfitting import deflated_sharpe, moments, probability_of_overfitting
from arbig.backtest.performance import statistics
from arbig.backtest.plan import Plan
from arbig.backtest.series import Floats
from arbig.lab.jobs import Answer, Job, Task, drop_series, job_of, unpacked, write_job
from arbig.lab.lines import Lines
from arbig.lab.progress import racing
from arbig.lab.sources import StrategySource, source_of
from arbig.lab.spaces import Proposals, SweepError, Values, check_space, first_set, proposals, read_space
from arbig.lab.stem import stem
from arbig.lab.trials import Count, Ledger, trial_of
from arbig.lab.workers import Crew, LocalCrew
from arbig.runtime.loader import suggest

if TYPE_CHECKING:
    from arbig.lab.desk import Day, Desk, Strategy, Symbols
    from arbig.lab.sheet import Sheet
    from arbig.lab.walkforward import Forward, WalkForward

__all__ = ["Sweep", "SweepError", "sweep"]

Target: TypeAlias = str | Callable[[Mapping[str, float]], float]
Method: TypeAlias = Literal["grid", "random", "tpe"]
BLOCKS = 16
WARMUP_DAYS = 60


@dataclass(frozen=True)
class Row:
    """One finished set: its statistics, its daily returns, or the line that says what went wrong."""

    task: Task
    statistics: Mapping[str, float]
    returns: Floats
    error: str | None = None

    def value(self, target: Target) -> float:
        """The target's figure; nan where there is none, or the run did not reach its end."""
        if self.error is not None or not self.statistics:
            return math.nan
        found = target(self.statistics) if callable(target) else self.statistics[target]
        return float(found)


@dataclass(frozen=True, eq=False, repr=False)
class Sweep:
    """Finished sets, best first. Nothing here is computed twice; nothing is left out: failed sets are the last rows.

    `names`: the parameters that were tried; `total`: how many sets were asked for; `tried`: how many different ones
    this strategy has ever seen on these days (`data/trials/`); `remarks`: what happened on the way.
    """

    job: Job
    start: date
    end: date
    names: tuple[str, ...]
    target: Target
    finished: tuple[Row, ...]
    total: int
    counted: Count
    folder: Path
    remarks: tuple[str, ...] = ()
    data: Path | None = None

    @property
    def target_name(self) -> str:
        return self.target if isinstance(self.target, str) else getattr(self.target, "__name__", "target")

    @property
    def complete(self) -> bool:
        return len(self.finished) >= self.total

    @cached_property
    def rows(self) -> pd.DataFrame:
        """A row per set, best first: its parameters, `target`, every statistic, `error` (None when all went well)."""
        made = [
            {**_only(row.task.params, self.names), "target": row.value(self.target), **row.statistics}
            | {"error": row.error}
            for row in self.finished
        ]
        names = list(dict.fromkeys([*self.names, "target", *statistic_names(), "error"]))
        table = pd.DataFrame(made, columns=names)
        table["error"] = table["error"].astype(object).where(table["error"].notna(), None)
        return table

    @property
    def best(self) -> dict[str, Any]:
        """The winning parameters, as `desk.backtest(..., params=sweep.best)` takes them. Raises SweepError when no set
        has a finite target."""
        return {**self.job.params, **self._winner.task.params}

    @property
    def best_value(self) -> float:
        return self._winner.value(self.target)

    @property
    def tried(self) -> int:
        return self.counted.tried

    @property
    def deflated_sharpe(self) -> float:
        """The probability that the winner has any skill, given every trial ever made on these days; nan when there is
        nothing to judge."""
        try:
            returns = self._winner.returns
        except SweepError:
            return math.nan
        sharpe, skewness, kurtosis = moments(returns)
        return deflated_sharpe(sharpe, self.counted.tried, self.counted.variance, len(returns), skewness, kurtosis)

    @cached_property
    def overfitting(self) -> float:
        """The probability of backtest overfitting of these sets; nan with fewer than two sets or few days."""
        returns = self.returns
        blocks = min(BLOCKS, len(returns) // 10 * 2)
        return probability_of_overfitting(returns, blocks) if blocks >= 4 else math.nan

    @property
    def returns(self) -> Floats:
        """Daily returns, days x sets in the order of `rows`; a set whose run ended early has zeros from there on."""
        days = max((len(row.returns) for row in self.finished), default=0)
        columns = [np.pad(row.returns, (0, days - len(row.returns))) for row in self.finished]
        return np.column_stack(columns) if columns else np.empty((0, 0))

    def heatmap(self, x: str | None = None, y: str | None = None, value: str = "target") -> Sheet:
        """A picture over two parameters: `value` (the target, or any column of `rows`) as colour, the best over the
        other parameters where there are more. The first two parameters when none are named."""
        from arbig.lab.heatmap import heatmap

        return heatmap(self, x, y, value)

    def page(self) -> Sheet:
        """The search on one page: how much of it is luck, the picture, the best sets."""
        from arbig.lab.sweep_page import sweep_page

        return sweep_page(self)

    def save(self, path: Path | str | None = None) -> Path:
        """The page as one HTML file; without a path it goes to the archive, `data/research/`."""
        return self.page().save(path)

    @property
    def _winner(self) -> Row:
        if not self.finished or not math.isfinite(self.finished[0].value(self.target)):
            raise SweepError(f"no set of {len(self.finished)} finished ones has a finite {self.target_name}; see .rows")
        return self.finished[0]

    def text(self, most: int = 20) -> str:
        """The summary and the best rows, for a terminal."""
        shown = self.rows[self._shown()].head(most).to_string(index=False, float_format=_number, na_rep="")
        return f"{self!r}\n\n{shown}"

    def _shown(self) -> list[str]:
        failed = ["error"] if self.rows["error"].notna().any() else []
        return [*self.names, "target", *(name for name in SHOWN if name != self.target), *failed]

    def __repr__(self) -> str:
        return "\n".join(f"{name:<12} {value}" for name, value in self._summary())

    def _repr_html_(self) -> str:
        from arbig.lab.heatmap import axes, table

        rows = "".join(
            f"<tr><th style='text-align:left;vertical-align:top'>{escape(name)}</th>"
            f"<td style='text-align:left'>{escape(value)}</td></tr>"
            for name, value in self._summary()
        )
        best = self.rows[self._shown()].head(10).to_html(index=False, float_format=_number, na_rep="")
        picture = table(self, *axes(self, None, None)) if len(self.names) > 1 else ""
        return f"<table>{rows}</table>{best}{picture}"

    def _summary(self) -> list[tuple[str, str]]:
        failed = sum(row.error is not None for row in self.finished)
        lines = [
            ("sweep", f"{self.job.class_name} on {' '.join(self.job.vt_symbols)}, {self.start} .. {self.end}"),
            ("sets", f"{len(self.finished)} of {self.total} finished" + (f", {failed} failed" if failed else "")),
        ]
        if self.finished and math.isfinite(self.finished[0].value(self.target)):
            words = ", ".join(f"{name}={self.best[name]}" for name in self.names)
            lines.append(("best", f"{self.target_name} {self.best_value:.4g} at {words}"))
        lines += [
            ("tried", f"{self.tried} different sets ever tried on these days"),
            ("deflated", f"{_share(self.deflated_sharpe)} probability of any skill, given that many trials"),
            (
                "overfitting",
                f"{_share(self.overfitting)} probability that the best of one half is below the median of the other",
            ),
        ]
        return lines + [("remark", line) for line in self.remarks]


SHOWN = ("sharpe", "total_return", "max_drawdown_share", "total_trade_count")


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def _share(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.1%}"


def _only(params: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: params[name] for name in names}


def statistic_names() -> list[str]:
    return list(statistics((), (), 1.0))


# ---- running ------------------------------------------------------------------------------------------------------


def sweep(
    desk: Desk,
    strategy: Strategy,
    symbol: Symbols,
    start: Day | None,
    end: Day | None,
    space: Mapping[str, Any],
    params: Mapping[str, Any] | None = None,
    capital: float = 1_000_000.0,
    *,
    method: Method = "grid",
    trials: int | None = None,
    target: Target = "sharpe",
    seed: int = 1,
    workers: int | None = None,
    ray: str | None = None,
    folder: Path | str | None = None,
    walk_forward: Forward | Mapping[str, Any] | tuple[int, int] | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Sweep | WalkForward:
    """Run many parameter sets; a set's figures are those of `desk.backtest` to the last digit.

    `space`: parameter -> a list of values, `(first, last, step)`, or `(low, high)` for anything between. `params`: the
    same for every set. `method`: `grid` (every set), `random` or `tpe` (optuna), of `trials` sets (100); the same
    `seed` gives the same sets. `target`: a statistic, or a function of the statistics; larger is better, a set without
    a finite one ranks last. `workers`: local processes (as many as there are cores). `ray`: run on a Ray cluster
    instead: its address, or `auto`. `folder`: where finished sets are kept, row by row (by default under
    `data/sweeps/`): the same call after any end goes on where it stopped, and sets finished once are not run again.
    `walk_forward`: windows of trading days, `(train, test)` or a `Forward`; gives a `WalkForward`. `options`: as for
    `desk.plan`. Ctrl-C keeps the finished sets. Raises SweepError, PlanError, HistoryError, one line each.
    """
    values = read_space(space, params or {})
    if ray is None:
        stem()  # loads while we plan
    plan = _planned(desk, strategy, symbol, start, end, first_set(values), params, capital, options)
    warmup_days = options.get("warmup_days", WARMUP_DAYS)
    session = Session.of(desk.settings.data, plan, values, target, folder, warmup_days)
    with session.crew(workers, ray) as crew:
        campaign = Campaign(session, crew, Search(method, trials, seed, workers or cores()), progress)
        if walk_forward is None:
            return campaign.run(plan.start, plan.end)
        if options.get("mode") == "tick":
            raise SweepError("walk_forward: found mode 'tick', expected 'bar': windows are cut from bars")
        from arbig.lab.walkforward import forward_of, walk

        return walk(campaign, plan, forward_of(walk_forward))


def _planned(
    desk: Desk,
    strategy: Strategy,
    symbol: Symbols,
    start: Day | None,
    end: Day | None,
    first: Mapping[str, Any],
    params: Mapping[str, Any] | None,
    capital: float,
    options: Mapping[str, Any],
) -> Plan:
    """Planned with the first set, since a parameter may have no default, and kept without it."""
    if not isinstance(strategy, (str, type)):
        return desk.plan(strategy, symbol, start, end, params, capital, **options)
    fixed = dict(params or {})
    plan = desk.plan(strategy, symbol, start, end, {**fixed, **first}, capital, **options)
    bare = tuple(replace(one, params={n: v for n, v in one.params.items() if n in fixed}) for one in plan.strategies)
    return replace(plan, strategies=bare)


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Session:
    """What all searches of one call share: the job in its folder, the values to try, the ledger of trials."""

    plan: Plan
    source: StrategySource
    job: Job
    folder: Path
    space: Mapping[str, Values]
    target: Target
    ledger: Ledger
    data: Path

    @classmethod
    def of(
        cls,
        data: Path,
        plan: Plan,
        space: Mapping[str, Values],
        target: Target,
        folder: Path | str | None,
        warmup_days: int,
    ) -> Session:
        if len(plan.strategies) != 1:
            raise SweepError(f"found {len(plan.strategies)} strategies, expected one: a sweep varies one strategy")
        (strategy,) = plan.strategies
        check_space(space, strategy.kind, strategy.params)
        names = statistic_names()
        if isinstance(target, str) and target not in names:
            raise SweepError(f"target: found {target!r}, no such statistic{suggest(target, names)}")
        source = source_of(strategy.kind)
        job = job_of(plan, source, warmup_days)
        own = data / "sweeps" / f"{job.class_name}-{'+'.join(job.vt_symbols)}-{job.fingerprint[:12]}"
        place = Path(folder) if folder is not None else own
        return cls(plan, source, job, place, space, target, Ledger(data, job.class_name, job.vt_symbols), data)

    @property
    def rows(self) -> Lines:
        return Lines(self.folder / "rows.jsonl")

    @contextmanager
    def crew(self, workers: int | None, ray: str | None) -> Iterator[Crew]:
        """The job laid out and locked, and those who run it. The columns go when they do."""
        if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
            raise SweepError(f"workers: found {workers!r}, expected a whole number above zero; write e.g. workers=2")
        with self._locked():
            crew = self._crew(workers, ray)
            try:
                yield crew
            finally:
                crew.close()
                drop_series(self.folder)

    def _crew(self, workers: int | None, ray: str | None) -> Crew:
        if ray is not None:
            from arbig.lab.ray_workers import RayCrew

            return RayCrew(ray, self.plan, self.job, self.source, workers)
        paths = [self.source.beside, *(path for path in sys.path if path)]
        return LocalCrew(self.folder, workers or cores(), paths)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with _one_line(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / "lock").open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SweepError(
                    f"{self.folder}: another sweep is running here; wait for it, or name a folder"
                ) from None
            self._check_folder()
            with _one_line(self.folder):
                write_job(self.plan, self.job, self.source, self.folder)
            yield

    def _check_folder(self) -> None:
        path = self.folder / "job.json"
        if not path.exists() or not self.rows.path.exists():
            return
        try:
            there = msgspec.json.decode(path.read_bytes(), type=Job).fingerprint
        except (msgspec.DecodeError, OSError):
            there = ""
        if there != self.job.fingerprint:
            raise SweepError(
                f"{self.folder}: holds sets of another strategy text, history, cost or capital; name another folder, "
                f"or leave it out"
            )


@contextmanager
def _one_line(place: Path, done: str = "") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SweepError(
            f"{place}: {error.strerror or error}{done}; make room or name another folder, then make the same call again"
        ) from None


@dataclass(frozen=True)
class Search:
    """How sets are chosen."""

    method: str
    trials: int | None
    seed: int
    workers: int

    def proposals(self, space: Mapping[str, Any]) -> Proposals:
        return proposals(self.method, space, self.trials, self.seed, self.workers)


class Campaign:
    """One call's searches, over one stretch of days or several: known sets are answered from disk, new ones run."""

    def __init__(self, session: Session, crew: Crew, search: Search, progress: bool | None) -> None:
        self.session = session
        self.search = search
        self.crew = crew
        self.stopped = False
        self._progress = progress
        self._known = {row.task.key: row for row in map(_row, session.rows.read()) if row is not None}
        search.proposals(session.space)  # a search that cannot be made is refused before anything runs

    def run(self, start: date, end: date, words: str = "sweep") -> Sweep:
        """Search over these days."""
        asked = self.search.proposals(self.session.space)
        rows: dict[str, Row] = {}
        best: Row | None = None
        try:
            with racing(words, asked.total, self._progress) as tell:
                for row, settled in self._settled(asked, start, end):
                    rows[row.task.key] = row
                    best = row if best is None or self._rank(row) < self._rank(best) else best
                    tell(settled, self._words(best))
        except KeyboardInterrupt:
            self.stopped = True
        return self._sweep(tuple(rows.values()), start, end, len(rows) if not self.stopped else asked.total)

    def one(self, params: Mapping[str, Any], start: date, end: date) -> Row:
        """A single set over these days."""
        task = Task(dict(params), start, end)
        known = self._known.get(task.key)
        if known is not None:
            return known
        self.crew.give(task)
        while True:
            for done, answer in self.crew.answers():
                return self._keep(done, answer)

    def _settled(self, asked: Proposals, start: date, end: date) -> Iterator[tuple[Row, int]]:
        """Every set's row once, with how many proposals it settles (a search may ask for a set again)."""
        waiting: dict[str, list[int]] = {}
        numbers = count()
        while True:
            while self.crew.free > 0 and (params := asked.ask()) is not None:
                task, number = Task(params, start, end), next(numbers)
                known = self._known.get(task.key)
                if known is not None:
                    asked.tell(number, known.value(self.session.target))
                    yield known, 1
                elif task.key in waiting:
                    waiting[task.key].append(number)
                else:
                    waiting[task.key] = [number]
                    self.crew.give(task)
            if not waiting:
                return
            for done, answer in self.crew.answers():
                row = self._keep(done, answer)
                settled = waiting.pop(done.key)
                for number in settled:
                    asked.tell(number, row.value(self.session.target))
                yield row, len(settled)

    def _keep(self, task: Task, answer: Answer) -> Row:
        """On disk first, then counted."""
        words = {"params": task.params, "start": task.start.isoformat(), "end": task.end.isoformat(), **answer}
        row = Row(task, answer["statistics"], unpacked(answer["returns"]), answer["error"])
        self._known[task.key] = row
        if not answer.get("passing"):
            with _one_line(self.session.folder, f" after {len(self._known) - 1} finished sets, which are kept"):
                self.session.rows.append(words)
                self._count(row)
        return row

    def _count(self, row: Row) -> None:
        session, job = self.session, self.session.job
        kind = session.plan.strategies[0].kind
        params = {**job.params, **row.task.params}
        days = (row.task.start, row.task.end)
        session.ledger.add(trial_of(kind, job.code_hash, job.setting, params, days, row.returns))

    def _sweep(self, rows: tuple[Row, ...], start: date, end: date, total: int) -> Sweep:
        session = self.session
        with _one_line(session.ledger.path):
            for row in rows:
                self._count(row)
        remarks = [*getattr(self.crew, "remarks", [])]
        if self.stopped:
            remarks.append(f"stopped by hand after {len(rows)} of {total} sets; the same call goes on from there")
        return Sweep(
            job=session.job,
            start=start,
            end=end,
            names=tuple(session.space),
            target=session.target,
            finished=tuple(sorted(rows, key=self._rank)),
            total=total,
            counted=session.ledger.count(start, end, session.job.setting),
            folder=session.folder,
            remarks=tuple(remarks),
            data=session.data,
        )

    def _words(self, best: Row) -> str:
        value = best.value(self.session.target)
        words = " ".join(f"{name}={given}" for name, given in best.task.params.items())
        return f"best {value:.4g} at {words}" if math.isfinite(value) else "no finite target yet"

    def _rank(self, row: Row) -> float:
        """Best first, without a finite value last."""
        value = row.value(self.session.target)
        return -value if math.isfinite(value) else math.inf


def _row(words: Mapping[str, Any]) -> Row | None:
    try:
        task = Task(words["params"], date.fromisoformat(words["start"]), date.fromisoformat(words["end"]))
        return Row(task, words["statistics"], unpacked(words["returns"]), words["error"])
    except (KeyError, ValueError, TypeError):
        return None
