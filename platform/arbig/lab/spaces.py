"""Spaces: which values of which parameters a sweep tries, and in which order.

`{"fast": [5, 10, 20], "slow": (20, 60, 10), "stop": (0.5, 3.0)}`: a list is its values, (first, last, step) the values
from first to last, (low, high) anything between (random and TPE only; whole numbers when both ends are).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from numbers import Real
from typing import Any, Protocol, TypeAlias

import numpy as np
import yaml

from arbig.backtest.plan import PlanError
from arbig.domain.template import BaseTemplate
from arbig.runtime.loader import Misconfigured, check_params, suggest

ParameterSet: TypeAlias = dict[str, Any]
METHODS = ("grid", "random", "tpe")
AHEAD = 8


class SweepError(PlanError):
    """A sweep that cannot be run, or cannot go on: one line."""


@dataclass(frozen=True)
class Between:
    """Any number from `low` to `high`, both included; whole numbers only when `whole`."""

    low: float
    high: float
    whole: bool


Values: TypeAlias = tuple[Any, ...] | Between


class Proposals(Protocol):
    """Hands out parameter sets and hears how they did."""

    total: int

    def ask(self) -> ParameterSet | None:
        """The next set; None while there is none (wait for an answer), or no more."""

    def tell(self, number: int, value: float) -> None:
        """The target's value of the set that was handed out as number so-and-so, from 0."""


def read_space(space: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Values]:
    """The values of each parameter. Raises SweepError, one line: nothing to try, a reversed range, no finite number,
    a parameter that is fixed already."""
    if not isinstance(space, Mapping) or not space:
        raise SweepError("space: found nothing to try, expected parameters; write e.g. space={'window': [10, 20, 30]}")
    for name in space:
        if name in base:
            raise SweepError(f"space: {name!r} is also in params; leave it out of one of them")
    return {name: _values(name, given) for name, given in space.items()}


def space_of(words: Iterable[str]) -> dict[str, Any]:
    """A space from a command line: `fast=5,10,20`, `fast=5:20:5` (first, last, step), `fast=5:20` (between). Raises
    SweepError."""
    return dict(map(_spoken, words))


def _spoken(text: str) -> tuple[str, Any]:
    name, _, given = (part.strip() for part in text.partition("="))
    if not name or not given:
        raise SweepError(f"--try: found {text!r}, expected a parameter and its values; write e.g. window=10,20,30")
    if ":" not in given:
        return name, [yaml.safe_load(one) for one in given.split(",")]
    return name, _numbers(text, given.split(":"))


def windows_of(text: str) -> tuple[Any, ...]:
    """`60,20` or `60,20,5`: trading days to train on, to test on, between them."""
    return _numbers(f"--walk-forward {text}", text.split(","))


def _numbers(text: str, words: Sequence[str]) -> tuple[Any, ...]:
    numbers = tuple(yaml.safe_load(word) for word in words)
    if len(numbers) not in (2, 3) or not all(map(_is_number, numbers)):
        raise SweepError(f"{text}: expected two or three numbers")
    return numbers


def first_set(space: Mapping[str, Values]) -> ParameterSet:
    return {name: _listed(values)[0] for name, values in space.items()}


def check_space(space: Mapping[str, Values], kind: type[BaseTemplate], base: Mapping[str, Any]) -> None:
    """Raises SweepError, one line: an unknown parameter, a value of the wrong kind."""
    for name in space:
        if name not in kind.parameters:
            raise SweepError(f"space: {kind.__name__} has no parameter {name!r}{suggest(name, kind.parameters)}")
    for name, values in space.items():
        for value in _listed(values):
            _check(kind, {**base, **first_set(space), name: value})


def _check(kind: type[BaseTemplate], params: ParameterSet) -> None:
    try:
        check_params(kind, params)
    except Misconfigured as error:
        raise SweepError(f"space: {str(error).removeprefix('params.')}") from None


def _listed(values: Values) -> tuple[Any, ...]:
    """The values, of an open range its ends."""
    return (values.low, values.high) if isinstance(values, Between) else values


def _values(name: str, given: Any) -> Values:
    if isinstance(given, tuple) and len(given) in (2, 3) and all(_is_number(one) for one in given):
        return _range(name, *map(_plain, given))
    if isinstance(given, (str, bytes, Mapping)) or not hasattr(given, "__iter__"):
        raise SweepError(f"space: {name}: found {given!r}, expected values; write e.g. [{given!r}] or (5, 20, 1)")
    values = tuple({repr(one): one for one in map(_plain, given)}.values())
    if not values:
        raise SweepError(f"space: {name}: found no value, expected at least one; write e.g. [10, 20]")
    unusable = [one for one in values if isinstance(one, float) and not math.isfinite(one)]
    if unusable:
        raise SweepError(f"space: {name}: found {unusable[0]}, expected finite numbers")
    return values


def _range(name: str, low: Any, high: Any, step: Any = None) -> Values:
    if not all(math.isfinite(one) for one in (low, high)):
        raise SweepError(f"space: {name}: found ({low}, {high}), expected finite numbers")
    if low > high:
        raise SweepError(f"space: {name}: found the range {low} to {high}, expected the lower end first")
    if step is None:
        return Between(low, high, isinstance(low, int) and isinstance(high, int))
    if not step > 0:
        raise SweepError(f"space: {name}: found the step {step}, expected one above zero; write e.g. (5, 20, 1)")
    count = math.floor((high - low) / step + 1e-9) + 1
    digits = max(_digits(low), _digits(step))
    return tuple(round(low + index * step, digits) if digits else low + index * step for index in range(count))


