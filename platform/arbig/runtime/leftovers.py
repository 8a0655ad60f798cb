"""Leftovers: processes of a copy whose supervisor is dead. They are known by their environment, not by their names."""

from __future__ import annotations

import os
from collections.abc import Callable

import psutil

from arbig.runtime.settings import Settings

PATIENCE_SECONDS = 5


def leftovers(settings: Settings) -> list[psutil.Process]:
    """Every process of ours that was started as a service of this data folder, or by one, and still lives."""
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [process for process in psutil.process_iter() if process.pid not in ours and _belongs(process, settings)]


def _belongs(process: psutil.Process, settings: Settings) -> bool:
    try:
        environment = process.environ()
    except (psutil.Error, OSError):
        return False
    return environment.get("ARBIG_DATA") == str(settings.data) and "ARBIG_SERVICE" in environment


def end_leftovers(settings: Settings) -> int:
    """Asks them to end, then ends them. Returns how many there were."""
    found = leftovers(settings)
    for process in found:
        _signal(process.terminate)
    _, stubborn = psutil.wait_procs(found, timeout=PATIENCE_SECONDS)
    for process in stubborn:
        _signal(process.kill)
    psutil.wait_procs(stubborn, timeout=PATIENCE_SECONDS)
    return len(found)


def _signal(send: Callable[[], None]) -> None:
    try:
        send()
    except psutil.Error:
        pass
