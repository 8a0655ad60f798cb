"""Features: what a model is shown of a contract's bars. One function of a window of bars, in training and live.

A `FeatureSet` looks at its last so many bars and nothing else, so a value is the same wherever reading began. Training
walks over columns (`table`), a strategy over bars as they come (`FeaturePipeline`): both hand the same window to the
same function, and get the same bits.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime as Time
from datetime import timedelta
from functools import cached_property
from math import isfinite, log, sqrt
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from arbig.domain.messages import SHANGHAI, BarData

Floats = NDArray[np.float64]

COLUMNS = ("open", "high", "low", "close", "volume", "open_interest")
MAX_AGE = timedelta(minutes=5)
PROBE_DIGITS = 10


class Features(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is asked with. `datetime`: the stamp of the newest bar in it, naive Shanghai. `fingerprint`: of the
    feature set that made it."""

    vt_symbol: str
    datetime: Time
    fingerprint: str
    names: tuple[str, ...]
    values: tuple[float, ...]


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """A model's answer, or the strategy's own fallback (`reason` then says why there is no answer). `trained_until`:
    the last moment that the model's training saw."""

    value: float
    model: str
    version: str = ""
    reason: str = ""
    trained_until: Time | None = None

    @property
    def is_fallback(self) -> bool:
        return bool(self.reason)


class Question(msgspec.Struct, frozen=True):
    """What a model server is asked; it answers with a `Prediction`."""

    model: str
    features: Features


class FeatureError(ValueError):
    """Features that no model can be asked with. One line."""


class Predictor(Protocol):
    """Whoever answers for models by name, in this process."""

    def answer(self, model: str, features: Features) -> Prediction:
        """Raises FeatureError for features that are not this model's."""


@dataclass(frozen=True)
class Window:
    """The last bars of a contract, oldest first; `moment` is the newest one's stamp, naive Shanghai."""

    columns: Floats
    moment: Time

    def __getattr__(self, name: str) -> Floats:
        if name not in COLUMNS:
            raise AttributeError(f"a window has no {name!r}, it has {', '.join(COLUMNS)}")
        row: Floats = self.columns[COLUMNS.index(name)]
        return row


@dataclass(frozen=True)
class FeatureSet:
    """`function` makes one value for each of `names` out of the last `bars` bars. It must be pure."""

    name: str
    names: tuple[str, ...]
    bars: int
    function: Callable[[Window], Sequence[float]]

    def values(self, window: Window) -> tuple[float, ...]:
        values = tuple(float(one) for one in self.function(window))
        if len(values) != len(self.names):
            raise FeatureError(f"feature set {self.name}: found {len(values)} values, expected {len(self.names)}")
        return values

    @cached_property
    def fingerprint(self) -> str:
        """Of what the set computes, not of how it is written: its names, and its values on bars that never change, to
        ten digits."""
        shown = [[f"{value:.{PROBE_DIGITS}g}" for value in self.values(window)] for window in probe(self.bars)]
        return hashlib.sha256(json.dumps([self.name, self.names, self.bars, shown]).encode()).hexdigest()[:16]


class FeaturePipeline:
    """One contract's bars in, its features out as soon as there are enough bars."""

    def __init__(self, features: FeatureSet | None = None) -> None:
        self.set = features or MINUTES
        self._rows: deque[tuple[float, ...]] = deque(maxlen=self.set.bars)
        self._last: BarData | None = None

    def on_bar(self, bar: BarData) -> Features | None:
        """None while there are too few bars, and for a bar that is not newer than the last."""
        last, self._last = self._last, bar
        if last is not None and (bar.vt_symbol != last.vt_symbol or bar.datetime <= last.datetime):
            self._last = last
            return None
        self._rows.append(
            (bar.open_price, bar.high_price, bar.low_price, bar.close_price, bar.volume, bar.open_interest)
        )
        if len(self._rows) < self.set.bars:
            return None
        moment = bar.datetime.astimezone(SHANGHAI).replace(tzinfo=None)
        columns = np.ascontiguousarray(np.array(self._rows, np.float64).T)
        return Features(
            vt_symbol=bar.vt_symbol,
            datetime=moment,
            fingerprint=self.set.fingerprint,
            names=self.set.names,
            values=self.set.values(Window(columns, moment)),
        )


def table(features: FeatureSet, columns: Floats, moments: Sequence[Time]) -> Floats:
    """A row of values for every bar from the `bars`-th on. `columns`: (len(COLUMNS), rows)."""
    width = features.bars
    rows = [
        features.values(Window(np.ascontiguousarray(columns[:, end - width : end]), moments[end - 1]))
        for end in range(width, columns.shape[1] + 1)
    ]
    return np.array(rows, np.float64).reshape(-1, len(features.names))


