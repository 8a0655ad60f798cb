"""Ray workers: the same tasks on a Ray cluster. The columns are put into its object store once; every node maps them.

Needs the `ray` extra here, and on the cluster this package in the same version.
"""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from arbig.backtest.plan import Plan
from arbig.lab.jobs import Answer, Job, Runner, Task, columns_of
from arbig.lab.sources import StrategySource
from arbig.lab.spaces import SweepError
from arbig.lab.workers import LIVES
from arbig.runtime.loader import load_class
from arbig.runtime.reach import check_reachable, check_same_cluster, joined


class _Actor:
    """One worker on the cluster: plain JSON in, plain JSON out."""

    def __init__(self, job: bytes, source: str, columns: dict[str, Any]) -> None:
        import ray

        known = msgspec.json.decode(job, type=Job)
        self._folder = tempfile.TemporaryDirectory(prefix="arbig-sweep-")
        path = Path(self._folder.name) / f"{known.class_name}.py"
        path.write_text(source, encoding="utf-8")
        self._runner = Runner(known, load_class(path, known.class_name), lambda name: ray.get(columns[name]))

    def answer(self, task: bytes) -> Answer:
        return self._runner.answer(msgspec.json.decode(task, type=Task))


class RayCrew:
    """As many actors as asked for (as the cluster has processors), each with one processor. `address`: `auto` for the
    cluster this machine belongs to, `host:port`, `ray://host:port`, or `local` for one of this machine's own."""

    def __init__(self, address: str, plan: Plan, job: Job, source: StrategySource, count: int | None) -> None:
        try:
            import ray
        except ImportError:
            raise SweepError("ray is not installed; write: pip install 'arbig[ray]'") from None
        self._ray = ray
        self._own = not ray.is_initialized()
        if self._own:
            try:
                check_reachable(address)
            except OSError as error:
                raise SweepError(f"ray: no cluster at {address!r}: {error.strerror or error}") from None
            try:
                ray.init(address=address, log_to_driver=False, logging_level="error")
            except (ConnectionError, ValueError, OSError, RuntimeError) as error:
                raise SweepError(f"ray: no cluster at {address!r}: {str(error).splitlines()[0]}") from None
            joined(ray, address)
        else:
            try:
                check_same_cluster(ray, address)
            except ValueError as error:
                raise SweepError(str(error)) from None
        self.remarks: list[str] = []
        self._count = count or int(ray.cluster_resources().get("CPU", 1))
        self._columns = {name: ray.put(column) for name, column in columns_of(plan)}
        self._words = (msgspec.json.encode(job), source.text, self._columns)
        self._kind = ray.remote(num_cpus=1)(_Actor)
        self._idle: list[Any] = []
        self._busy: dict[Any, tuple[Task, Any]] = {}
        self._again: deque[Task] = deque()
        self._deaths: dict[str, int] = {}

    @property
    def free(self) -> int:
        return self._count - len(self._busy) - len(self._again)

    def give(self, task: Task) -> None:
        actor = self._idle.pop() if self._idle else self._kind.remote(*self._words)
        self._busy[actor.answer.remote(msgspec.json.encode(task))] = (task, actor)

    def answers(self) -> Iterator[tuple[Task, Answer]]:
        while self._again:
            self.give(self._again.popleft())
        done, _ = self._ray.wait(list(self._busy), num_returns=1)
        for future in done:
            task, actor = self._busy.pop(future)
            try:
                answer = self._ray.get(future)
            except self._ray.exceptions.RayActorError as error:
                yield from self._died(task, str(error).splitlines()[0])
                continue
            except self._ray.exceptions.RayError as error:
                raise SweepError(f"ray: {str(error).splitlines()[-1]}") from None
            self._idle.append(actor)
            yield task, answer

    def close(self) -> None:
        for actor in (*self._idle, *(actor for _, actor in self._busy.values())):
            self._ray.kill(actor)
        self._idle, self._busy = [], {}
        if self._own:
            self._ray.shutdown()

    def _died(self, task: Task, reason: str) -> Iterator[tuple[Task, Answer]]:
        """A second death at the same task is the task's fault."""
        deaths = self._deaths[task.key] = self._deaths.get(task.key, 0) + 1
        if deaths < LIVES:
            self.remarks.append(f"a Ray worker died: its set {task.params} is run again ({reason})")
            self._again.append(task)
        else:
            yield (
                task,
                {"statistics": {}, "returns": "", "error": f"its Ray worker died twice: {reason}", "passing": True},
            )
