"""Doctor: what is missing on this machine, and the line that mends it. One check, one function, one answer."""

from __future__ import annotations

import asyncio
import ctypes
import importlib.metadata
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from arbig.bus.port import BusError
from arbig.runtime.broker import check_gateway, check_library
from arbig.runtime.files import read_yaml
from arbig.runtime.preflight import check_data_folder, ports_in_use, yaml_files
from arbig.runtime.redis_server import complaints, find_binary
from arbig.runtime.settings import Settings, SettingsError
from arbig.runtime.supervisor import holder

Level = Literal["ok", "warn", "fail"]
OLDEST_PYTHON = (3, 11)
ROOMY_BYTES = 2_000_000_000
TIME_ERROR = 5
SAFE_VERSIONS: Mapping[str, tuple[int, ...]] = {
    "bokeh": (3, 8, 2),
    "jupyterlab": (4, 5, 7),
    "jupyter_server": (2, 20),
}


@dataclass(frozen=True)
class Finding:
    level: Level
    subject: str
    found: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.level:<4} {self.subject}: {self.found}" + (f"; mend: {self.mend}" if self.mend else "")


def examine(settings: Settings) -> Iterator[Finding]:
    """All checks, each with its findings, none ending the others."""
    for check in CHECKS:
        yield from check(settings)


def python(_: Settings) -> Iterator[Finding]:
    found = platform.python_version()
    if _numbers(found) < OLDEST_PYTHON:
        yield Finding("fail", "Python", f"{found}, expected 3.11 or newer", "install python3.11, then: make setup")
    else:
        yield Finding("ok", "Python", found)


def packages(_: Settings) -> Iterator[Finding]:
    for name, oldest in SAFE_VERSIONS.items():
        found = importlib.metadata.version(name)
        wanted = ".".join(map(str, oldest))
        if _numbers(found) < oldest:
            yield Finding("fail", name, f"{found} has known holes, expected {wanted} or newer", "make setup")
        else:
            yield Finding("ok", name, found)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def configuration(settings: Settings) -> Iterator[Finding]:
    bad = False
    for path in yaml_files(settings):
        try:
            read_yaml(path)
        except SettingsError as error:
            bad = True
            yield Finding("fail", "configuration", str(error))
    if not bad:
        yield Finding("ok", "configuration", f"{settings.config}: gateway {settings.gateway}, mode {settings.mode}")


def data_folder(settings: Settings) -> Iterator[Finding]:
    try:
        check_data_folder(settings)
    except SettingsError as error:
        yield Finding("fail", "data folder", str(error))
        return
    free = shutil.disk_usage(settings.data).free
    text = f"{settings.data}: {free / 1e9:.1f} GB free"
    if free < ROOMY_BYTES:
        yield Finding("warn", "data folder", text, "make room, or give another folder: --data DIR")
    else:
        yield Finding("ok", "data folder", text)


def ports(settings: Settings) -> Iterator[Finding]:
    running = holder(settings)
    if running is not None:
        yield Finding("ok", "ports", f"ours: this copy runs (pid {running})")
        return
    taken = list(ports_in_use(settings))
    yield from (Finding("fail", "ports", line) for line in taken)
    if not taken:
        yield Finding("ok", "ports", f"free (offset {settings.port_offset})")


def redis(settings: Settings) -> Iterator[Finding]:
    if settings.redis.embedded:
        try:
            yield Finding("ok", "Redis", f"embedded, {find_binary()}")
        except SettingsError as error:
            yield Finding("fail", "Redis", str(error))
        if holder(settings) is None:
            return
    try:
        address = settings.redis_for("reader")
        wrong = asyncio.run(complaints(address))
    except (BusError, SettingsError) as error:
        wrong = [str(error)]
    else:
        if not wrong:
            yield Finding("ok", "Redis", f"{address} answers and keeps what it is told")
    yield from (Finding("fail", "Redis", line) for line in wrong)


def clock(_: Settings) -> Iterator[Finding]:
    """Whether the kernel says that the clock is disciplined; expiry and the trading day hang on it."""
    if platform.system() != "Linux":
        yield Finding("warn", "clock", "skew not checked on this system", "sntp -S time.apple.com")
        return
    state = ctypes.create_string_buffer(512)
    answer = ctypes.CDLL(None, use_errno=True).adjtimex(state)
    maximum = ctypes.c_long.from_buffer(state, 24).value / 1e6
    if answer < 0:
        yield Finding("warn", "clock", "the kernel does not tell whether the clock is synchronised", CLOCK_MEND)
    elif answer == TIME_ERROR:
        yield Finding("warn", "clock", f"not synchronised, may be wrong by {maximum:.0f} s or more", CLOCK_MEND)
    else:
        yield Finding("ok", "clock", f"synchronised, within {maximum:.2f} s")


CLOCK_MEND = "sudo apt-get install chrony"


def ctp(settings: Settings) -> Iterator[Finding]:
    """What a broker's counter needs; a failure only where one is used."""
    level: Level = "warn" if settings.gateway == "sim" else "fail"
    try:
        check_gateway(settings)
        check_library()
    except SettingsError as error:
        found, _, mend = str(error).partition("; ")
        yield Finding(level, "CTP", found, mend)
    else:
        yield Finding(
            "ok", "CTP", f"vnpy_ctp {importlib.metadata.version('vnpy_ctp')}; the way there: arbig doctor --ctp"
        )


def browser(_: Settings) -> Iterator[Finding]:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        yield Finding("warn", "browser", "no Chromium; the browser tests need it", "sudo apt-get install chromium")
    else:
        yield Finding("ok", "browser", found)
    if platform.system() == "Linux" and not _output("fc-list", ":lang=zh").strip():
        mend = "sudo apt-get install fonts-noto-cjk"
        yield Finding("warn", "fonts", "none with Chinese; pages would show empty boxes", mend)


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
    except OSError:
        return ""


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    python,
    packages,
    configuration,
    data_folder,
    ports,
    redis,
    clock,
    ctp,
    browser,
)
