"""Crash points: one list, and every point of it stands somewhere."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from arbig.runtime.crash import BESIDE, EXIT_CODE, POINTS, STEPS

SOURCES = Path(__file__).parents[2] / "platform" / "arbig"
PASSES = """
import time
from arbig.runtime.crash import crash_point
while True:
    crash_point("gw.after_send")
    time.sleep(0.01)
"""


def test_every_point_of_the_list_stands_in_the_code_and_no_other_does():
    found = {
        name
        for path in SOURCES.rglob("*.py")
        for name in re.findall(r'\bcrash_point(?:\(|, )"([^"]+)"\)', path.read_text())
    }
    assert found == {point.name for point in POINTS}
    assert len(POINTS) == len({point.name for point in POINTS})


def test_every_step_of_an_order_has_a_point():
    assert set(STEPS) == {point.step for point in POINTS} - {BESIDE}


def test_a_running_process_is_told_where_to_stand_still_and_where_to_die(tmp_path):
    """It leaves the point's name; the next process passes there unharmed."""
    file = tmp_path / "crash"
    process = subprocess.Popen([sys.executable, "-c", PASSES], env={**os.environ, "ARBIG_CRASH": f"@{file}"})
    try:
        write(file, "gw.after_send:2:stop")
        assert os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1])
        assert ("gw.after_send", False) == (file.with_suffix(".hit").read_text(), file.exists())
        process.send_signal(signal.SIGCONT)
        time.sleep(0.1)
        assert process.poll() is None
        write(file, "gw.after_send")
        assert process.wait(10) == EXIT_CODE
    finally:
        process.kill()


def write(file, words):
    """Whole or not at all."""
    fresh = file.with_suffix(".new")
    fresh.write_text(words)
    fresh.replace(file)
