"""Reach: data that a strategy got past its plan. Cutting and scrambling cannot change it, so it must be found."""

from __future__ import annotations

import sys
import threading
import types
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date
from datetime import datetime as Time
from functools import _lru_cache_wrapper
from numbers import Number
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arbig.backtest.plan import StrategyPlan
from arbig.backtest.series import Series
from arbig.backtest.signals import Signals

FEW = 3  # a label at the end of a running window is no look ahead
DEPTH = 6
LARGE = 1000
LIKENESS = 0.02
DATA_FILES = frozenset(
    {".arrow", ".csv", ".db", ".feather", ".gz", ".h5", ".hdf", ".hdf5", ".joblib", ".json", ".npy", ".npz"}
    | {".parquet", ".pickle", ".pkl", ".sqlite", ".sqlite3", ".txt", ".xls", ".xlsx", ".zip"}
)
ENGINE = frozenset({"cta_engine", "strategy_engine"})
INSTALLED = (sys.prefix, sys.base_prefix)
OURS = ("arbig.backtest", "arbig.domain", "arbig.compat")


def beyond(strategy: Any, plan: StrategyPlan, moment: Time, lengths: frozenset[int], seen: int) -> Iterator[str]:
    """What the strategy, its class, its file or its `prepare` hold of the time after `moment`, one sentence each, when
    it ran on data that ended there. `lengths`: rows of the whole series; `seen`: rows of the one that ended."""
    for name, value in _holdings(strategy, plan):
        later = int((_moments(value) > np.datetime64(moment)).sum())
        if later >= FEW:
            yield f"{name} holds {later} values of the time after the cut at {moment:%Y-%m-%d %H:%M}"
        elif _size(value) > seen and any(abs(_size(value) - length) <= LIKENESS * length for length in lengths):
            yield f"{name} holds {_size(value)} values, as many as the whole history has rows, where {seen} were over"


def memory(plan: StrategyPlan) -> dict[str, object]:
    """What the class and its file keep beyond a run, comparable."""
    visited: set[int] = set()
    return {
        name: _print(value) for root, held in _lasting(plan.kind) for name, value in _inside(root, held, DEPTH, visited)
    }


def forget(plan: StrategyPlan) -> None:
    """Empty the caches of the user's functions (`functools.cache`), so that each run works out its own values."""
    visited: set[int] = set()
    roots = [*_lasting(plan.kind), ("prepare", plan.prepare)]
    for _, value in (found for name, held in roots for found in _inside(name, held, DEPTH, visited)):
        if isinstance(value, _lru_cache_wrapper):
            value.cache_clear()


@contextmanager
def readings(found: list[str]) -> Iterator[None]:
    """Every file of data opened for reading, every database and connection, while the block runs; not what the threads
    do that ran before it (a notebook's own line to the house)."""
    _install()
    others = frozenset(one.ident for one in threading.enumerate()) - {threading.get_ident()}
    listener = found, others
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


_listeners: list[tuple[list[str], frozenset[int | None]]] = []
_installed: list[bool] = []


def _install() -> None:
    """Python's audit hooks cannot be taken away again; ours is one comparison when nobody listens."""
    if not _installed:
        _installed.append(True)
        sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if not _listeners:
        return
    if event == "open" and _is_data(arguments[0], arguments[1]):
        sentence = f"it reads the file {PurePath(str(arguments[0])).name}"
    elif event == "sqlite3.connect":
        sentence = f"it reads the database {PurePath(str(arguments[0])).name}"
    elif event == "socket.connect":
        sentence = f"it asks {arguments[1]}"
    else:
        return
    for found, others in _listeners:
        if sentence not in found and threading.get_ident() not in others:
            found.append(sentence)


def _is_data(path: object, mode: object) -> bool:
    reading = not isinstance(mode, str) or "r" in mode
    name = str(path)
    return reading and PurePath(name).suffix.lower() in DATA_FILES and not name.startswith(INSTALLED)


def _holdings(strategy: Any, plan: StrategyPlan) -> Iterator[tuple[str, Any]]:
    visited: set[int] = set()
    for name, value in vars(strategy).items():
        if name not in ENGINE:
            yield from _inside(f"self.{name}", value, DEPTH, visited)
    for name, value in _lasting(plan.kind):
        yield from _inside(name, value, DEPTH, visited)
    if plan.prepare is not None:
        yield from _inside("prepare", plan.prepare, DEPTH, visited)


def _lasting(kind: type) -> Iterator[tuple[str, Any]]:
    """Attributes of the class and of those it was made from, and what their functions use of their files."""
    for one in kind.__mro__:
        if one.__module__.startswith("arbig.") or one.__module__ in ("builtins", "abc", "typing"):
            continue
        for name, value in vars(one).items():
            yield f"{one.__name__}.{name}", value