def _digits(number: float) -> int:
    """Decimal places, so that 0.1 + 2 * 0.1 is 0.3."""
    text = repr(number)
    return len(text.partition(".")[2]) if isinstance(number, float) and "e" not in text else 0


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _plain(value: Any) -> Any:
    """numpy's numbers as Python's own."""
    if isinstance(value, np.generic):
        return value.item()
    return value


def set_key(params: Mapping[str, Any]) -> str:
    """One text per parameter set, whatever the order of its names."""
    return json.dumps(params, sort_keys=True, ensure_ascii=False)


def proposals(method: str, space: Mapping[str, Values], trials: int | None, seed: int, workers: int = 1) -> Proposals:
    """Raises SweepError for an unknown method, a grid over open ranges, a number of trials that is none."""
    if method not in METHODS:
        raise SweepError(f"method: found {method!r}{suggest(method, list(METHODS))}")
    if trials is not None and (isinstance(trials, bool) or not isinstance(trials, int) or trials < 1):
        raise SweepError(f"trials: found {trials!r}, expected a whole number above zero; write e.g. trials=100")
    if method == "grid":
        return Listed(_grid(space, trials))
    count = trials if trials is not None else 100
    return Listed(_random(space, count, seed)) if method == "random" else Tpe(space, count, seed, workers)


class Listed:
    """Sets known beforehand."""

    def __init__(self, sets: Sequence[ParameterSet]) -> None:
        self.total = len(sets)
        self._left = iter(sets)

    def ask(self) -> ParameterSet | None:
        return next(self._left, None)

    def tell(self, number: int, value: float) -> None:
        """The order stands already."""


def _grid(space: Mapping[str, Values], trials: int | None) -> list[ParameterSet]:
    for name, values in space.items():
        if isinstance(values, Between):
            raise SweepError(
                f"space: {name}: a grid needs values, found only the ends {values.low} and {values.high}; "
                f"write ({values.low}, {values.high}, step), or method='random'"
            )
    if trials is not None:
        raise SweepError(f"trials: found {trials}, but a grid tries every set; leave it out, or use method='random'")
    return [dict(zip(space, values, strict=True)) for values in product(*space.values())]  # type: ignore[arg-type]


def _random(space: Mapping[str, Values], count: int, seed: int) -> list[ParameterSet]:
    """Different sets; all there are when there are fewer than asked for."""
    generator = np.random.default_rng(seed)
    size = _size(space)
    if size is not None and size <= 4 * count:
        sets = _grid(space, None)
        return [sets[index] for index in generator.permutation(len(sets))[:count]]
    return list(islice(_different(space, generator), count))


def _different(space: Mapping[str, Values], generator: np.random.Generator) -> Iterator[ParameterSet]:
    """Ends when a thousand draws in a row bring nothing new: a small open range is used up."""
    seen: set[str] = set()
    idle = 0
    while idle < 1000:
        drawn = {name: _drawn(values, generator) for name, values in space.items()}
        key = set_key(drawn)
        idle = idle + 1 if key in seen else 0
        if key not in seen:
            seen.add(key)
            yield drawn


def _drawn(values: Values, generator: np.random.Generator) -> Any:
    if not isinstance(values, Between):
        return values[int(generator.integers(len(values)))]
    if values.whole:
        return int(generator.integers(int(values.low), int(values.high), endpoint=True))
    return float(generator.uniform(values.low, values.high))


def _size(space: Mapping[str, Values]) -> int | None:
    """How many sets there are; None with an open range."""
    if any(isinstance(values, Between) for values in space.values()):
        return None
    return math.prod(len(values) for values in space.values() if not isinstance(values, Between))


class Tpe:
    """optuna's TPE, made repeatable: sets are drawn AHEAD of the answers, one more with each answer told, and answers
    are told in the order of the sets. However fast the workers are, the same seed gives the same sets (more than AHEAD
    workers draw further ahead)."""

    def __init__(self, space: Mapping[str, Values], trials: int, seed: int, workers: int) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.total = trials
        self._study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
        self._failed = optuna.trial.TrialState.FAIL
        self._space = space
        self._distributions = {name: _distribution(values) for name, values in space.items()}
        self._drawn: list[Any] = []
        self._given = 0
        self._heard: dict[int, float] = {}
        self._told = 0
        for _ in range(max(AHEAD, workers)):
            self._draw()

    def ask(self) -> ParameterSet | None:
        if self._given == len(self._drawn):
            return None
        trial = self._drawn[self._given]
        self._given += 1
        return {name: self._value(name, chosen) for name, chosen in trial.params.items()}

    def tell(self, number: int, value: float) -> None:
        self._heard[number] = value
        while self._told in self._heard:
            told, trial = self._heard.pop(self._told), self._drawn[self._told]
            finite = math.isfinite(told)
            self._study.tell(trial, told if finite else None, state=None if finite else self._failed)
            self._told += 1
            self._draw()

    def _draw(self) -> None:
        if len(self._drawn) < self.total:
            self._drawn.append(self._study.ask(self._distributions))

    def _value(self, name: str, chosen: Any) -> Any:
        values = self._space[name]
        return chosen if isinstance(values, Between) else values[chosen]


def _distribution(values: Values) -> Any:
    """Numbers in a row are an order that TPE can use, so their places are drawn; anything else is a choice."""
    from optuna import distributions

    if isinstance(values, Between):
        if values.whole:
            return distributions.IntDistribution(int(values.low), int(values.high))
        return distributions.FloatDistribution(values.low, values.high)
    if all(map(_is_number, values)) and list(values) == sorted(values):
        return distributions.IntDistribution(0, len(values) - 1)
    return distributions.CategoricalDistribution(range(len(values)))
