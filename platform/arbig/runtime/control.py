"""Control: the supervisor's remote control over its unix socket."""

from __future__ import annotations

import difflib
import http.client
import time
import xmlrpc.client
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from supervisor.xmlrpc import SupervisorTransport

from arbig.runtime.settings import Settings

T = TypeVar("T")
NOT_RUNNING, BAD_NAME, ALREADY_STARTED = 70, 10, 60
FEEDS = ("redis", "exchange")


class ControlError(ConnectionError):
    """The supervisor is not there, or does not know the service: one line with the mend."""


@dataclass(frozen=True)
class Process:
    """One supervised process. `state` is supervisor's: STARTING RUNNING BACKOFF STOPPING STOPPED EXITED FATAL."""

    name: str
    state: str
    pid: int | None
    started: int
    uptime: int
    exit_status: int
    note: str

    @property
    def alive(self) -> bool:
        return self.state in ("RUNNING", "STARTING")


class Control:
    """Blocking, each call a few milliseconds; a server calls it in a thread."""

    def __init__(self, settings: Settings) -> None:
        self._data = settings.data
        self._path = settings.socket("supervisor")

    def is_up(self) -> bool:
        try:
            return bool(self._ask(lambda rpc: rpc.getState()["statecode"] == 1))
        except ControlError:
            return False

    def processes(self) -> list[Process]:
        return self._ask(lambda rpc: [_process(found) for found in rpc.getAllProcessInfo()]) or []

    def start(self, name: str) -> None:
        self._ask(lambda rpc: rpc.startProcess(name, False), name, unless=(ALREADY_STARTED,))

    def stop(self, name: str) -> None:
        self._ask(lambda rpc: rpc.stopProcess(name, True), name, unless=(NOT_RUNNING,))

    def restart(self, name: str) -> None:
        self.stop(name)
        self.start(name)

    def shutdown(self) -> None:
        """Everybody down: those who write first, then the exchange and Redis, then the supervisor itself."""
        names = [process.name for process in self.processes()]
        for round_ in ([name for name in names if name not in FEEDS], FEEDS):
            for name in round_:
                self._begin_stop(name)
            while any(process.state == "STOPPING" for process in self.processes()):
                time.sleep(0.05)
        self._ask(lambda rpc: rpc.shutdown())

    def _begin_stop(self, name: str) -> None:
        self._ask(lambda rpc: rpc.stopProcess(name, False), name, unless=(NOT_RUNNING, BAD_NAME))

    def _ask(self, question: Callable[[Any], T], name: str = "", unless: tuple[int, ...] = ()) -> T | None:
        proxy = xmlrpc.client.ServerProxy(
            "http://localhost", transport=SupervisorTransport(None, None, f"unix://{self._path}")
        )
        try:
            return question(proxy.supervisor)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in unless:
                return None
            raise ControlError(self._unknown(name) if fault.faultCode == BAD_NAME else fault.faultString) from None
        except (OSError, http.client.HTTPException):
            raise ControlError(f"{self._data}: nothing runs here; start it with: arbig up") from None
        finally:
            proxy("close")()

    def _unknown(self, name: str) -> str:
        known = [process.name for process in self.processes()]
        close = difflib.get_close_matches(name, known, n=1)
        return f"no service {name!r}. " + (f"Did you mean: {close[0]}?" if close else f"There are: {', '.join(known)}")


def _process(found: dict[str, Any]) -> Process:
    return Process(
        name=found["name"],
        state=found["statename"],
        pid=found["pid"] or None,
        started=found["start"],
        uptime=found["now"] - found["start"],
        exit_status=found["exitstatus"],
        note=found["spawnerr"] or found["description"],
    )
