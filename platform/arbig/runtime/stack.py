"""The stack: all of it up, all of it down, or one of it anew; never half of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import count

from arbig.runtime.clock import WallClock
from arbig.runtime.control import Control, ControlError, Process
from arbig.runtime.http import CallError, ask
from arbig.runtime.leftovers import end_leftovers
from arbig.runtime.logs import Wanted, line_of, read_logs
from arbig.runtime.preflight import preflight
from arbig.runtime.programs import Program, programs_of
from arbig.runtime.settings import EXIT_CONFIG, Settings
from arbig.runtime.status import is_up
from arbig.runtime.supervisor import environment_of, holder

PATIENCE_SECONDS = 180
TRIES = 3
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AT_ONCE = 2  # each waits for the one before it; asking all of them would only cost them time


class StackError(RuntimeError):
    """Why it is not up: one line, below it the reason from the log of whoever failed."""


@dataclass(frozen=True)
class Became:
    """A program became ready, so many seconds after the beginning."""

    program: Program
    seconds: float


def up(settings: Settings) -> Iterator[Became]:
    """Start everything and tell of each program as it becomes ready. Whatever fails, or whoever loses patience, takes
    everything down again. Raises SettingsError before, StackError after the start."""
    preflight(settings)
    began, born = time.monotonic(), WallClock().now()
    with _signals_as_errors():
        supervisor = _launch(settings)
        try:
            yield from _becoming(settings, supervisor, began, born)
        except BaseException:
            down(settings)
            raise


@contextmanager
def _signals_as_errors() -> Iterator[None]:
    """SIGTERM and a closed terminal end a start like Ctrl-C does: whoever is half-started is taken down. Once."""

    def end(signum: int, _: object) -> None:
        for each in ENDING:
            signal.signal(each, signal.SIG_IGN)
        raise SystemExit(128 + signum)

    former = {each: signal.getsignal(each) for each in ENDING}
    for each, handler in former.items():
        if handler is not signal.SIG_IGN:
            signal.signal(each, end)
    try:
        yield
    finally:
        for each, handler in former.items():
            signal.signal(each, handler)


def _launch(settings: Settings) -> subprocess.Popen[bytes]:
    words = settings.run / "supervisor.out"
    with words.open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "arbig.runtime.lean", "arbig.runtime.supervisor"],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            cwd=settings.root,
            env={**_own_environment(), **environment_of(settings)},
        )


def _own_environment() -> dict[str, str]:
    """Ours, without the mark of a service: a stack started from a notebook's terminal is no part of that notebook."""
    return {name: value for name, value in os.environ.items() if name not in ("ARBIG_SERVICE", "SUPERVISOR_ENABLED")}


def _becoming(
    settings: Settings, supervisor: subprocess.Popen[bytes], began: float, born: datetime
) -> Iterator[Became]:
    waiting = list(programs_of(settings))
    control = Control(settings)
    falls: Counter[tuple[str, int]] = Counter()
    for look in count():
        if not waiting:
            return
        if supervisor.poll() is not None:
            raise StackError(f"the supervisor did not start: {(settings.run / 'supervisor.out').read_text().strip()}")
        for process in _processes(control) if look % 5 == 0 else ():
            _judge(settings, process, falls, born)
        for program in waiting[:AT_ONCE]:
            if is_up(settings, program):
                waiting.remove(program)
                yield Became(program, time.monotonic() - began)
        if time.monotonic() - began > PATIENCE_SECONDS:
            raise StackError(_too_slow(settings, waiting, born))
        time.sleep(0.1)


def _processes(control: Control) -> list[Process]:
    try:
        return control.processes()
    except ControlError:
        return []


def _judge(settings: Settings, process: Process, falls: Counter[tuple[str, int]], born: datetime) -> None:
    """A wrong setting is final; falling again and again right after the start is, too."""
    if process.state not in ("BACKOFF", "EXITED", "FATAL"):
        return
    falls[process.name, process.started] = 1
    tries = sum(1 for name, _ in falls if name == process.name)
    if process.exit_status == EXIT_CONFIG or process.state == "FATAL" or tries >= TRIES:
        raise StackError(f"{process.name} does not start:\n{reason(settings, process.name, born)}")


def reason(settings: Settings, service: str, since: datetime) -> str:
    """The last words of a service in this life: its newest error, else the last lines of its log."""
    records = list(read_logs(settings.logs, Wanted(service=service, since=since)))
    errors = [record for record in records if record.get("level") in ("error", "critical")]
    chosen = errors[-1:] or records[-10:]
    return "\n".join(line_of(record) for record in chosen) or "it left no word; look at: arbig logs"


def _too_slow(settings: Settings, waiting: list[Program], born: datetime) -> str:
    names = ", ".join(program.name for program in waiting)
    return f"not ready after {PATIENCE_SECONDS} s: {names}\n{reason(settings, waiting[0].name, born)}"


def down(settings: Settings) -> bool:
    """Everything ends, with whatever a dead copy left behind. False when nothing ran."""
    control = Control(settings)
    ran = holder(settings) is not None
    if ran:
        _until(lambda: control.is_up() or holder(settings) is None, 10)
        try:
            control.shutdown()
        except ControlError:
            pass
        _until(lambda: holder(settings) is None, 30)
    return bool(end_leftovers(settings)) or ran


def restart(settings: Settings, name: str) -> None:
    """One service anew; returns when it is ready again."""
    born = WallClock().now()
    Control(settings).restart(name)
    program = next(program for program in programs_of(settings) if program.name == name)
    if not _until(lambda: is_up(settings, program), 60):
        raise StackError(f"{name} is not ready after 60 s:\n{reason(settings, name, born)}")


@dataclass(frozen=True)
class Links:
    console: str
    notebooks: str
    interface: str


def viewers_link(settings: Settings) -> str:
    """A link to the console for somebody who may look and not act."""
    return f"http://127.0.0.1:{settings.port('web')}/login?ticket={_ticket(settings, 'viewer')}"


def links(settings: Settings) -> Links:
    """Links that log in by themselves, each once: the token never stands in an address."""
    home = f"http://127.0.0.1:{settings.port('web')}"
    return Links(
        console=f"{home}/login?ticket={_ticket(settings)}",
        notebooks=f"{home}/login?ticket={_ticket(settings)}&next=jupyter",
        interface=f"{home}/login?ticket={_ticket(settings)}&next=docs",
    )


def _ticket(settings: Settings, role: str = "trader") -> str:
    try:
        return str(ask(settings, "web", "POST", "/api/v1/tickets", json={"role": role})["ticket"])
    except CallError as error:
        raise StackError(f"no log-in ticket: {error}; look at: arbig status") from None


def interruption() -> threading.Event:
    """Set by Ctrl-C, SIGTERM, or a closed terminal."""
    event = threading.Event()
    for signum in ENDING:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, lambda *_: event.set())
    return event


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True
