"""Preflight: everything that could go wrong with `arbig up`, looked at before anything is started."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from arbig.bus.port import BusError
from arbig.runtime.alerting import check_alerts
from arbig.runtime.broker import check_gateway
from arbig.runtime.files import read_yaml
from arbig.runtime.leftovers import end_leftovers
from arbig.runtime.programs import programs_of
from arbig.runtime.ready import is_open
from arbig.runtime.redis_server import check_safe
from arbig.runtime.settings import Settings, SettingsError, private_folder
from arbig.runtime.supervisor import holder, second_copy

FREE_BYTES = 200_000_000


def preflight(settings: Settings) -> None:
    """Raises SettingsError with one line."""
    check_gateway(settings)
    check_alerts(settings)
    check_data_folder(settings)
    if holder(settings) is not None:
        raise SettingsError(second_copy(settings))
    for path in yaml_files(settings):
        read_yaml(path)
    end_leftovers(settings)
    for complaint in ports_in_use(settings):
        raise SettingsError(complaint)
    if not settings.redis.embedded:
        asyncio.run(_check_outside_redis(settings))


def check_data_folder(settings: Settings) -> None:
    probe = private_folder(settings.data / "run") / f".probe.{os.getpid()}"
    try:
        probe.write_bytes(b"0" * 4096)
        probe.unlink()
    except OSError as error:
        raise SettingsError(f"{settings.data}: {_disk_words(error)}") from None
    free = shutil.disk_usage(settings.data).free
    if free < FREE_BYTES:
        raise SettingsError(
            f"{settings.data}: the disk is full: {free // 1_000_000} MB left, {FREE_BYTES // 1_000_000} MB are needed; "
            "make room there, or give another folder: --data DIR"
        )


def _disk_words(error: OSError) -> str:
    mend = "make room there" if error.errno == errno.ENOSPC else "allow writing there"
    return f"{error.strerror}; {mend}, or give another folder: --data DIR"


def yaml_files(settings: Settings) -> list[Path]:
    """The files this house reads; the broker's is not among them."""
    found = sorted((*settings.config.glob("*.yaml"), *settings.config.glob("strategies/*.yaml")))
    return [path for path in found if path.name != "ctp_config.yaml"]


def ports_in_use(settings: Settings) -> Iterator[str]:
    """One line for each of our ports that somebody else holds."""
    for program in programs_of(settings):
        if program.probe not in ("ready", "page"):
            continue
        port = settings.port(program.name)
        if is_open(port):
            yield (
                f"port {port} ({program.name}) is in use by {port_holder(port)}; stop that, "
                f"or choose other ports: arbig up --port-offset {settings.port_offset + 100}"
            )


def port_holder(port: int) -> str:
    """`pid 4711 (python -m http.server)`, as far as we may know."""
    try:
        for line in psutil.net_connections("tcp"):
            if line.status == psutil.CONN_LISTEN and line.laddr and line.laddr.port == port and line.pid:
                words = " ".join(psutil.Process(line.pid).cmdline())
                return f"pid {line.pid} ({words[:77] + '...' if len(words) > 80 else words})"
    except psutil.Error:
        pass
    return "a process of another user"


async def _check_outside_redis(settings: Settings) -> None:
    try:
        await check_safe(settings.redis_for("reader"))
    except BusError as error:
        raise SettingsError(str(error)) from None
