"""Look-ahead: whether a strategy's orders depend on what it could not know yet, proven by taking the future away.

(a) With the data ended after a bar, the orders up to that bar must be those of the whole run. (b) With everything after
that bar scrambled, too. (c) Dropping the oldest history before the start must at some length stop to change anything.
Bars after which orders were sent are the first to be cut at: who peeks, peeks there. What a strategy got past its plan
(a file, a global, a value kept from an earlier run) no cut can reach: such data is looked for and named, and the
verdict is then that nothing is proven.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime as Time
from html import escape
from itertools import zip_longest
from typing import TypeAlias

import numpy as np

from arbig.backtest import reach, tampering
from arbig.backtest.diary import Diary, Event, watched
from arbig.backtest.plan import Plan, PlanError
from arbig.backtest.predictions import Witness
from arbig.backtest.result import Result
from arbig.backtest.series import TickSeries, Times
from arbig.domain.messages import SHANGHAI

Run: TypeAlias = Callable[[Plan], Result]
Diaries: TypeAlias = dict[str, Diary]

CUTS = 8
NEAR = 2 / 3
"""The share of the cuts made right after bars that caused orders; the others are anywhere."""
WORDS = {
    "cut": "with the data ended at the bar of {cut}",
    "mirrored": "with every move after the bar of {cut} mirrored",
    "shuffled": "with the moves after the bar of {cut} shuffled",
    "repeat": "run a second time",
}
MOMENT = "%Y-%m-%d %H:%M"


@dataclass(frozen=True)
class Finding:
    """The first bar whose orders are others when the data after `cut` is. `expected` it asks for in the whole run,
    `found` in the run named by `how`. `bar`: the newest bar it had then seen. `failure`: how that run ended early. With
    `how` "model" no order differs: `failure` is the model it asks, whose training saw data up to `cut`."""

    strategy_name: str
    how: str
    cut: Time
    bar: Time
    expected: tuple[Event, ...]
    found: tuple[Event, ...]
    failure: str = ""

    def __str__(self) -> str:
        if self.how == "model":
            return (
                f"at the bar of {self.bar.strftime(MOMENT)} {self.strategy_name} asks {self.failure}, "
                f"which was trained on data up to {self.cut.strftime(MOMENT)}"
            )
        changed = WORDS[self.how].format(cut=self.cut.strftime(MOMENT))
        failed = f" ({self.failure})" if self.failure else ""
        return (
            f"at the bar of {self.bar.strftime(MOMENT)} {self.strategy_name} asks for {_listed(self.expected)}; "
            f"{changed} it asks for {_listed(self.found)}{failed}"
        )


def _listed(events: Sequence[Event]) -> str:
    return ", ".join(str(event) for event in events) or "nothing"


@dataclass(frozen=True)
class WarmUp:
    """How much history the orders need. `tried`: days of history before the start -> whether the orders are those with
    all of it. `settled_days`: from how many days on they are; None when leaving out the oldest day changes them."""

    history_days: int
    declared_days: int
    tried: tuple[tuple[int, bool], ...]

    @property
    def settled_days(self) -> int | None:
        settled = self.history_days
        for days, is_same in self.tried:
            if not is_same:
                break
            settled = days
        return settled if settled < self.history_days else None

    @property
    def is_settled(self) -> bool:
        return not self.tried or self.settled_days is not None

    def __str__(self) -> str:
        asked = f" (load_bar asks for {self.declared_days} calendar days)" if self.declared_days else ""
        if not self.tried:
            return f"too little history before the start to leave any out: {self.history_days} trading days{asked}"
        if self.settled_days is None:
            return (
                f"the orders change when the history before the start is {self.tried[0][0]} trading days instead of "
                f"{self.history_days}{asked}: give it more, or a rule that forgets"
            )
        return f"the orders settle at {self.settled_days} of {self.history_days} trading days of history{asked}"


@dataclass(frozen=True)
class Report:
    """What the check found. `ok`: there were orders, none depends on the future, nothing was out of its reach."""

    strategies: tuple[str, ...]
    cuts: tuple[Time, ...]
    orders: int
    runs: int
    findings: tuple[Finding, ...] = ()
    outside: tuple[str, ...] = ()
    warm_up: WarmUp | None = None
    notes: tuple[str, ...] = ()
    is_complete: bool = True

    @property
    def ok(self) -> bool:
        return self.is_complete and self.orders > 0 and not self.findings and not self.outside

    @property
    def verdict(self) -> str:
        """`clean`, `looks ahead`, or `not proven`."""
        if self.findings:
            return "not repeatable" if self.findings[0].how == "repeat" else "looks ahead"
        return "clean" if self.ok else "not proven"

    def __str__(self) -> str:
        said = [str(self.findings[0])] if self.findings else list((*self.outside, *self.notes)[:1])
        if self.verdict == "clean" and self.warm_up is not None and not self.warm_up.is_settled:
            said.append(str(self.warm_up))
        if not self.is_complete:
            said.append("stopped before the end")
        return "; ".join([f"{', '.join(self.strategies)}: {self.verdict} ({self._proof()})", *said])

    def __repr__(self) -> str:
        return "\n".join(f"{name:<12} {value}" for name, value in self.lines())

    def _repr_html_(self) -> str:
        colour = {"clean": "#1a7f37", "not proven": "#9a6700"}.get(self.verdict, "#b42318")
        rows = "".join(
            f"<tr><th style='text-align:left;vertical-align:top'>{escape(name)}</th>"
            f"<td style='text-align:left'>{escape(value)}</td></tr>"
            for name, value in self.lines()[1:]
        )
        return f"<b style='color:{colour}'>{escape(self.verdict)}</b><table>{rows}</table>"

    def lines(self) -> list[tuple[str, str]]:
        """Name and sentence of everything the report says."""
        return [
            ("verdict", self.verdict),
            ("strategies", ", ".join(self.strategies)),
            ("proof", self._proof()),
            *(("looks ahead" if one.how != "repeat" else "differs", str(one)) for one in self.findings),
            *(("out of reach", one) for one in self.outside),
            *((("warm-up", str(self.warm_up)),) if self.warm_up else ()),
            *(("note", one) for one in self.notes),
        ]

    def _proof(self) -> str:
        cuts = "1 cut" if len(self.cuts) == 1 else f"{len(self.cuts)} cuts"
        return f"{self.orders} orders and cancels, {cuts}, {self.runs} runs"


def check(
    plan: Plan,
    cuts: int | Sequence[Time] = CUTS,
    seed: int = 1,
    run: Run | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Report:
    """Try to catch the plan's strategies looking ahead.

    `cuts`: how many moments to cut at (two thirds right after orders, the others anywhere, drawn with `seed`), or the
    moments (naive Shanghai time, a bar's stamp: that bar is the last one). `run`: an engine, by default the one the
    plan names. `progress(done, runs)` after every run. The check ends with the first cut that finds something; Ctrl-C
    ends it at once, and the report says so. Raises PlanError when the plan itself cannot be run.
    """
    return _Check(plan, seed, run or _engine(), progress).report(cuts)


@dataclass
class _Check:
    """One check under way: what it found so far."""

    plan: Plan
    seed: int
    engine: Run
    progress: Callable[[int, int], object] | None
    runs: int = 0
    planned: int = 2
    findings: list[Finding] = field(default_factory=list)
    outside: dict[str, None] = field(default_factory=dict)
    warm_up: WarmUp | None = None
    notes: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)

    def report(self, cuts: int | Sequence[Time]) -> Report:
        complete = True
        whole: Diaries = {}
        moments: list[Time] = []
        with reach.readings(self.read):
            try:
                whole = self._whole()
                moments = self._moments(whole, cuts)
                lengths = _lengths(self.plan)
                self.planned = 2 + 3 * len(moments) + len(lengths)
                self._look(whole, moments)
                if not self.findings:
                    self.warm_up = self._history(whole, lengths)
            except KeyboardInterrupt:
                complete = False
        return Report(
            strategies=tuple(one.name for one in self.plan.strategies),
            cuts=tuple(moments),
            orders=sum(len(diary.events) for diary in whole.values()),
            runs=self.runs,
            findings=tuple(self.findings),
            outside=(*self.outside, *self.read),
            warm_up=self.warm_up,
            notes=tuple(self.notes),
            is_complete=complete,
        )

    def _whole(self) -> Diaries:
        """The run that every other one is held against, done twice: a strategy must repeat itself first."""
        before = [reach.memory(one) for one in self.plan.strategies]
        witness = Witness(self.plan.predictor) if self.plan.predictor is not None else None
        given, self.plan = self.plan, replace(self.plan, predictor=witness)
        # a copy, so that the first run and the others are given the same: columns that nothing else points at
        plan = tampering.with_history(self.plan, tampering.history_days(self.plan))
        whole, failures = self._run(plan)
        self.plan = given
        if witness is not None:
            self._blame(witness)
        after = [reach.memory(one) for one in self.plan.strategies]
        for was, is_now in zip(before, after, strict=True):
            changed = [name for name in is_now if name not in was or was[name] != is_now[name]]
            if changed:
                self.outside[f"{changed[0]} is changed by a run and kept for the next one"] = None
        self.notes += [f"the run itself ended early: {one}" for one in failures.values()]
        if not any(diary.events for diary in whole.values()):
            self.notes.append("no orders: there is nothing to compare")
        again, failures = self._run(plan)
        self._compare("repeat", _end(whole), whole, again, failures)
        return whole

    def _blame(self, witness: Witness) -> None:
        """A model that was trained on what comes after the bar it is asked about: cutting the bars cannot show that."""
        for model, (features, prediction) in witness.seen.items():
            assert prediction.trained_until is not None
            who = next((one.name for one in self.plan.strategies if one.kind.model == model), "a strategy")
            asked = f"{model} {prediction.version}"
            self.findings.append(Finding(who, "model", prediction.trained_until, features.datetime, (), (), asked))

    def _moments(self, whole: Diaries, cuts: int | Sequence[Time]) -> list[Time]:
        if not isinstance(cuts, int):
            return sorted(
                moment.astimezone(SHANGHAI).replace(tzinfo=None) if moment.tzinfo else moment for moment in cuts
            )
        return _chosen(self.plan, whole, cuts, np.random.default_rng(self.seed))

    def _look(self, whole: Diaries, moments: Sequence[Time]) -> None:
        for moment in moments:
            if self.findings:
                return
            short = self._tampered("cut", moment, whole)
            if short is not None and not self.outside:
                self._reach(short, moment)
            for how in tampering.CHANGES:
                self._tampered(how, moment, whole)

    def _tampered(self, how: str, moment: Time, whole: Diaries) -> Diaries | None:
        try:
            plan = tampering.cut(self.plan, moment) if how == "cut" else self._scrambled(moment, how)
            diaries, failures = self._run(plan)
        except PlanError as error:
            self._compare(how, moment, whole, {name: Diary() for name in whole}, dict.fromkeys(whole, str(error)))
            return None
        self._compare(how, moment, whole, diaries, failures)
        return diaries

    def _scrambled(self, moment: Time, how: str) -> Plan:
        return tampering.scrambled(self.plan, moment, how, self.seed)

    def _run(self, plan: Plan) -> tuple[Diaries, dict[str, str]]:
        """One run of the engine; the diaries of the strategies and why they failed, by their names."""
        for one in plan.strategies:
            reach.forget(one)
        plan = plan.prepared()
        diaries = {one.name: Diary() for one in plan.strategies}
        callbacks = ("on_tick",) if _has_ticks(plan) else ("on_bar", "on_bars")
        kinds = [replace(one, kind=watched(one.kind, diaries[one.name], callbacks)) for one in plan.strategies]
        result = self.engine(replace(plan, strategies=tuple(kinds)))
        self.runs += 1
        if self.progress is not None:
            self.progress(self.runs, self.planned)
        return diaries, {one.strategy_name: one.reason for one in result.failures}

    def _compare(self, how: str, moment: Time, whole: Diaries, other: Diaries, failures: dict[str, str]) -> None:
        for name, diary in whole.items():
            bar = _first_difference(diary.until(moment), other[name].until(moment))
            if bar is not None:
                expected, found = diary.at(bar), other[name].at(bar)
                self.findings.append(Finding(name, how, moment, bar, expected, found, failures.get(name, "")))

    def _reach(self, short: Diaries, moment: Time) -> None:
        lengths = frozenset(
            length
            for one in self.plan.series.values()
            for length in (len(one), len(one) - one.first_of(self.plan.start))
        )
        seen = max(one.before(moment) + 1 for one in self.plan.series.values())
        for one in self.plan.strategies:
            strategy = short[one.name].strategy
            for sentence in reach.beyond(strategy, one, moment, lengths, seen) if strategy else ():
                self.outside[f"{one.name}: {sentence}"] = None

    def _history(self, whole: Diaries, lengths: Sequence[int]) -> WarmUp:
        tried: list[tuple[int, bool]] = []
        end = _end(whole)
        for days in lengths:
            try:
                diaries, _ = self._run(tampering.with_history(self.plan, days))
            except PlanError as error:
                self.notes.append(f"with {days} days of history it cannot run: {error}")
                break
            same = [_first_difference(whole[name].until(end), diaries[name].until(end)) is None for name in whole]
            tried.append((days, all(same)))
        declared = max((diary.warm_up_days for diary in whole.values()), default=0)
        return WarmUp(tampering.history_days(self.plan), declared, tuple(tried))


def _engine() -> Run:
    from arbig.backtest import engine

    return engine.run


def _first_difference(expected: list[Event], found: list[Event]) -> Time | None:
    """The bar of the first event that is another one, or is missing on one side."""
    pairs: Iterator[tuple[Event | None, Event | None]] = zip_longest(expected, found)
    for one, other in pairs:
        if one is None or other is None or not one.is_same(other):
            return min(event.bar for event in (one, other) if event is not None)
    return None


def _chosen(plan: Plan, whole: Diaries, count: int, draw: np.random.Generator) -> list[Time]:
    """Moments to cut at: after bars that caused orders, one out of every stretch of the run, and anywhere."""
    stamps = [one.datetime[one.first_of(plan.start) :] for one in plan.series.values()]
    rows = np.unique(np.concatenate([np.asarray(one, "datetime64[ms]") for one in stamps]))[:-1]
    events = [event for diary in whole.values() for event in diary.events]
    sent = [event.bar for event in events if event.direction is not None] or [event.bar for event in events]
    caused = np.array(sent, "datetime64[ms]")
    caused = np.intersect1d(caused, rows)
    near = _one_of_each(caused, round(count * NEAR), draw)
    anywhere = _one_of_each(np.setdiff1d(rows, near), count - len(near), draw)
    return [moment.astype(Time) for moment in np.unique(np.array([*near, *anywhere], "datetime64[ms]"))]


def _one_of_each(moments: Times, count: int, draw: np.random.Generator) -> list[np.datetime64]:
    """That many moments, or all there are: one out of every stretch."""
    count = min(count, len(moments))
    return [draw.choice(stretch) for stretch in np.array_split(moments, count)] if count > 0 else []


def _lengths(plan: Plan) -> list[int]:
    """Days of history to try, the longest first: one less than there is, a half, a quarter, one."""
    days = tampering.history_days(plan)
    shares = (days - 1, days // 2, days // 4, 1)
    return sorted({length for length in shares if 0 < length < days}, reverse=True)


def _end(whole: Diaries) -> Time:
    return max((diary.now for diary in whole.values()), default=Time.min)


def _has_ticks(plan: Plan) -> bool:
    return any(isinstance(one, TickSeries) for one in plan.series.values())
