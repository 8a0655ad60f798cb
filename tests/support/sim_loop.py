"""A loop for whole-system simulation: virtual time, and a seed that decides which process runs next.

Every task and timer belongs to the life (one run of one process) in whose context it was made. Inside a life callbacks
run in their order, as in asyncio; between lives the seed chooses. A life ends between any two of its steps: whatever it
still had to do is never done.
"""

from __future__ import annotations

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from datetime import datetime, timedelta
from heapq import heappop
from random import Random
from typing import Any

MOST_FINALLY = 10


class Died(BaseException):
    """The process ends here, as if the power had failed."""


class Life:
    """One run of one process, from its start to its end."""

    def __init__(self, name: str, number: int = 0) -> None:
        self.name = name
        self.number = number
        self.alive = True
        self.stopped_until = 0.0
        self.fuse: int | None = None
        self.steps = 0
        self.queue: deque[events.Handle] = deque()
        self.tasks: list[asyncio.Task[Any]] = []
        self.context: Context = copy_context()
        self.context.run(_LIFE.set, self)
        self.at_end: list[Callable[[], None]] = []

    def __str__(self) -> str:
        return f"{self.name}#{self.number}"


_LIFE: ContextVar[Life] = ContextVar("life")


def current_life() -> Life:
    return _LIFE.get()


class SeededLoop(asyncio.BaseEventLoop):
    """`on_death` hears which life's fuse has burnt down; `on_error` what a callback raised."""

    def __init__(self, random: Random, start: datetime) -> None:
        super().__init__()
        self._random = random
        self._start = start
        self._now = 0.0
        self.world = Life("world")
        _LIFE.set(self.world)
        self.lives: list[Life] = [self.world]
        self.graves: list[Life] = []
        self.on_death: Callable[[Life], None] = lambda life: None
        self.on_error: Callable[[dict[str, Any]], None] = lambda context: None

    # ---- the clock the services are given ----

    def time(self) -> float:
        return self._now

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._now)

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0))

    # ---- lives ----

    def give_birth(self, name: str, number: int) -> Life:
        life = Life(name, number)
        self.lives.append(life)
        return life

    def bury(self, life: Life) -> None:
        """Nothing of it runs any more."""
        life.alive = False
        life.queue.clear()
        self.lives.remove(life)
        self.graves.append(life)
        for ended in life.at_end:
            ended()

    def run_in(self, life: Life, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self.create_task(coroutine, context=life.context.copy())

    def hold(self, life: Life, seconds: float) -> None:
        """SIGSTOP, and CONT after so many seconds."""
        life.stopped_until = self._now + seconds
        self.call_at(life.stopped_until, lambda: None, context=self.world.context)

    def clear_graves(self) -> None:
        """After the end: what lay still is unwound, so that nothing is left to the collector."""
        for task in [task for life in self.graves for task in life.tasks if not task.done()]:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            for _ in range(MOST_FINALLY):
                try:
                    task.get_coro().close()  # type: ignore[union-attr]
                    break
                except (RuntimeError, Died):  # it waits for something in a `finally`
                    continue

    # ---- asyncio's own doors ----

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = super().create_task(coro, **options)
        life = (options.get("context") or copy_context()).get(_LIFE, self.world)
        life.tasks.append(task)
        return task

    def _call_soon(self, callback: Any, args: Any, context: Context | None) -> events.Handle:
        handle = events.Handle(callback, args, self, context)
        self._queue(handle)
        return handle

    def _queue(self, handle: events.Handle) -> None:
        life = handle._context.get(_LIFE, self.world)  # type: ignore[attr-defined]
        if life.alive:
            life.queue.append(handle)

    def _run_once(self) -> None:
        self._step()

    def _step(self) -> None:
        now = self._now
        ready = [life for life in self.lives if life.queue and life.stopped_until <= now]
        if not ready:
            self._leap()
            return
        life = ready[0] if len(ready) == 1 else ready[int(self._random.random() * len(ready))]
        handle = life.queue.popleft()
        if handle._cancelled:  # type: ignore[attr-defined]
            return
        life.steps += 1
        if life.fuse is not None:
            life.fuse -= 1
            if life.fuse <= 0:
                self.on_death(life)
                return
        handle._run()

    def _leap(self) -> None:
        """Nobody has anything to do now: on to the next timer."""
        timers: list[Any] = self._scheduled  # type: ignore[attr-defined]
        while timers and timers[0]._cancelled:
            heappop(timers)
        if not timers:
            raise RuntimeError("nothing will ever happen again")
        due = timers[0]._when
        self._now = max(self._now, due)
        while timers and timers[0]._when <= due:
            handle = heappop(timers)
            handle._scheduled = False
            if not handle._cancelled:
                self._queue(handle)

    def _process_events(self, event_list: Any) -> None:
        """No sockets here."""

    def _write_to_self(self) -> None:
        """No other thread either."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), Died):
            self.on_error(context)
