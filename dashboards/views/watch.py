"""Watch: what the console asks over HTTP while somebody looks at it, once for all browsers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any

from views.board import Board

from arbig.client.client import ClientError
from arbig.runtime.clock import WallClock


class Watch:
    """The newest answers. Nothing is asked that no page has looked at."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._clock = WallClock()
        self._asked: dict[str, float] = {}
        self._heard: dict[str, float] = {}
        self._asking: set[str] = set()
        self.answers: dict[str, Any] = {}
        self.errors: dict[str, ClientError] = {}
        self.revisions: Counter[str] = Counter()

    def look(self, name: str, question: Callable[[], Awaitable[Any]], seconds: float) -> Any:
        """The last answer, None before the first; asked again when it is older than `seconds`."""
        now = self._clock.monotonic()
        if name not in self._asking and now - self._asked.get(name, -999.0) >= seconds:
            self._asked[name] = now
            self._asking.add(name)
            self._board.spawn(self._ask(name, question))
        return self.answers.get(name)

    def again(self, name: str) -> None:
        """Ask at the next look: something has just been done about it."""
        self._asked.pop(name, None)

    def ages(self) -> dict[str, float]:
        now = self._clock.monotonic()
        return {name: now - heard for name, heard in self._heard.items() if name in self._asked}

    async def _ask(self, name: str, question: Callable[[], Awaitable[Any]]) -> None:
        try:
            answer = await question()
        except ClientError as error:
            if str(self.errors.get(name)) != str(error):
                self.errors[name] = error
                self.revisions[name] += 1
        else:
            self._heard[name] = self._clock.monotonic()
            if self.errors.pop(name, None) is not None or self.answers.get(name) != answer:
                self.answers[name] = answer
                self.revisions[name] += 1
        finally:
            self._asking.discard(name)


@cache
def watch_of(board: Board) -> Watch:
    """One for the process."""
    return Watch(board)
