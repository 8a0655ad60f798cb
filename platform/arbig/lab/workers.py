"""Workers: the local processes of a sweep. One that is killed is replaced, and its task is run again."""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from arbig.lab.jobs import Answer, Task
from arbig.lab.spaces import SweepError
from arbig.lab.stem import Stem, StemGone, stem

LIVES = 2


class Crew(Protocol):
    """Those who run tasks: local processes, or actors of a Ray cluster."""

    @property
    def free(self) -> int:
        """How many tasks can be given out at once."""

    def give(self, task: Task) -> None: ...

    def answers(self) -> Iterator[tuple[Task, Answer]]:
        """Waits for at least one answer. Raises SweepError when tasks cannot be run at all."""

    def close(self) -> None: ...


@dataclass
class _Worker:
    stem: Stem
    pid: int
    line: socket.socket
    task: Task | None = None
    ready: bool = False
    heard: bytes = b""


class LocalCrew:
    """`count` processes over the job in `folder`; each is started with its first task. What happened to them that a
    person should know is in `remarks`."""

    def __init__(self, folder: Path, count: int, paths: list[str]) -> None:
        self.remarks: list[str] = []
        self._folder = folder
        self._count = count
        self._paths = paths
        self._idle: list[_Worker] = []
        self._busy: dict[int, _Worker] = {}
        self._again: deque[Task] = deque()
        self._deaths: dict[str, int] = {}
        self._selector = selectors.DefaultSelector()

    @property
    def pids(self) -> list[int]:
        return [one.pid for one in (*self._idle, *self._busy.values())]

    @property
    def free(self) -> int:
        return self._count - len(self._busy) - len(self._again)

    def give(self, task: Task) -> None:
        worker = self._idle.pop() if self._idle else self._started()
        worker.task = task
        self._busy[worker.pid] = worker
        self._send(worker, msgspec.json.encode(task))

    def answers(self) -> Iterator[tuple[Task, Answer]]:
        while self._again:
            self.give(self._again.popleft())
        for key, _ in self._selector.select():
            yield from self._heard(key.data)

    def close(self) -> None:
        """Whatever they are doing, it ends now."""
        for worker in (*self._idle, *self._busy.values()):
            worker.stem.end(worker.pid)
            self._hang_up(worker)
        self._idle, self._busy = [], {}
        self._selector.close()

    def _started(self) -> _Worker:
        source = stem()
        try:
            worker = _Worker(source, *source.fork())
        except StemGone:
            raise SweepError(
                "the process that starts the workers has ended; is memory short? The same call goes on from here"
            ) from None
        self._selector.register(worker.line, selectors.EVENT_READ, worker)
        job = {"folder": str(self._folder.absolute()), "paths": self._paths, "here": os.getcwd()}
        self._send(worker, json.dumps({**job, "environment": dict(os.environ)}).encode())
        return worker

    def _send(self, worker: _Worker, line: bytes) -> None:
        try:
            worker.line.sendall(line + b"\n")
        except (BrokenPipeError, ConnectionResetError):
            return  # its end is heard on the same line

    def _heard(self, worker: _Worker) -> Iterator[tuple[Task, Answer]]:
        try:
            piece = worker.line.recv(1 << 20)
        except ConnectionResetError:
            piece = b""
        if not piece:
            yield from self._died(worker)
        *lines, worker.heard = (worker.heard + piece).split(b"\n")
        for line in lines:
            yield from self._answered(worker, json.loads(line))

    def _answered(self, worker: _Worker, words: dict[str, Any]) -> Iterator[tuple[Task, Answer]]:
        if "fatal" in words:
            raise SweepError(f"the workers cannot run the strategy: {words['fatal']}")
        if "ready" in words:
            worker.ready = True
            return
        task, worker.task = worker.task, None
        assert task is not None
        self._idle.append(self._busy.pop(worker.pid))
        yield task, words

    def _died(self, worker: _Worker) -> Iterator[tuple[Task, Answer]]:
        """A second death at the same task is the task's fault."""
        how = _end_of(worker.stem.awaited(worker.pid))
        self._hang_up(worker)
        task = worker.task
        if self._busy.pop(worker.pid, None) is None or task is None:
            self._idle.remove(worker)
            return
        if not worker.ready:
            raise SweepError(f"a worker ended before it could begin ({how}); try one backtest of this strategy alone")
        deaths = self._deaths[task.key] = self._deaths.get(task.key, 0) + 1
        if deaths < LIVES:
            self.remarks.append(f"worker {worker.pid} {how}: its set {task.params} is run again")
            self._again.append(task)
        else:
            yield task, {"statistics": {}, "returns": "", "error": f"its worker {how}, twice", "passing": True}

    def _hang_up(self, worker: _Worker) -> None:
        self._selector.unregister(worker.line)
        worker.line.close()


def _end_of(code: int) -> str:
    return f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended by itself (exit code {code})"
