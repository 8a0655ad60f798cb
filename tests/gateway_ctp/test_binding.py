"""vnpy_ctp's real binding, where it is built: our subclasses load, speak and survive a front that is not there.

In a process of its own: what the library does wrong ends that process, not the tests.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from arbig.gateway.ctp.api import real_apis
from arbig.runtime.broker import CHINESE
from arbig.runtime.settings import SettingsError

PROBE = Path(__file__).parents[1] / "support" / "ctp_probe.py"


def run_probe(place: Path, flow: Path, heard: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROBE), str(flow), str(heard)]
    environment = os.environ | {"LOCPATH": str(place)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


def can_be_built() -> bool:
    headers = Path(sysconfig.get_path("include")) / "Python.h"
    return platform.system() == "Linux" and shutil.which("c++") is not None and headers.exists()


def test_the_real_binding_loads_connects_and_hears_that_nobody_is_there(tmp_path: Path) -> None:
    """Where compiler or locale are missing, the machine is told so in one line and nothing is aborted."""
    place = tmp_path / "locales"
    place.mkdir()
    made = subprocess.run(["localedef", "-i", "zh_CN", "-f", "GB18030", str(place / CHINESE)],
                          capture_output=True, text=True, check=False)  # fmt: skip
    heard = tmp_path / "heard"
    found = run_probe(place, tmp_path / "flow", heard)
    assert found.returncode == 0, found.stdout + found.stderr
    told = heard.read_text()
    if told.startswith("missing: "):
        print(told)
        assert made.returncode != 0 or not can_be_built(), "make built it not: rm .venv/.tested && make test"
    else:
        assert told == "heard: a front that hangs up 0x1001, a closed port nothing; connected: False; refused: no order"


def test_a_machine_without_the_library_says_what_mends_it() -> None:
    try:
        assert real_apis().end_with_process
    except SettingsError as error:
        assert "pip install" in str(error) or "localedef" in str(error)
        assert "\n" not in str(error)
