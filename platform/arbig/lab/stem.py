"""Stem: the process from which a sweep's workers are forked. It is started with the first sweep and kept for the next
ones; importing takes longer than most backtests, and a process that trades in threads (a notebook's) is not forked.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from threading import Lock


class StemGone(Exception):
    """The stem has ended, and its workers with it."""


class Stem:
    """`python -m arbig.lab.worker` and the socket to it; one order at a time."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "arbig.lab.worker"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the parent's to decide about
            )
        self._lock = Lock()

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def fork(self) -> tuple[int, socket.socket]:
        """A new worker: its pid, and the line to it. Waits until the stem is loaded. Raises StemGone."""
        line, theirs = socket.socketpair()
        try:
            with theirs:
                return self._asked({"fork": 0}, [theirs.fileno()]), line
        except BaseException:
            line.close()
            raise

    def end(self, pid: int) -> None:
        """Whatever this worker is doing."""
        try:
            self._asked({"end": pid})
        except StemGone:
            return  # and so has the worker

    def awaited(self, pid: int) -> int:
        """How a worker that has ended did so: minus the signal, or its exit code."""
        try:
            return self._asked({"await": pid})
        except StemGone:
            return -signal.SIGKILL

    def close(self) -> None:
        self._orders.close()
        self._process.kill()
        self._process.wait()

    def _asked(self, words: dict[str, int], sockets: list[int] | None = None) -> int:
        with self._lock:
            try:
                socket.send_fds(self._orders, [json.dumps(words).encode()], sockets or [])
                answer = self._orders.recv(100)
            except OSError:
                answer = b""
            except BaseException:  # the answer would be taken for the next one's
                self.close()
                raise
        if not answer:
            raise StemGone
        return int(answer)


_stems: dict[int, Stem] = {}


def stem() -> Stem:
    """This process's own, started when there is none."""
    found = _stems.get(os.getpid())
    if found is None or not found.is_alive:
        found = _stems[os.getpid()] = Stem()
    return found


@atexit.register
def close() -> None:
    """End the stem; the next sweep starts another."""
    found = _stems.pop(os.getpid(), None)
    if found is not None:
        found.close()
