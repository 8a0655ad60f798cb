"""What a strategy can say to vnpy's classes it can say to ours, word for word."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import arbig
from arbig.compat import vnpy
from arbig.compat.rewriting import ATTRIBUTES, INSTEAD

Real = Callable[[str], ModuleType]
TEMPLATE, OBJECT, UTILITY = "vnpy_ctastrategy.template", "vnpy.trader.object", "vnpy.trader.utility"


def words(kind: type) -> dict[str, tuple[str, ...]]:
    """Public methods with the names of what they take, properties without."""
    found = {}
    for name, value in inspect.getmembers(kind):
        if inspect.isfunction(value) and (name == "__init__" or not name.startswith("_")):
            found[name] = tuple(inspect.signature(value).parameters)
    return found


@pytest.mark.parametrize("name", ["CtaTemplate", "TargetPosTemplate", "CtaSignal"])
def test_templates_have_vnpys_methods_with_vnpys_parameters(real: Real, name: str) -> None:
    theirs, ours = words(getattr(real(TEMPLATE), name)), words(getattr(vnpy, name))
    assert {method: ours.get(method) for method in theirs} == theirs


def test_the_array_manager_has_vnpys_indicators_with_vnpys_parameters(real: Real) -> None:
    theirs, ours = words(real(UTILITY).ArrayManager), words(vnpy.ArrayManager)
    assert {method: ours.get(method) for method in theirs} == theirs
    properties = {name for name, _ in inspect.getmembers(real(UTILITY).ArrayManager, lambda v: isinstance(v, property))}
    assert [name for name in properties if not hasattr(vnpy.ArrayManager(2), name)] == []


def test_the_bar_generator_takes_what_vnpys_takes(real: Real) -> None:
    """How it counts is its own affair."""
    theirs, ours = words(real(UTILITY).BarGenerator), words(vnpy.BarGenerator)
    for method in ("__init__", "update_tick", "update_bar", "generate"):
        assert ours[method] == theirs[method]


@pytest.mark.parametrize("name", ["BarData", "TickData", "OrderData", "TradeData"])
def test_messages_have_vnpys_attributes(real: Real, name: str) -> None:
    """Deeper quotes are refused where they are read; what else is not here nobody reads in a strategy."""
    theirs = {field.name for field in fields(getattr(real(OBJECT), name))} | {"vt_symbol"}
    theirs |= {"vt_orderid"} if name in ("OrderData", "TradeData") else set()
    ours = set(dir(getattr(arbig, name)))
    assert {one for one in theirs - ours if one not in ATTRIBUTES} <= {"extra", "name", "localtime", "reference"}


def test_a_stop_order_has_vnpys_fields(real: Real) -> None:
    theirs = {field.name for field in fields(real("vnpy_ctastrategy.base").StopOrder)}
    assert theirs <= set(vnpy.StopOrder.__struct_fields__)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("vnpy.trader.constant", "Direction"),
        ("vnpy.trader.constant", "Offset"),
        ("vnpy.trader.constant", "Status"),
        ("vnpy.trader.constant", "Interval"),
        ("vnpy_ctastrategy.base", "EngineType"),
        ("vnpy_ctastrategy.base", "StopOrderStatus"),
    ],
)
def test_constants_have_vnpys_members(real: Real, module: str, name: str) -> None:
    """But those that no futures strategy meets."""
    missing = set(getattr(real(module), name).__members__) - set(getattr(vnpy, name).__members__)
    assert missing <= {"NET", "NONE", "TICK", "WEEKLY"}


def test_every_name_of_vnpys_strategy_package_is_here_or_has_an_answer(real: Real) -> None:
    apps = {"CtaStrategyApp"}
    assert {name for name in real("vnpy_ctastrategy").__all__ if name not in (*vnpy.__all__, *INSTEAD)} <= apps


@settings(deadline=None)
@given(
    st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 4)),
    st.sampled_from([0.02, 0.05, 0.2, 0.5, 1.0, 5.0, 10.0, 0.005]),
)
def test_prices_are_rounded_as_vnpy_does(real: Real, value: float, step: float) -> None:
    theirs: Any = real(UTILITY)
    for name in ("round_to", "floor_to", "ceil_to"):
        assert getattr(vnpy, name)(value, step) == getattr(theirs, name)(value, step)
    assert vnpy.get_digits(step) == theirs.get_digits(step)
