"""ArrayManager: every method gives vnpy's own value, for the same window."""

from __future__ import annotations

import inspect
import random
import sys
from datetime import datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbig.domain.arrays import ArrayManager
from arbig.domain.messages import SHANGHAI, BarData, Exchange

NINE = datetime(2025, 10, 9, 9, 0, tzinfo=SHANGHAI)

ARGUMENTS = {
    "n": 14,
    "nbdev": 2,
    "dev": 2.5,
    "fast_period": 5,
    "slow_period": 12,
    "signal_period": 4,
    "matype": 1,
    "time_period1": 5,
    "time_period2": 9,
    "time_period3": 17,
    "fastk_period": 7,
    "slowk_period": 3,
    "slowk_matype": 0,
    "slowd_period": 4,
    "slowd_matype": 1,
    "acceleration": 0.02,
    "maximum": 0.2,
}


@pytest.fixture(scope="module")
def vnpy_manager(tmp_path_factory):
    """vnpy's own class. Its module looks for a folder under the home directory and extends the import path."""
    patch = pytest.MonkeyPatch()
    patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    path = list(sys.path)
    try:
        from vnpy.trader.utility import ArrayManager as Theirs
    finally:
        sys.path[:] = path
        patch.undo()
    return Theirs


def bars(count, seed=1):
    walk = random.Random(seed)
    price = 800.0
    for i in range(count):
        price = max(1.0, price + walk.gauss(0, 1))
        low, high = price - walk.random(), price + walk.random()
        yield BarData(
            symbol="au2512",
            exchange=Exchange.SHFE,
            datetime=NINE + timedelta(minutes=i),
            interval="1m",
            open_price=walk.uniform(low, high),
            high_price=high,
            low_price=low,
            close_price=price,
            volume=walk.randrange(1, 500),
            open_interest=walk.randrange(1000, 2000),
            turnover=walk.uniform(1, 1e9),
        )


def filled(kind, count, size):
    manager = kind(size)
    for bar in bars(count):
        manager.update_bar(bar)
    return manager


METHODS = sorted(
    name
    for name, member in vars(ArrayManager).items()
    if callable(member) and not name.startswith("_") and name not in ("update_bar", "columns")
)


def arguments_of(manager, name):
    parameters = inspect.signature(getattr(manager, name)).parameters
    return {one: ARGUMENTS[one] for one in parameters if one != "array"}


def test_every_method_of_vnpys_manager_exists_with_its_parameters(vnpy_manager):
    theirs = {name for name, member in vars(vnpy_manager).items() if callable(member) and not name.startswith("_")}
    assert sorted(theirs - {"update_bar"}) == METHODS
    for name in METHODS:
        ours = inspect.signature(getattr(ArrayManager, name)).parameters
        expected = inspect.signature(getattr(vnpy_manager, name)).parameters
        assert [(one.name, one.default) for one in ours.values()] == [
            (one.name, one.default) for one in expected.values()
        ], name


@pytest.mark.parametrize("count", [40, 60, 250])
@pytest.mark.parametrize("name", METHODS)
def test_a_method_gives_vnpys_value_and_vnpys_array(vnpy_manager, name, count):
    """Before the window is full, just full, and long after."""
    ours, theirs = filled(ArrayManager, count, 60), filled(vnpy_manager, count, 60)
    given_arguments = arguments_of(ours, name)
    for array in (False, True):
        np.testing.assert_array_equal(
            getattr(ours, name)(**given_arguments, array=array), getattr(theirs, name)(**given_arguments, array=array)
        )


@pytest.mark.parametrize("name", ["open", "high", "low", "close", "volume", "turnover", "open_interest"])
def test_a_column_holds_the_same_window(vnpy_manager, name):
    ours, theirs = filled(ArrayManager, 130, 100), filled(vnpy_manager, 130, 100)
    np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    np.testing.assert_array_equal(getattr(ours, f"{name}_array"), getattr(theirs, f"{name}_array"))


@settings(max_examples=40, deadline=None)
@given(size=st.integers(2, 30), closes=st.lists(st.floats(1, 1e6), max_size=60))
def test_the_window_is_the_last_bars_padded_with_zeros(size, closes):
    manager = ArrayManager(size)
    for close in closes:
        bar = SimpleNamespace(
            open_price=close,
            high_price=close,
            low_price=close,
            close_price=close,
            volume=1,
            turnover=None,
            open_interest=0,
        )
        manager.update_bar(bar)
    assert list(manager.close) == ([0.0] * size + closes)[-size:]
    assert manager.inited is (len(closes) >= size)
    assert manager.count == len(closes)
