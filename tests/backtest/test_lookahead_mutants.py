"""Mutants: clean strategies turned into peeking ones by one small change, as a tired hand would make it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import short_market
from follower import Follower
from hypothesis import HealthCheck, given, settings

from arbig import BarData
from arbig.backtest import engine
from arbig.backtest.lookahead import check
from arbig.backtest.plan import Plan
from arbig.lab.signals import with_signals

Feature = Callable[[pd.Series, int, bool], pd.Series]

FEATURES: dict[str, Feature] = {
    "mean": lambda close, window, centre: close.rolling(window, center=centre).mean(),
    "median": lambda close, window, centre: close.rolling(window, center=centre).median(),
    "middle": lambda close, window, centre: _middle(close.rolling(window, center=centre)),
    "exponential": lambda close, window, centre: (
        close.ewm(span=window, adjust=False).mean().shift(-window if centre else 0)
    ),
    "lagged": lambda close, window, centre: close.shift(-window if centre else window),
    "expanding": lambda close, window, centre: (close[::-1] if centre else close).expanding(window).mean().sort_index(),
}


def _middle(rolling: Any) -> pd.Series:
    middle: pd.Series = (rolling.max() + rolling.min()) / 2
    return middle


def _back_filled(wanted: pd.Series, ahead: int) -> pd.Series:
    return wanted.where(np.arange(len(wanted)) % (ahead + 1) == ahead).bfill()


MUTATIONS: dict[str, Callable[[pd.Series, int], pd.Series]] = {
    "none": lambda wanted, ahead: wanted,
    "centre": lambda wanted, ahead: wanted,
    "index": lambda wanted, ahead: wanted,
    "shift": lambda wanted, ahead: wanted.shift(-ahead),
    "score": lambda wanted, ahead: (wanted - wanted.mean()) / wanted.std(),
    "rank": lambda wanted, ahead: wanted.rank(pct=True) - 0.5,
    "fill": _back_filled,
    "smooth": lambda wanted, ahead: wanted[::-1].ewm(span=ahead + 1).mean()[::-1],
}


class Mutant(Follower):
    """Follows a feature of the close; `mutation` says how it peeks, `ahead` how far."""

    feature, window, mutation, ahead = "mean", 20, "none", 1
    parameters = ["feature", "window", "mutation", "ahead", "signals"]

    @staticmethod
    def prepare(frame: pd.DataFrame, params: dict[str, Any]) -> pd.DataFrame:
        close, mutation = frame["close"], params["mutation"]
        wanted = close - FEATURES[params["feature"]](close, params["window"], mutation == "centre")
        return pd.DataFrame({"wanted": MUTATIONS[mutation](wanted, params["ahead"])}, index=frame.index)

    def wanted(self, bar: BarData) -> float:
        rows = self.ahead if self.mutation == "index" else 0
        row = self.signals.at(bar.datetime + timedelta(minutes=rows))
        return 0.0 if row is None or np.isnan(row.wanted) else row.wanted


def orders(plan: Plan) -> list[tuple[Any, ...]]:
    """Times, sides and prices of everything sent."""
    sent = engine.run(plan).orders
    return [(one.datetime, one.direction, one.offset, one.price, one.volume) for one in sent]


def test_mutants_are_caught_when_they_change_an_order(capsys: pytest.CaptureFixture[str]) -> None:
    """The catch rate is printed; a mutant whose orders are those of its clean parent is counted apart."""
    tally: Counter[str] = Counter()
    alive: list[dict[str, Any]] = []

    @settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(
        feature=st.sampled_from(sorted(FEATURES)),
        window=st.integers(5, 60),
        mutation=st.sampled_from(sorted(set(MUTATIONS) - {"none"})),
        ahead=st.integers(1, 8),
        seed=st.integers(1, 3),
    )
    def mutate(seed: int, **spec: Any) -> None:
        mutant = with_signals(short_market.plan(Mutant, seed=seed, **spec))
        parent = with_signals(short_market.plan(Mutant, seed=seed, **spec | {"mutation": "none"}))
        tally["made"] += 1
        if orders(mutant) == orders(parent):
            tally["equal"] += 1
        elif check(mutant, 6, seed).findings:
            tally["caught"] += 1
        else:
            alive.append(spec)

    mutate()
    counted = tally["made"] - tally["equal"]
    with capsys.disabled():
        print(
            f"\nlook-ahead mutants: {tally['made']} made, {tally['equal']} change no order, "
            f"{tally['caught']} of {counted} caught ({tally['caught'] / counted:.0%})"
        )
    assert counted >= 40
    assert alive == []


@pytest.mark.parametrize("feature", sorted(FEATURES))
def test_their_parents_are_clean(feature: str) -> None:
    """What is caught is the mutation."""
    report = check(with_signals(short_market.plan(Mutant, feature=feature)), 3)
    assert report.verdict == "clean"
