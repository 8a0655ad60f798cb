"""Children: a process that ends when the one that started it is gone."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import threading
import time

PR_SET_PDEATHSIG = 1


def die_with_parent(signum: int = signal.SIGTERM) -> None:
    """Call first thing in a child process: Linux sends `signum` when the parent dies, elsewhere a thread watches."""
    parent = os.getppid()
    if platform.system() == "Linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signum)
        if os.getppid() != parent:
            os.kill(os.getpid(), signum)
        return
    threading.Thread(target=_watch, args=(parent, signum), daemon=True, name="parent-watch").start()


def _watch(parent: int, signum: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signum)
