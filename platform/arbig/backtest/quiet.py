"""Quiet: what a strategy's code shows without being run: callbacks that do nothing, bars that only grow a window."""

from __future__ import annotations

import dis
from collections.abc import Callable
from itertools import chain
from types import CodeType, FunctionType
from typing import Any

from arbig.domain.feeds import Feed
from arbig.domain.template import BarGenerator, CtaTemplate


def is_silent(callback: Callable[..., None]) -> bool:
    """Whether a callback does nothing at all, so that it need not be called: its body is `pass`, a docstring, or
    `return`."""
    code = getattr(callback, "__code__", None)
    if code is None:
        return False
    steps = [step for step in dis.get_instructions(code) if step.opname not in ("RESUME", "NOP")]
    return all(step.opname in ("LOAD_CONST", "RETURN_VALUE", "RETURN_CONST") for step in steps) and len(steps) <= 2


class Collecting:
    """A strategy whose `on_bar` is nothing but `self.NAME.update_bar(bar)`, once or several times: between two bars
    that make a longer one whole it would do nothing but count them."""

    def __init__(self, strategy: CtaTemplate) -> None:
        self._attributes = vars(strategy)
        self._generators: list[tuple[str, BarGenerator]] = []
        self.names = collectors(strategy)

    def spans(self, feed: Feed, start: int, stop: int) -> list[int] | None:
        """The last rows of the spans that [start, stop) falls into, each with a longer bar at its end (but for the
        last). None where the bars must be given one by one. A generator that waits for a feed's bars knows that all
        its numbers are finite."""
        found = [(name, self._attributes.get(name)) for name in self.names]
        if not found or start >= stop or not all(type(one) is BarGenerator for _, one in found):
            return None
        self._generators = found  # type: ignore[assignment]
        rows = [one.due(feed, start, stop) for _, one in self._generators]
        if not self.waits(start) or any(one is None for one in rows):
            return None
        return sorted({stop - 1, *chain.from_iterable(one for one in rows if one is not None)})

    def waits(self, row: int) -> bool:
        """Whether all is as it was when the spans were found: nothing but our generators waits for this row."""
        attributes = self._attributes
        if "on_bar" in attributes:
            return False
        for name, generator in self._generators:
            if attributes.get(name) is not generator or generator.expected != row or "update_bar" in vars(generator):
                return False
        return True

    def pass_over(self, row: int) -> None:
        """The rows before this one, at none of which a longer bar is whole, count as seen."""
        for _, generator in self._generators:
            generator.expected = row


def collectors(strategy: CtaTemplate) -> tuple[str, ...]:
    """The attributes that `on_bar` feeds, when it does nothing else."""
    kind = type(strategy)
    written = kind.on_bar
    if not isinstance(written, FunctionType) or kind.__getattribute__ is not object.__getattribute__:
        return ()
    code = written.__code__
    names = tuple(name for name in code.co_names if name != "update_bar")
    if any(name in vars(one) for one in kind.__mro__ for name in names) or not names:
        return ()
    return names if _shape(code) == _shape(_feeding(code, names)) else ()


def _shape(code: CodeType) -> tuple[Any, ...]:
    return (code.co_code, code.co_names, code.co_consts, code.co_varnames, code.co_argcount, code.co_kwonlyargcount,
            code.co_flags & ~FUTURE, code.co_freevars, code.co_cellvars, code.co_exceptiontable)  # fmt: skip


FUTURE = 0xFFFF0000
"""What `from __future__ import` leaves in a code's flags."""


def _feeding(code: CodeType, names: tuple[str, ...]) -> CodeType:
    """The code of a method with the same arguments that feeds these attributes and does nothing else."""
    arguments = code.co_varnames[: code.co_argcount]
    said = [repr(code.co_consts[0])] if code.co_consts and isinstance(code.co_consts[0], str) else []
    if len(arguments) != 2:
        return (lambda: None).__code__
    body = chain(said, (f"{arguments[0]}.{name}.update_bar({arguments[1]})" for name in names))
    text = "\n".join((f"def on_bar({', '.join(arguments)}):", *(f"    {line}" for line in body)))
    place: dict[str, Any] = {}
    exec(text, place)
    made: FunctionType = place["on_bar"]
    return made.__code__
