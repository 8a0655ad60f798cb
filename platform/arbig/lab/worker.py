"""Worker: the processes of sweeps. One, the stem, loads what every backtest needs; the workers are forked from it and
start at once.

`python -m arbig.lab.worker` hears orders on its standard input, a unix socket: `{"fork": 0}` comes with the socket on
which the new worker is spoken to and is answered with its pid, `{"end": pid}` and `{"await": pid}` with how that worker
ended. A worker hears where its job lies, then takes a task as a line of JSON and answers with one. All end with the
process that started the stem.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
from pathlib import Path

import msgspec

from arbig.runtime.child import die_with_parent
from arbig.runtime.talib_light import import_talib

LONGEST_ORDER = 100


def main() -> None:
    die_with_parent(signal.SIGKILL)
    orders = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    os.dup2(os.open(os.devnull, os.O_RDONLY), sys.stdin.fileno())  # what a strategy reads is no order
    load()
    while True:
        words, sockets, _, _ = socket.recv_fds(orders, LONGEST_ORDER, 1)
        if not words:
            return
        ((kind, pid),) = json.loads(words).items()
        answer = fork(socket.socket(fileno=sockets[0]), orders) if kind == "fork" else ended(pid, kind == "end")
        orders.sendall(b"%d\n" % answer)


def load() -> None:
    """Everything a backtest imports, and the compiled loop, once for all workers."""
    import_talib()
    import numpy as np

    from arbig.backtest import kernels, performance, realistic, vnpy  # noqa: F401
    from arbig.compat import vnpy as names  # noqa: F401
    from arbig.lab import jobs  # noqa: F401

    column = np.arange(64.0)
    for name, inputs in (("SMA", (0,)), ("ATR", (0, 1, 2))):
        if (found := kernels.kernel((name, inputs, (2,)))) is not None:
            found.windows([column] * 3, 8, 8, 2)
    gc.collect()
    gc.freeze()  # what is loaded stays: no worker looks through it again, or copies its pages


def fork(line: socket.socket, orders: socket.socket) -> int:
    """The new worker's pid."""
    pid = os.fork()
    if pid:
        line.close()
        return pid
    status = 1
    try:
        orders.close()
        die_with_parent(signal.SIGKILL)
        work(line)
        status = 0
    finally:
        os._exit(status)


def ended(pid: int, now: bool) -> int:
    """How a worker ended, as `Popen.returncode` has it: minus the signal that killed it, else its exit code."""
    if now:
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def work(line: socket.socket) -> None:
    """Take up the job and answer tasks until nobody asks."""

    def say(words: object) -> None:
        line.sendall(json.dumps(words).encode() + b"\n")

    from arbig.lab.jobs import Runner, Task

    tasks = line.makefile("rb")
    job = json.loads(tasks.readline())
    os.chdir(job["here"])
    os.environ.clear()
    os.environ.update(job["environment"])
    try:
        runner = Runner.in_folder(Path(job["folder"]), job["paths"])
    except Exception as error:
        say({"fatal": f"{type(error).__name__}: {error}".splitlines()[0]})
        return
    say({"ready": os.getpid()})
    for task in tasks:
        say(runner.answer(msgspec.json.decode(task, type=Task)))


if __name__ == "__main__":
    main()
