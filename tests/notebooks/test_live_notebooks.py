"""Notebooks that speak to the running services: on a real stack, from a kernel that is only a client."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House, until

from arbig import ClientError, Desk

pytestmark = pytest.mark.processes
ROOT = Path(__file__).parents[2]
SANITISE = Path(__file__).with_name("sanitise.cfg")
CLIENT = """
import os, sys
from arbig import Desk
desk = Desk()
print("ready", flush=True)
sys.stdin.readline()
desk.deploy("gold_pulse", "au2512", {"window": 3}, risk={"max_position": 1})
print("deployed", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def desk(house: House) -> Iterator[Desk]:
    desk = Desk(root=house.home, data=house.data)
    yield desk
    desk.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("live"), port_offset=2700)
    shutil.copytree(ROOT / "notebooks", house.home / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    shutil.copy(ROOT / "config" / "schedule.yaml", house.config)
    house.edit("market.yaml", history_days=2)
    with house.running():
        yield house


def shows_again(house: House, name: str) -> None:
    """nbval runs every cell and compares its output; cells whose output may differ are marked one by one."""
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "-q"),
            *(f"--nbval-sanitize-with={SANITISE}", "--nbval-cell-timeout=150", f"--rootdir={house.home}"),
            str(house.home / "notebooks" / f"{name}.ipynb"),
        ],
        cwd=house.home / "notebooks",
        env={**house.environment, "HOME": str(house.home), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]


def test_a_strategy_is_written_deployed_and_taken_out_again_in_a_notebook(house: House) -> None:
    shows_again(house, "06_author_and_deploy")


def test_a_kernel_killed_in_the_middle_of_a_deployment_leaves_a_whole_one_or_none(house: House, desk: Desk) -> None:
    """Five moments from the call on; whoever comes next finds one run and can go on with it."""
    for moment in (0.0, 0.02, 0.1, 0.4, None):
        kernel = subprocess.Popen(
            [sys.executable, "-c", CLIENT], env=house.environment, cwd=house.home, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert kernel.stdin and kernel.stdout and kernel.stdout.readline() == "ready\n"
        kernel.stdin.write("\n")
        kernel.stdin.flush()
        if moment is None:
            assert kernel.stdout.readline() == "deployed\n"
        else:
            time.sleep(moment)
        os.kill(kernel.pid, signal.SIGKILL)
        kernel.communicate()
        again = desk.deploy("gold_pulse", "au2512", {"window": 3}, risk={"max_position": 1})
        until(lambda run=again: run.state == "RUNNING", 20, "the strategy runs")
        assert list(desk.strategies.index).count("GoldPulse") == 1
        first = again.now.run_id
        assert desk.deploy("gold_pulse", "au2512", {"window": 3}, risk={"max_position": 1}).now.run_id == first
        again.stop()
        until(lambda: desk.working_orders.query("strategy_name == 'GoldPulse'").empty, 20, "its orders are cancelled")


def test_the_cockpit_s_buttons_move_the_strategy_and_a_restart_of_web_fills_it_again(house: House, desk: Desk) -> None:
    cockpit = desk.cockpit()
    row = until(lambda: cockpit.rows.get("MaRsiStrategy"), 20, "the row of MaRsiStrategy")
    until(lambda: "connected" in cockpit._lamp.value, 10, "the lamp")
    row.buttons["pause"].click()
    until(lambda: desk.deployed("MaRsiStrategy").state == "PAUSED", 10, "paused")
    until(lambda: "PAUSED" in row._said.value and not row.buttons["resume"].disabled, 10, "the cockpit says so")
    house.kill("web")
    until(lambda: "no data" in cockpit._lamp.value, 20, "the lamp goes dark")
    until(lambda: "connected" in cockpit._lamp.value, 30, "and comes back")
    row.stop.click()
    assert desk.deployed("MaRsiStrategy").state == "PAUSED", "the first click only asks"
    row.stop.click()
    until(lambda: "STOPPED" in row._said.value and row.stop.disabled, 10, "stopped")
    cockpit.close()


def test_a_wrong_token_is_one_line(desk: Desk) -> None:
    desk.live._token = "f" * 64
    with pytest.raises(ClientError, match="wrong token: expected the content of data/run/token"):
        _ = desk.positions


def test_a_notebook_says_what_it_wants_once_and_the_daily_report_tells_the_day(house: House) -> None:
    shows_again(house, "08_schedule")
    shows_again(house, "10_daily_report")


def test_a_notebook_watches_the_house_flattens_a_strategy_and_halts_everything(house: House, desk: Desk) -> None:
    """The last one: it leaves the house halted, at the last door too."""
    shows_again(house, "07_live_desk")
    assert house.ask("gateway", "GET", "/state")["state"] == "HALTED"
    assert desk.live.ask(lambda client: client.status()).trading_state == "HALTED"
    assert desk.working_orders.empty
