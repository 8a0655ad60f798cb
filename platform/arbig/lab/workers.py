"""Workers: the local processes of a sweep. One that is killed is replaced, and its task is run again."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec

from arbig.lab.jobs import Answer, Task
from arbig.lab.spaces import SweepError

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
class _Process:
    process: subprocess.Popen[bytes]
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
        self._idle: list[_Process] = []
        self._busy: dict[int, _Process] = {}
        self._again: deque[Task] = deque()
        self._deaths: dict[str, int] = {}
        self._selector = selectors.DefaultSelector()

    @property
    def pids(self) -> list[int]:
        return [one.process.pid for one in (*self._idle, *self._busy.values())]

    @property
    def free(self) -> int:
        return self._count - len(self._busy) - len(self._again)

    def give(self, task: Task) -> None:
        worker = self._idle.pop() if self._idle else self._started()
        worker.task = task
        self._busy[worker.process.pid] = worker
        self._send(worker, msgspec.json.encode(task).decode())

    def answers(self) -> Iterator[tuple[Task, Answer]]:
        while self._again:
            self.give(self._again.popleft())
        for key, _ in self._selector.select():
            yield from self._heard(key.data)

    def close(self) -> None:
        """Whatever they are doing, it ends now."""
        for worker in (*self._idle, *self._busy.values()):
            self._selector.unregister(worker.process.stdout)  # type: ignore[arg-type]
            worker.process.kill()
            self._bury(worker)
        self._idle, self._busy = [], {}
        self._selector.close()

    def _started(self) -> _Process:
        process = subprocess.Popen(
            [sys.executable, "-m", "arbig.lab.worker", str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is the parent's to decide about
        )
        worker = _Process(process)
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]
        self._send(worker, json.dumps(self._paths))
        return worker

    def _send(self, worker: _Process, line: str) -> None:
        try:
            assert worker.process.stdin is not None
            worker.process.stdin.write(line.encode() + b"\n")
            worker.process.stdin.flush()
        except BrokenPipeError:
            return  # its end is heard on the other pipe

    def _heard(self, worker: _Process) -> Iterator[tuple[Task, Answer]]:
        assert worker.process.stdout is not None
        piece = os.read(worker.process.stdout.fileno(), 1 << 20)
        if not piece:
            yield from self._died(worker)
        *lines, worker.heard = (worker.heard + piece).split(b"\n")
        for line in lines:
            yield from self._answered(worker, json.loads(line))

    def _answered(self, worker: _Process, words: dict[str, Any]) -> Iterator[tuple[Task, Answer]]:
        if "fatal" in words:
            raise SweepError(f"the workers cannot run the strategy: {words['fatal']}")
        if "ready" in words:
            worker.ready = True
            return
        task, worker.task = worker.task, None
        assert task is not None
        self._idle.append(self._busy.pop(worker.process.pid))
        yield task, words

    def _died(self, worker: _Process) -> Iterator[tuple[Task, Answer]]:
        """A second death at the same task is the task's fault."""
        self._selector.unregister(worker.process.stdout)  # type: ignore[arg-type]
        self._bury(worker)
        task = worker.task
        if self._busy.pop(worker.process.pid, None) is None or task is None:
            self._idle.remove(worker)
            return
        how = _end_of(worker.process.returncode)
        if not worker.ready:
            raise SweepError(f"a worker ended before it could begin ({how}); try one backtest of this strategy alone")
        deaths = self._deaths[task.key] = self._deaths.get(task.key, 0) + 1
        if deaths < LIVES:
            self.remarks.append(f"worker {worker.process.pid} {how}: its set {task.params} is run again")
            self._again.append(task)
        else:
            yield task, {"statistics": {}, "returns": "", "error": f"its worker {how}, twice", "passing": True}

    def _bury(self, worker: _Process) -> None:
        worker.process.wait()
        for pipe in (worker.process.stdin, worker.process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue


def _end_of(code: int) -> str:
    return f"was killed ({signal.Signals(-code).name})" if code < 0 else f"ended by itself (exit code {code})"
