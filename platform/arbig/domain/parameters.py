"""Parameters: what the values of a strategy's parameters may be, said on the class itself.

    fast_window: Annotated[int, Range(2, 200)] = 10
    side: Annotated[str, OneOf("long", "short", "both")] = "both"

A parameter without such words may be anything of its default's type.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Range:
    """From `low` to `high`, both allowed; None: no end on that side."""

    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"Range({self.low:g}, {self.high:g}): the lower end is above the upper one; exchange them")

    def allows(self, value: Any) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    @property
    def words(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.low:g} or more" if self.high is None and self.low is not None else f"at most {self.high:g}"
        return f"{self.low:g} to {self.high:g}"

    def nearest(self, value: Any) -> Any:
        """The value to write instead."""
        end = self.low if self.low is not None and value < self.low else self.high
        return value if end is None else type(value)(end)


class OneOf:
    """One of these."""

    def __init__(self, *choices: Any) -> None:
        self.choices = choices

    def allows(self, value: Any) -> bool:
        return value in self.choices

    @property
    def words(self) -> str:
        return "one of " + ", ".join(map(repr, self.choices))

    def nearest(self, value: Any) -> Any:
        return self.choices[0]


Limit = Range | OneOf


def limits_of(kind: type) -> dict[str, Limit]:
    """What the class and its bases say of their parameters. An annotation that cannot be read says nothing."""
    found: dict[str, Limit] = {}
    for one in reversed(kind.__mro__):
        names = vars(sys.modules.get(one.__module__)) if one.__module__ in sys.modules else {}
        for name, said in vars(one).get("__annotations__", {}).items():
            limit = _limit(_read(said, {**names, **vars(one)}) if isinstance(said, str) else said)
            if limit is not None:
                found[name] = limit
            else:
                found.pop(name, None)
    return found


def type_of(kind: type, name: str) -> type | None:
    """The type that the class gives a parameter in its annotation."""
    for one in kind.__mro__:
        said = vars(one).get("__annotations__", {}).get(name)
        if said is None:
            continue
        names = vars(sys.modules[one.__module__]) if one.__module__ in sys.modules else {}
        found = _read(said, {**names, **vars(one)}) if isinstance(said, str) else said
        found = get_args(found)[0] if get_origin(found) is Annotated else found
        return found if isinstance(found, type) else None
    return None


def _read(said: str, names: dict[str, Any]) -> Any:
    """An annotation that `from __future__ import annotations` has made a text."""
    try:
        alone = type("Alone", (), {"__annotations__": {"it": said}})
        known = {"Annotated": Annotated, "Range": Range, "OneOf": OneOf, **names}
        return get_type_hints(alone, known, include_extras=True)["it"]
    except Exception:
        return None


def _limit(said: Any) -> Limit | None:
    if get_origin(said) is not Annotated:
        return None
    return next((word for word in get_args(said)[1:] if isinstance(word, Range | OneOf)), None)
