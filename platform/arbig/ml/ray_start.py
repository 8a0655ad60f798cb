"""Ray's start: of this machine alone, listening as little as it can, in the time a busy machine needs."""

from __future__ import annotations

import contextlib
import os
from typing import Any

import psutil

from arbig.ml.sets import SetError
from arbig.runtime.reach import check_reachable, check_same_cluster, joined

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_SERVE_LOG_TO_STDERR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
STORE_BYTES = 200_000_000
TRIES = 3
"""Ray gives a part of itself 15 seconds to start, which a busy machine may need more of."""


def begun(address: str = "local", cpus: int | None = None) -> Any:
    """The module, its cluster begun or joined unless this process is in one. Raises SetError, one line."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise SetError("ray is not installed; write: pip install 'arbig[ml]'") from None
    if ray.is_initialized():
        try:
            check_same_cluster(ray, address)
        except ValueError as error:
            raise SetError(str(error)) from None
        return ray
    words: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address == "local":
        words |= {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": STORE_BYTES}
        words |= {"_node_ip_address": "127.0.0.1"}
    try:
        check_reachable(address)
        _started(ray, address, words)
    except Exception as error:
        raise SetError(f"ray: no cluster at {address!r}: {str(error).splitlines()[0]}") from None
    joined(ray, address)
    return ray


def _started(ray: Any, address: str, words: dict[str, Any]) -> None:
    for left in reversed(range(TRIES if address == "local" else 1)):
        before = {one.pid for one in psutil.Process().children(recursive=True)}
        try:
            ray.init(address=address, **words)
        except Exception:
            ray.shutdown()
            for one in psutil.Process().children(recursive=True):  # it leaves its own half-started processes behind
                if one.pid not in before:
                    _end(one)
            if not left:
                raise
        else:
            return


def _end(process: psutil.Process) -> None:
    """Ray's own only."""
    with contextlib.suppress(psutil.NoSuchProcess):
        if any("/ray/" in word for word in process.cmdline()):
            process.kill()