def refusal(features: Features, now: Time | None, max_age: timedelta = MAX_AGE) -> str | None:
    """Why no model is asked with these features at that moment (naive Shanghai), None when one is."""
    if len(features.values) != len(features.names):
        return f"found {len(features.values)} values for {len(features.names)} features"
    bad = next((name for name, value in zip(features.names, features.values, strict=True) if not isfinite(value)), None)
    if bad is not None:
        return f"feature {bad} is no finite number"
    if now is None:
        return None
    age = now - features.datetime
    if age > max_age:
        return (
            f"stale features: of {features.datetime:%Y-%m-%d %H:%M}, it is {now:%Y-%m-%d %H:%M}, "
            f"allowed are {max_age.total_seconds():g} s"
        )
    if age < timedelta():
        return f"features of {features.datetime:%Y-%m-%d %H:%M}, but it is only {now:%Y-%m-%d %H:%M}"
    return None


def mismatch(features: Features, names: Sequence[str], fingerprint: str) -> str | None:
    """Why these are not the features a model was trained with, None when they are."""
    if tuple(features.names) != tuple(names):
        missing = [name for name in names if name not in features.names]
        surplus = [name for name in features.names if name not in names]
        said = "; ".join(
            [
                *([f"missing {', '.join(missing)}"] if missing else []),
                *([f"not known {', '.join(surplus)}"] if surplus else []),
            ]
        )
        return f"other features than the model's: {said or 'in another order'}"
    if features.fingerprint != fingerprint:
        return f"features computed in another way than the model's: {features.fingerprint}, expected {fingerprint}"
    return None


def probe(bars: int, count: int = 5) -> list[Window]:
    """Windows of bars that are the same everywhere and always (a small congruential sequence)."""
    state, level, rows = 20250901, 600.0, []
    for _ in range(bars + count * 7):
        steps = []
        for _ in range(5):
            state = (state * 1103515245 + 12345) % 2**31
            steps.append(state / 2**31)
        opened, level = level, level + round((steps[0] - 0.5) * 1.2, 2)
        high = max(opened, level) + round(steps[1] * 0.4, 2)
        low = min(opened, level) - round(steps[2] * 0.4, 2)
        rows.append((opened, high, low, level, float(int(steps[3] * 500)), 150000.0 + int(steps[4] * 900)))
    columns = np.array(rows, np.float64).T
    first = Time(2025, 9, 1, 9, 0)
    return [
        Window(np.ascontiguousarray(columns[:, end - bars : end]), first + timedelta(minutes=end))
        for end in range(bars + 7, bars + count * 7 + 1, 7)
    ]


# ---- the house's own set --------------------------------------------------------------------------------------------


def _minutes(window: Window) -> list[float]:
    """Returns and ranges in basis points, activity against its own hour, the time of day."""
    close, volume, held = window.close, window.volume, window.open_interest
    last = float(close[-1])
    moves = np.diff(close)
    high, low = float(window.high.max()), float(window.low.min())
    minute = window.moment.hour * 60 + window.moment.minute
    mean_volume = float(volume.mean())
    ups = float(moves[moves > 0].sum())
    path = float(np.abs(moves).sum())
    return [
        *(_points(last, float(close[-1 - back])) for back in (1, 5, 15, 60)),
        *(sqrt(float((moves[-back:] ** 2).mean())) / last * 1e4 if last else 0.0 for back in (15, 60)),
        (last - low) / (high - low) if high > low else 0.5,
        ups / path if path else 0.5,
        float(volume[-5:].mean()) / mean_volume if mean_volume else 1.0,
        float(volume[-1]) / mean_volume if mean_volume else 1.0,
        (float(held[-1]) - float(held[-16])) / float(held[-1]) * 1e4 if held[-1] else 0.0,
        (last - float(window.open[-1])) / last * 1e4 if last else 0.0,
        minute / 1440,
    ]


def _points(price: float, before: float) -> float:
    return log(price / before) * 1e4 if price > 0 and before > 0 else 0.0


MINUTES = FeatureSet(
    name="minutes",
    names=(
        *("return_1", "return_5", "return_15", "return_60"),
        *("volatility_15", "volatility_60", "place_in_range", "strength", "volume_5", "volume_1"),
        *("open_interest_15", "body", "time_of_day"),
    ),
    bars=61,
    function=_minutes,
)
FEATURE_SETS = {MINUTES.name: MINUTES}
