"""Real service processes that are born quickly: what they all import is imported once, in a server that forks them.

Each still reads its own environment and imports `arbig` anew: crash points and settings are its own.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "pytest",
        "fastapi",
        "uvicorn",
        "uvloop",
        "httpx",
        "sqlalchemy",
        "pydantic",
        "structlog",
        "msgspec",
        "hiredis",
        "yaml",
    ]
)


def born(module: str, package: Path | None = None, **environment: str) -> ForkServerProcess:
    """`python -m MODULE` with these variables; silent. `package`: the folder of another build of `arbig`."""
    life = FORKS.Process(target=_live, args=(module, package, environment))
    life.start()
    return life


def _live(module: str, package: Path | None, environment: dict[str, str]) -> None:
    os.environ.update(environment)
    if package is not None:
        os.environ["PYTHONPATH"] = str(package)
        sys.path.insert(0, str(package))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
