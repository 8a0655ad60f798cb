"""House: the real services as processes on a folder of their own, for as long as a bench lasts."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from arbig.runtime.programs import BY_NAME
from arbig.runtime.ready import is_open
from arbig.runtime.settings import PORTS, Settings, load_settings
from arbig.runtime.status import is_up
from arbig.runtime.supervisor import environment_of

PATIENCE_SECONDS = 60.0
FIRST_OFFSET, STEP = 3000, 100


class BenchFailed(RuntimeError):
    """The bench could not measure: why, in one line."""


class House:
    """`files`: what is laid under its root (config/..., strategies/...); instruments and holidays are the real ones."""

    def __init__(self, folder: Path, files: Mapping[str, str]) -> None:
        here = load_settings()
        shutil.rmtree(folder, ignore_errors=True)
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for name in ("instruments.yaml", "holidays.yaml"):
            shutil.copy(here.config / name, folder / "config" / name)
        self.settings: Settings = load_settings(folder, folder / "config", folder / "data", free_offset())
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str) -> None:
        """All at once; each waits for its predecessor by itself."""
        environment = {**os.environ, **environment_of(self.settings)}
        for name in names:
            words = [sys.executable, "-m", BY_NAME[name].module]
            output = (self.settings.logs / f"{name}.out").open("wb")
            with output:
                self.processes[name] = subprocess.Popen(words, env=environment, stdout=output, stderr=output)

    def check(self) -> None:
        """Raises BenchFailed when a process has died."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                raise BenchFailed(f"{name} ended with {process.returncode}; see {self.settings.logs}/{name}.*")

    def is_up(self, *names: str) -> bool:
        self.check()
        return all(is_up(self.settings, BY_NAME[name]) for name in names)

    def wait(self, *names: str) -> None:
        began = time.monotonic()
        while not self.is_up(*names):
            if time.monotonic() - began > PATIENCE_SECONDS:
                raise BenchFailed(f"not ready after {PATIENCE_SECONDS:.0f} s: {', '.join(names)}")
            time.sleep(0.05)

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()


def free_offset() -> int:
    """Ports for every service of one more copy."""
    for offset in range(FIRST_OFFSET, FIRST_OFFSET + 50 * STEP, STEP):
        if not any(is_open(port + offset, timeout=0.2) for port in _PORTS):
            return offset
    raise BenchFailed("no free ports for another copy")


_PORTS: Sequence[int] = tuple(PORTS.values())
