"""TA-Lib without pandas. Its package imports pandas to accept Series, which takes longer than everything else that a
strategy's process does at its start. Here pandas is looked for when a value is examined: a strategy that imports it
can still hand Series and DataFrames to TA-Lib.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class Later(type):
    """A class of pandas by name: an instance check and a call go to the real one, if it has been imported."""

    def __instancecheck__(cls, value: object) -> bool:
        pandas = sys.modules.get("pandas")
        return pandas is not None and isinstance(value, getattr(pandas, cls.__name__))

    def __call__(cls, *args: Any, **named: Any) -> Any:
        return getattr(sys.modules["pandas"], cls.__name__)(*args, **named)


def import_talib() -> None:
    """Import TA-Lib now, pandas only when somebody else does."""
    if "pandas" in sys.modules or "talib" in sys.modules:
        return
    stand_in = ModuleType("pandas")
    for name in ("Series", "DataFrame"):
        setattr(stand_in, name, Later(name, (), {}))
    sys.modules["pandas"] = stand_in
    try:
        import talib  # noqa: F401
    finally:
        del sys.modules["pandas"]
