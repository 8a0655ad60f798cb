"""Shortcuts: what a strategy says to its engine goes straight there, where the template would only pass it on.

A strategy that has words of its own keeps them, and one behind a recorder (the look-ahead proof) is heard by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from arbig.domain.messages import Direction, Offset
from arbig.domain.template import CLOSE, LONG, OPEN, SHORT, CtaTemplate

Word = Callable[..., list[str]]
"""`buy`, `sell`, `short` or `cover` of a strategy."""

WISHES = {"buy": (LONG, OPEN), "sell": (SHORT, CLOSE), "short": (SHORT, OPEN), "cover": (LONG, CLOSE)}


def shorten(
    strategy: CtaTemplate, engine: Any, word: Callable[[Direction, Offset], Word], cancel_all: Callable[[], None]
) -> None:
    """`word(direction, offset)` makes what trades that way; the engine shows nobody a strategy's variables."""
    kind = type(strategy)
    if kind.put_event is CtaTemplate.put_event:
        strategy.put_event = _nothing  # type: ignore[method-assign]
    if strategy.cta_engine is not engine:
        return
    if kind.send_order is CtaTemplate.send_order:
        for name, (direction, offset) in WISHES.items():
            if getattr(kind, name) is getattr(CtaTemplate, name):
                setattr(strategy, name, word(direction, offset))
    if kind.cancel_all is CtaTemplate.cancel_all:
        strategy.cancel_all = cancel_all  # type: ignore[method-assign]


def _nothing() -> None:
    """Nobody watches."""
