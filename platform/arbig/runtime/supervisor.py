"""Supervisor: supervisord with our programs. In: settings. Out: processes, and `data/logs` of what they print.

`python -m arbig.runtime.supervisor` takes the lock of the data folder first, ends what a dead copy left behind, and is
supervisord from then on, until it is told to stop.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import structlog
from supervisor import events, supervisord
from supervisor.medusa import asyncore_25 as asyncore

from arbig.runtime import logs
from arbig.runtime.alerting import alert_variables
from arbig.runtime.broker import secret_variables
from arbig.runtime.leftovers import end_leftovers
from arbig.runtime.programs import Program, programs_of
from arbig.runtime.settings import DATABASE_PASSWORD, EXIT_CONFIG, Settings, SettingsError, load_settings

EXIT_SECOND_COPY = 75
START_RETRIES = 20
STOP_SECONDS = 10
LOOK_SECONDS = 0.1
"""supervisord itself looks once a second whether a child has died, and starts it with the look after that."""
PRINTS_ONLY = ("redis", "console", "jupyter")
ON_BOOKS = ("trading", "strategy", "jupyter")  # parity, in a notebook, reads Trading's book
HOLDS_NOTHING = ("console",)  # asked to end, Bokeh takes its time with every open page


def main() -> int:
    try:
        settings = load_settings()
        lock = take_lock(settings)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    if lock is None:
        print(second_copy(settings), file=sys.stderr)
        return EXIT_SECOND_COPY
    with lock:
        logs.configure("supervisor", settings.logs, terminal=False)
        if ended := end_leftovers(settings):
            structlog.get_logger().warning("ended leftovers of a dead copy", count=ended)
        _record(settings)
        os.environ.update(environment_of(settings))
        os.chdir(settings.root)
        _supervise(settings)
    return 0


def take_lock(settings: Settings) -> IO[str] | None:
    """The lock of the data folder, held until the file is closed; None when another copy holds it."""
    file = (settings.run / "lock").open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def holder(settings: Settings) -> int | None:
    """The supervisor that holds the data folder."""
    path = settings.run / "lock"
    try:
        with path.open() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(file.read() or 0)
    except FileNotFoundError:
        pass
    return None


def second_copy(settings: Settings) -> str:
    return (
        f"{settings.data}: a copy of ARBIG already runs here (pid {holder(settings)}); its links: arbig links; "
        "stop it: arbig down; run a second one beside it: arbig up --data DIR --port-offset 100"
    )


def environment_of(settings: Settings) -> dict[str, str]:
    """What every child is told."""
    return {
        "ARBIG_ROOT": str(settings.root),
        "ARBIG_CONFIG": str(settings.config),
        "ARBIG_DATA": str(settings.data),
        "ARBIG_PORT_OFFSET": str(settings.port_offset),
        "PYTHONUNBUFFERED": "1",
    }


def configuration(settings: Settings) -> str:
    """supervisord.conf. A service that exits with EXIT_CONFIG is not tried again; any other end is, with growing pauses
    when it comes within a second of the start."""
    parts = [
        "[unix_http_server]",
        f"file={_value(settings.socket('supervisor'))}",
        "chmod=0700",
        "[supervisord]",
        "nodaemon=true",
        f"logfile={_value(settings.run / 'supervisord.log')}",
        "logfile_maxbytes=1MB",
        "logfile_backups=1",
        f"pidfile={_value(settings.run / 'supervisord.pid')}",
        "silent=true",
        *(["user=root"] if os.getuid() == 0 else []),
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for place, program in enumerate(programs_of(settings)):
        parts += _section(program, place, settings)
    return "\n".join(parts) + "\n"


def _section(program: Program, place: int, settings: Settings) -> list[str]:
    return [
        f"[program:{program.name}]",
        f"command={_value(shlex.join(command_of(program, settings)))}",
        "environment=" + ",".join(f'{name}="{word}"' for name, word in _own_words(program, settings).items()),
        f"priority={place}",
        "startsecs=1",
        f"startretries={START_RETRIES}",
        "autorestart=unexpected",
        f"exitcodes={EXIT_CONFIG}",
        f"stopwaitsecs={STOP_SECONDS}",
        f"stopsignal={'KILL' if program.name in HOLDS_NOTHING else 'TERM'}",
        "killasgroup=true",
        "redirect_stderr=true",
        "stdout_logfile=NONE",
        "stdout_events_enabled=true",
    ]


def _own_words(program: Program, settings: Settings) -> dict[str, str]:
    """A broker's secrets reach the Gateway alone, the addresses of alerts who sends them: what else runs here,
    a notebook too, finds their names empty."""

    hidden = () if program.name == "gateway" else secret_variables(settings)
    if program.name not in ON_BOOKS:
        hidden = (*hidden, DATABASE_PASSWORD)
    hidden += () if program.name == "alerts" else alert_variables(settings)
    return {"ARBIG_SERVICE": program.name, **dict.fromkeys(hidden, "")}


def command_of(program: Program, settings: Settings) -> list[str]:
    if program.name in PRINTS_ONLY:
        command = [sys.executable, "-m", program.module]
    else:
        command = [sys.executable, "-m", "arbig.runtime.lean", program.module]
    if program.after is None:
        return command
    waiting = ["-m", "arbig.runtime.after", str(settings.port(program.after)), str(settings.token_path)]
    return [sys.executable, *waiting, *command]


def _value(text: str | Path) -> str:
    """supervisord expands `%(name)s` in values."""
    return str(text).replace("%", "%%")


def _record(settings: Settings) -> None:
    """Which ports this copy uses: so that `arbig status --data DIR` needs no --port-offset."""
    ports = {p.name: settings.port(p.name) for p in programs_of(settings) if p.probe in ("ready", "page")}
    _ = settings.token, settings.viewer_token, settings.secret
    record = {"pid": os.getpid(), "port_offset": settings.port_offset, "ports": ports}
    (settings.run / "ports.json").write_text(json.dumps(record))


def _supervise(settings: Settings) -> None:
    conf = settings.run / "supervisord.conf"
    conf.write_text(configuration(settings))
    options = Options()
    options.realize(["-c", str(conf)], doc=supervisord.__doc__)
    options.first, options.test = True, False
    supervisor = Supervisor(options, Scribe(settings.logs))
    with contextlib.suppress(asyncore.ExitNow):
        supervisor.main()
    options.close_httpservers()
    options.close_logger()


class Options(supervisord.ServerOptions):  # type: ignore[misc]
    """supervisord's, without closing what was open before it: the lock of the data folder and our log."""

    def cleanup_fds(self) -> None:
        pass