def _inside(name: str, value: Any, depth: int, visited: set[int]) -> Iterator[tuple[str, Any]]:
    """The value and what it holds: containers, functions' surroundings, objects of the user's own classes."""
    is_plain = isinstance(value, (str, bytes, Number, types.ModuleType, type, type(None)))
    if not is_plain and id(value) in visited:
        return
    yield name, value
    if is_plain or depth == 0:
        return
    visited.add(id(value))
    for part, held in _parts(value):
        yield from _inside(f"{name}{part}", held, depth - 1, visited)


def _parts(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, (staticmethod, classmethod, types.MethodType)):
        yield "", value.__func__
    elif isinstance(value, types.FunctionType):
        if not _is_installed(sys.modules.get(value.__module__)):
            yield from ((f" uses {name}", held) for name, held in _surroundings(value))
    elif isinstance(value, Mapping):
        if len(value) <= LARGE:
            yield from ((f"[{key!r}]", held) for key, held in list(value.items()))
    elif isinstance(value, (list, tuple, set, frozenset, deque)):
        if len(value) <= LARGE:
            yield from ((f"[{index}]", held) for index, held in enumerate(list(value)))
    elif hasattr(value, "__dict__") and not _is_of_a_library(value):
        yield from ((f".{name}", held) for name, held in list(vars(value).items()) if name not in ENGINE)


def _surroundings(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    """Globals and outer variables that a function names, and its defaults; of the user's own modules what it names."""
    names = _names(function.__code__)
    for name in sorted(names & function.__globals__.keys()):
        value = function.__globals__[name]
        if not isinstance(value, types.ModuleType):
            yield name, value
        elif not _is_installed(value):
            yield from ((f"{name}.{held}", vars(value)[held]) for held in sorted(names & vars(value).keys()))
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # a variable that has no value yet
            yield name, cell.cell_contents
    yield from (
        ("a default", held) for held in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
    )


def _names(code: types.CodeType) -> set[str]:
    inner = (one for one in code.co_consts if isinstance(one, types.CodeType))
    return set(code.co_names).union(*(_names(one) for one in inner))


def _is_installed(module: types.ModuleType | None) -> bool:
    """Python's own, a package's, or ours: not the user's."""
    file = getattr(module, "__file__", None)
    if module is None or module.__name__ == "__main__":
        return False
    return file is None or module.__name__.startswith("arbig.") or str(file).startswith(INSTALLED)


def _is_of_a_library(value: Any) -> bool:
    module = type(value).__module__
    return module.startswith(OURS) or module.partition(".")[0] in ("numpy", "pandas", "talib", "logging", "numba")


NONE: NDArray[np.datetime64] = np.array([], "datetime64[us]")


def _moments(value: Any) -> NDArray[np.datetime64]:
    """The moments a value is stamped with."""
    if isinstance(value, Series):
        return value.datetime
    if isinstance(value, Signals):
        return np.array(value.moments, "datetime64[us]")
    if isinstance(value, np.ndarray):
        return value.ravel() if value.dtype.kind == "M" else NONE
    if isinstance(value, Mapping):
        values = value.values()
        return _stamps(value) if all(isinstance(one, (Number, tuple, list)) for one in values) else NONE
    if isinstance(value, (list, tuple, deque)):
        return _stamps([getattr(one, "datetime", one) for one in value])
    index = getattr(value, "index", None)
    if index is not None and not callable(index):
        return _indexed(value, index)
    return NONE


def _indexed(table: Any, index: Any) -> NDArray[np.datetime64]:
    """Of a pandas object: its index, or the first of its columns that holds moments."""
    columns = [index, *(table[name] for name in getattr(table, "columns", ()))]
    for column in columns:
        kind = getattr(getattr(column, "dtype", None), "kind", "")
        if kind == "M":
            naive = column.tz_localize(None) if getattr(getattr(column, "dt", column), "tz", None) else column
            return np.asarray(naive.to_numpy(), "datetime64[us]")
    return NONE


def _stamps(values: Any) -> NDArray[np.datetime64]:
    """A calendar's bare days are no data, moments and days with a value are."""
    stamps = [one for one in values if isinstance(one, Time if not isinstance(values, Mapping) else date)]
    naive = [one.replace(tzinfo=None) if isinstance(one, Time) else one for one in stamps]
    return np.array(naive, "datetime64[us]")


def _size(value: Any) -> int:
    """How many numbers stand in a row, 0 for what is no row of numbers."""
    if isinstance(value, np.ndarray):
        return max(value.shape, default=0) if value.dtype.kind in "fiub" else 0
    if isinstance(value, (list, tuple)):
        return len(value) if value and isinstance(value[0], Number) else 0
    if type(value).__module__.startswith("pandas.") and hasattr(value, "__len__"):
        return len(value)
    return 0


def _print(value: Any) -> object:
    """A fingerprint: numbers and words themselves, of the rest which object it is and how large."""
    if isinstance(value, (int, float, str, bool, type(None))):
        return value
    size = len(value) if isinstance(value, (list, dict, set, deque)) else 0
    return (id(value), size)
