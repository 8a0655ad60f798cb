"""Queries: one at a time, never closer together than the counter allows, asked again when it says that it is not ready.

CTP takes one query a second and has one in flight. A call that the library itself turns down (-2, -3) or that the
counter answers with 90 or 154 is asked again; a lost connection fails every question at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from arbig.gateway.ctp.translate import Raw, error_id_of, words_of
from arbig.gateway.port import NotConnected
from arbig.runtime.clock import Clock

T = TypeVar("T")
SPACING = 1.05
"""Wall seconds between two queries, unless the front allows more."""
NOT_READY = frozenset({90, 154})
BUSY = frozenset({-2, -3})
TOO_FAST = -3
WIDEST = 4 * SPACING
"""A front that says less than it takes is asked ever more seldom, until the next log-in."""
ANSWER_WITHIN = 30.0


class QueryRefused(Exception):
    """The counter refuses a query for a reason that does not pass."""

    def __init__(self, name: str, error: Raw) -> None:
        super().__init__(f"{name}: {error_id_of(error)}, {words_of(error)}")
        self.error_id = error_id_of(error)


class _Again(Exception):
    """Not now."""


class QueryQueue:
    """`numbers` are the request ids of the connection, shared with everything else that is asked."""

    def __init__(self, clock: Clock, numbers: Iterable[int]) -> None:
        self._clock = clock
        self._numbers = iter(numbers)
        self._turn = asyncio.Lock()
        self._last = float("-inf")
        self._in_flight: _Question[Any] | None = None
        self._lost: asyncio.Future[str] | None = None
        self.spacing = SPACING
        self.asked = 0
        self.asked_again = 0

    def allow(self, per_second: float) -> None:
        """What `GetFrontInfo` says about this front; nothing, when it says nothing."""
        self.spacing = min(1.05 / per_second, SPACING) if per_second >= 1 else SPACING

    @property
    def is_busy(self) -> bool:
        """Somebody asks, or waits to."""
        return self._turn.locked()

    async def ask(
        self,
        name: str,
        send: Callable[[int], int],
        finish: Callable[[Sequence[Raw]], T],
        on_turn: Callable[[], None] = lambda: None,
    ) -> T:
        """`send(request id)` is the call; `finish(rows)` runs at the very moment the last row is heard, so that its
        answer has its place among the facts; `on_turn` when it is about to go out. Raises NotConnected, QueryRefused.
        """
        lost = self._lost_future()
        async with self._turn:
            while True:
                await self._wait_for_the_gap(lost)
                on_turn()
                try:
                    return await self._once(name, send, finish, lost)
                except _Again:
                    self.asked_again += 1

    async def _wait_for_the_gap(self, lost: asyncio.Future[str]) -> None:
        while (gap := self._last + self.spacing - self._clock.monotonic()) > 0:
            await self._clock.sleep(gap)
        if lost.done():
            raise NotConnected(lost.result())

    async def _once(
        self,
        name: str,
        send: Callable[[int], int],
        finish: Callable[[Sequence[Raw]], T],
        lost: asyncio.Future[str],
    ) -> T:
        number = next(self._numbers)
        question: _Question[T] = _Question(number, name, finish)
        self._in_flight = question
        self._last = self._clock.monotonic()
        self.asked += 1
        try:
            code = send(number)
            if code == TOO_FAST:
                self.spacing = min(2 * self.spacing, WIDEST)
            if code in BUSY:
                raise _Again
            if code:
                raise NotConnected(f"{name}: the library answers {code}")
            both: set[asyncio.Future[Any]] = {question.answer, lost}
            await asyncio.wait(both, timeout=ANSWER_WITHIN, return_when=asyncio.FIRST_COMPLETED)
            if question.answer.done():
                return question.answer.result()
            if lost.done():
                raise NotConnected(lost.result())
            raise _Again
        finally:
            self._in_flight = None
            question.answer.cancel()

    def hear(self, data: Raw, error: Raw, number: int, last: bool) -> bool:
        """A row of an answer. False when nobody asked."""
        question = self._in_flight
        if question is None or question.number != number or question.answer.done():
            return False
        question.hear(data, error, last)
        return True

    def lose(self, reason: str) -> None:
        """The connection is gone: nothing that was asked will be answered."""
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(reason)
        self._lost = None

    def _lost_future(self) -> asyncio.Future[str]:
        if self._lost is None:
            self._lost = asyncio.get_running_loop().create_future()
        return self._lost


class _Question(Generic[T]):
    """One query in flight and the rows heard so far."""

    def __init__(self, number: int, name: str, finish: Callable[[Sequence[Raw]], T]) -> None:
        self.number = number
        self.answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._name = name
        self._finish = finish
        self._rows: list[Raw] = []

    def hear(self, data: Raw, error: Raw, last: bool) -> None:
        wrong = error_id_of(error)
        if wrong:
            self.answer.set_exception(_Again() if wrong in NOT_READY else QueryRefused(self._name, error))
            return
        if data:
            self._rows.append(data)
        if last:
            try:
                self.answer.set_result(self._finish(self._rows))
            except Exception as broken:
                self.answer.set_exception(broken)
                raise