class Supervisor(supervisord.Supervisor):  # type: ignore[misc]
    """supervisord's, with a scribe listening, and with quicker eyes."""

    def __init__(self, options: Options, scribe: Scribe) -> None:
        super().__init__(options)
        self._scribe = scribe

    def runforever(self) -> None:
        events.subscribe(events.ProcessLogEvent, self._scribe.on_output)
        events.subscribe(events.ProcessStateEvent, self._scribe.on_state)
        poller = self.options.poller
        poll = poller.poll
        poller.poll = lambda seconds: poll(min(seconds, LOOK_SECONDS))
        super().runforever()

    def reap(self, once: bool = False, recursionguard: int = 0) -> None:
        """Who is found dead is started at once."""
        super().reap(once, recursionguard)
        if recursionguard == 0:
            for group in self.process_groups.values():
                group.transition()


class Scribe:
    """Listens to supervisord: what a program prints becomes lines of its log, what becomes of it a line of ours."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unfinished: dict[str, str] = {}
        self._log = structlog.get_logger()

    def on_output(self, event: Any) -> None:
        name = event.process.config.name
        text = self._unfinished.pop(name, "") + _text(event.data)
        *lines, self._unfinished[name] = text.split("\n")
        self._write(name, lines)

    def on_state(self, event: Any) -> None:
        name, kind = event.process.config.name, type(event).__name__.removeprefix("ProcessState").removesuffix("Event")
        if kind in ("Exited", "Backoff", "Fatal", "Stopped"):
            self._write(name, [self._unfinished.pop(name, "")])
        level = logging.WARNING if kind in ("Exited", "Backoff") else logging.INFO
        self._log.log(logging.ERROR if kind == "Fatal" else level, f"{name}: {kind.lower()}", **_pid(event))

    def _write(self, name: str, lines: list[str]) -> None:
        logs.ForeignLog(self._folder, name, rotate=name in PRINTS_ONLY).write(lines)


def _text(data: bytes | str) -> str:
    return data.decode("utf-8", "replace") if isinstance(data, bytes) else data


def _pid(event: Any) -> Mapping[str, int]:
    return {"pid": event.process.pid} if event.process.pid else {}


if __name__ == "__main__":
    sys.exit(main())
