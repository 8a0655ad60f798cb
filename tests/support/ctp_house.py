"""A house on a broker's counter: the counter's truth a process of its own, the Gateway on its double."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

from counter_double import Control
from house import House

SUPPORT = Path(__file__).parent
PYTHON_PATH = os.pathsep.join(filter(None, (str(SUPPORT), os.environ.get("PYTHONPATH"))))
AT = datetime(2025, 10, 14, 21, 1)
STEP = timedelta(seconds=1)
STEPS_A_SECOND = 15


class Counter:
    """The truth, its time passing on a thread of the test."""

    def __init__(self, house: House, path: Path) -> None:
        words = [str(path), str(house.home), str(house.config), str(house.data), AT.isoformat()]
        self._process = subprocess.Popen(
            [sys.executable, str(SUPPORT / "counter_double.py"), *words], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True, env=house.environment | {"PYTHONPATH": PYTHON_PATH},
        )  # fmt: skip
        assert self._process.stdout is not None and self._process.stdout.readline() == "ready\n"
        self._path, self._now, self._ended = path, AT, threading.Event()
        self.control = Control(path)
        self._thread = threading.Thread(target=self._pass_time)
        self._thread.start()

    def _pass_time(self) -> None:
        control = Control(self._path)
        while not self._ended.wait(1 / STEPS_A_SECOND):
            self._now += STEP
            control.ask("advance_to", self._now.isoformat())
        control.close()

    def stand_still(self) -> None:
        """So that money can be compared."""
        self._ended.set()
        self._thread.join()

    def close(self) -> None:
        self.stand_still()
        self.control.close()
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@contextmanager
def standing(house: House, counter: Path, *pages: str) -> Iterator[House]:
    """As `arbig up`, with the other Gateway, and of the pages only these."""
    house.environment |= {
        "ARBIG_CONFIG": str(house.config), "ARBIG_PORT_OFFSET": str(house.port_offset), "PYTHONPATH": PYTHON_PATH,
        "ARBIG_TEST_COUNTER": str(counter), "ARBIG_TEST_PAGES": " ".join(pages),
    }  # fmt: skip
    command = [sys.executable, str(SUPPORT / "ctp_stack.py")]
    supervisor = subprocess.Popen(command, env=house.environment, cwd=house.home)
    try:
        yield house
    finally:
        house.arbig("down", check=False)
        supervisor.wait(30)


def is_trading(house: House) -> bool:
    """Asked at their own doors: a status of the command line costs a start of Python."""
    ready = [house.ask(name, "GET", "/ready")["ready"] for name in ("gateway", "market", "trading", "strategy")]
    said = house.ask("gateway", "GET", "/status"), house.ask("trading", "GET", "/status")
    return all(ready) and said[0]["connected"] and said[1]["trading_state"] == "ACTIVE"
