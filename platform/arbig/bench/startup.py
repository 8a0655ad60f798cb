"""Startup: from `arbig up` to a house that trades, and to its console and notebooks; on an empty data folder."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from arbig.bench.house import BenchFailed, free_offset
from arbig.runtime.programs import TRADING_PATH, programs_of
from arbig.runtime.settings import Settings, load_settings
from arbig.runtime.status import is_up

PATIENCE_SECONDS = 120.0
PAGES = ("console", "jupyter")


def run(folder: Path) -> dict[str, Any]:
    data = folder / "startup"
    shutil.rmtree(data, ignore_errors=True)
    settings = load_settings(data=data, port_offset=free_offset())
    words = [str(Path(sys.executable).with_name("arbig"))]
    place = ["--data", str(data)]
    began = time.monotonic()
    starting = subprocess.Popen(
        [*words, "up", "--detach", *place, "--port-offset", str(settings.port_offset)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        seconds = _watch(settings, starting, began)
    finally:
        starting.communicate()
        subprocess.run([*words, "down", *place], stdout=subprocess.DEVNULL, check=False)
    return {
        "trading_s": max(seconds[name] for name in TRADING_PATH),
        **{f"{name}_s": seconds[name] for name in PAGES},
        "all_s": max(seconds.values()),
    }


def _watch(settings: Settings, starting: subprocess.Popen[str], began: float) -> dict[str, float]:
    """When each program was first seen ready."""
    seconds: dict[str, float] = {}
    waiting = list(programs_of(settings))
    while waiting:
        for program in list(waiting):
            if is_up(settings, program):
                seconds[program.name] = round(time.monotonic() - began, 2)
                waiting.remove(program)
        if starting.poll() not in (None, 0):
            raise BenchFailed(f"arbig up ended with {starting.returncode}: {starting.communicate()[0].strip()}")
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise BenchFailed(f"not ready: {', '.join(program.name for program in waiting)}")
        time.sleep(0.05)
    return seconds
