"""The same house under its supervisor: cells about the supervisor itself, whose death takes everybody with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rig import MODULES, ROOT, Rig

from arbig.runtime.control import Control, ControlError
from arbig.runtime.ready import accepts, is_open, is_ready
from arbig.runtime.supervisor import holder

ARBIG = Path(sys.executable).with_name("arbig")


class SupervisedRig(Rig):
    """`arbig up` on the rig's folder. Who dies is started by the supervisor; the supervisor by `arbig up`."""

    @contextmanager
    def running(self, disks: Sequence[str] = ()) -> Iterator[Rig]:
        (self.home / "dashboards").symlink_to(ROOT / "dashboards")
        self.processes = dict.fromkeys(MODULES)  # type: ignore[arg-type]
        try:
            self._arbig("up", "--detach", "--port-offset", str(self.port_offset))
            yield self
        finally:
            for service in MODULES:
                self.signal(service, signal.SIGCONT)
            self._arbig("down")

    def _arbig(self, *words: str) -> None:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ARBIG_")},
            "ARBIG_ROOT": str(self.home),
            "ARBIG_DATA": str(self.data),
            "ARBIG_CRASH": f"@{self.armed}",
        }
        done = subprocess.run([ARBIG, *words], env=environment, cwd=self.home, capture_output=True, text=True)
        assert done.returncode == 0 or words == ("down",), f"arbig {' '.join(words)}:\n{done.stdout}{done.stderr}"

    def start(self, service: str) -> None:
        """The supervisor does."""

    def pid(self, service: str) -> int | None:
        if service == "supervisor":
            return holder(self.settings)
        try:
            return next((each.pid for each in Control(self.settings).processes() if each.name == service), None)
        except ControlError:
            return None

    def signal(self, service: str, signum: signal.Signals) -> None:
        pid = self.pid(service)
        if pid:
            os.kill(pid, signum)

    def kill(self, service: str) -> None:
        self.signal(service, signal.SIGKILL)

    def is_alive(self, service: str) -> bool:
        return bool(self.pid(service))

    def is_stopped(self, service: str) -> bool:
        pid = self.pid(service)
        return pid is not None and self._state_of(pid) == "T"

    def revive(self) -> list[str]:
        if holder(self.settings) is not None:
            return []
        self._arbig("up", "--detach", "--port-offset", str(self.port_offset))
        return ["supervisor"]

    def stands(self, service: str) -> bool:
        if service == "redis":
            return (self.data / "run" / "redis.json").exists() and is_open(self.settings.port("redis"))
        if service == "exchange":
            return accepts(self.settings.socket("exchange"))
        return is_ready(self.settings.port(service), self.settings.token)
