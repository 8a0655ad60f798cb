"""Notebooks that speak to the running services: on a real stack, from a kernel that is only a client."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import nbformat
import psutil
import pytest
from house import House, until
from jupyter_client import BlockingKernelClient

from arbig import ClientError, Desk
from arbig.domain.messages import Direction, Offset

pytestmark = pytest.mark.processes
ROOT = Path(__file__).parents[2]
SANITISE = Path(__file__).with_name("sanitise.cfg")
SETUP = """
from arbig import Desk
from arbig.domain.messages import Direction, Offset
desk = Desk()
desk.services
def do(verb, *words):
    if verb == "deploy":
        desk.deploy("gold_pulse", "au2512", {"window": 3}, risk={"max_position": 1})
    elif verb == "edit":
        desk.edit("GoldPulse", {"window": int(words[0])}, force=True)
    elif verb == "flatten":
        desk.flatten("GoldPulse")
    elif verb == "order":
        order = (Direction.LONG, Offset.OPEN, float(words[1]), 1)
        desk.live.ask(lambda client: client.send_order("au2512", *order, request_id=words[0]))
"""
CLIENT = f"""{SETUP}
import sys
print("ready", flush=True)
do(*sys.stdin.readline().split())
print("done", flush=True)
sys.stdin.readline()
"""
FEW = (("deploy", 0.02), ("deploy", 0.3), ("edit", 0.1), ("flatten", 0.01), ("order", 0.005))
MANY = (
    *(("deploy", moment) for moment in (0.0, 0.05, 0.1, 0.5, None)),
    *(("edit", moment) for moment in (0.0, 0.03, 0.2, 0.6, None)),
    *(("flatten", moment) for moment in (0.0, 0.005, 0.02, 0.1, None)),
    *(("order", moment) for moment in (0.0, 0.003, 0.01, 0.03, None)),
)
"""What a kernel is doing, and the seconds from its beginning to kill -9; None: just done."""
OF_JUPYTERLAB = (("deploy", 0.05), ("deploy", 0.5), ("edit", 0.1), ("flatten", 0.01), ("order", 0.005), ("order", None))
REST = "rests-all-the-time"


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


Killed = Callable[[House, str, float | None], None]


def killed(house: House, words: str, moment: float | None) -> None:
    """A kernel that is shot while it says this."""
    kernel = subprocess.Popen(
        [sys.executable, "-c", CLIENT], env=house.environment, cwd=house.home, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert kernel.stdin and kernel.stdout and kernel.stdout.readline() == "ready\n"
    kernel.stdin.write(f"{words}\n")
    kernel.stdin.flush()
    if moment is None:
        assert kernel.stdout.readline() == "done\n"
    else:
        time.sleep(moment)
    os.kill(kernel.pid, signal.SIGKILL)
    kernel.communicate()


def killed_with_jupyterlab(house: House, words: str, moment: float | None) -> None:
    """One of JupyterLab's own kernels says this when JupyterLab is shot; it does not outlive it."""
    token = (house.data / "run" / "jupyter_token").read_text().strip()
    address = f"http://127.0.0.1:{8888 + house.port_offset}/api/kernels"
    begin = lambda: httpx.post(address, headers={"Authorization": f"token {token}"}, json={}, trust_env=False)
    kernel = until(lambda: begin().raise_for_status().json(), 60, "JupyterLab starts a kernel")
    file = house.data / "run" / "jupyter" / f"kernel-{kernel['id']}.json"
    client = BlockingKernelClient(connection_file=str(file))
    client.load_connection_file()
    client.start_channels()
    until(lambda: client.kernel_info(reply=True, timeout=5), 60, "the kernel answers")
    reply = client.execute(SETUP, reply=True, timeout=60)
    assert reply["content"]["status"] == "ok", reply["content"]
    asked = f"do(*{words.split()!r})"
    if moment is None:
        client.execute(asked, reply=True, timeout=60)
    else:
        client.execute(asked)
        time.sleep(moment)
    house.kill("jupyter")
    client.stop_channels()
    lives = lambda: any(str(file) in " ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"]))
    until(lambda: not lives(), 30, "the kernel ends with its JupyterLab")


def low(desk: Desk) -> float:
    """A price at which an order rests, and that the price band lets pass."""
    return round(desk.tick("au2512").last_price * 0.992 / 0.02) * 0.02


def send(desk: Desk, name: str, price: float) -> None:
    order = (Direction.LONG, Offset.OPEN, price, 1)
    desk.live.ask(lambda client: client.send_order("au2512", *order, request_id=name))


def at_the_counter(house: House, name: str) -> int:
    """How many orders of this request the counter itself has."""
    found = house.ask("gateway", "GET", "/orders?fresh=true")["orders"]
    return sum(order.get("request_id") == name and order["status"] != "REJECTED" for order in found)


def reattached(house: House) -> Desk:
    """A new kernel's desk, and how long it took to know the house again."""
    begun = time.monotonic()
    desk = Desk(root=house.home, data=house.data)
    _ = desk.strategies, desk.working_orders
    print(f"re-attached in {time.monotonic() - begun:.2f} s")
    return desk


def write_gold_pulse(house: House) -> None:
    """As the author's notebook saves it."""
    cells = nbformat.read(ROOT / "notebooks" / "06_author_and_deploy.ipynb", as_version=4).cells
    source = next(cell.source for cell in cells if cell.source.startswith("%%strategy gold_pulse"))
    (house.home / "strategies" / "gold_pulse.py").write_text(source.partition("\n")[2])


def kill_at(house: House, moments: Sequence[tuple[str, float | None]], killed: Killed = killed) -> None:
    house.trades()
    write_gold_pulse(house)
    desk = reattached(house)
    send(desk, REST, low(desk))
    until(lambda: at_the_counter(house, REST) == 1, 20, "the resting order is at the counter")
    for number, (verb, moment) in enumerate(moments):
        name = f"{verb}-{number}-{moment}"
        about = {"edit": f" {3 + number}", "order": f" {name} {low(desk)}"}
        if verb != "order":
            desk.deploy("gold_pulse", "au2512", {"window": 3}, risk={"max_position": 1}, replace=True, force=True)
        if verb == "deploy":
            desk.stop("GoldPulse")
        killed(house, verb + about.get(verb, ""), moment)
        desk.close()
        desk = reattached(house)
        CHECKS[verb](house, desk, name, number)
        assert at_the_counter(house, REST) == 1, f"{name}: the order that worked"
        assert REST in set(desk.working_orders.request_id), f"{name}: the order that worked"
    desk.cancel(REST).wait(20)
    desk.stop("GoldPulse")
    desk.close()


def deployed_once(house: House, desk: Desk, name: str, number: int) -> None:
    again = desk.deploy("gold_pulse", "au2512", {"window": 3}, risk={"max_position": 1})
    until(lambda: again.state == "RUNNING", 20, f"{name}: it runs")
    run = again.now.run_id
    assert desk.deploy("gold_pulse", "au2512", {"window": 3}, risk={"max_position": 1}).now.run_id == run
    assert list(desk.strategies.index).count("GoldPulse") == 1


def edited_whole(house: House, desk: Desk, name: str, number: int) -> None:
    until(lambda: desk.deployed("GoldPulse").state == "RUNNING", 20, f"{name}: it runs")
    assert desk.deployed("GoldPulse").now.parameters["window"] in (3, 3 + number)
    assert desk.edit("GoldPulse", {"window": 3 + number}, force=True).now.parameters["window"] == 3 + number


def flattened_once(house: House, desk: Desk, name: str, number: int) -> None:
    if "GoldPulse" not in set(desk.orders.strategy_name):
        return
    desk.stop("GoldPulse")  # it would trade again as soon as it is flat
    assert desk.flatten("GoldPulse").wait(60) == "DONE"
    held = desk.owned.query("strategy_name == 'GoldPulse'").volume
    assert not held.any(), f"{name}: {held}"


def sent_once(house: House, desk: Desk, name: str, number: int) -> None:
    send(desk, name, low(desk))
    until(lambda: at_the_counter(house, name) == 1, 20, f"{name}: one order")
    assert desk.cancel(name).wait(20) == "CANCELLED"
    assert at_the_counter(house, name) == 1


CHECKS = {"deploy": deployed_once, "edit": edited_whole, "flatten": flattened_once, "order": sent_once}


def test_a_kernel_killed_while_it_speaks_leaves_everything_whole_or_undone(house: House) -> None:
    """Inside a deployment, a parameter change, a flatten, a POST, with an order working: none is lost or doubled, and
    whoever comes next goes on."""
    kill_at(house, FEW)


@pytest.mark.chaos
def test_a_kernel_killed_at_twenty_moments(house: House) -> None:
    kill_at(house, MANY)


@pytest.mark.chaos
def test_jupyterlab_killed_while_a_notebook_speaks_leaves_everything_whole_or_undone(house: House) -> None:
    kill_at(house, OF_JUPYTERLAB, killed_with_jupyterlab)


def test_the_cockpit_s_buttons_move_the_strategy_and_a_restart_of_web_fills_it_again(house: House, desk: Desk) -> None:
    cockpit = desk.cockpit()
    row = until(lambda: cockpit.rows.get("MaRsiStrategy"), 20, "the row of MaRsiStrategy")
    until(lambda: "connected" in cockpit._lamp.value, 10, "the lamp")
    row.buttons["pause"].click()
    until(lambda: desk.deployed("MaRsiStrategy").state == "PAUSED", 10, "paused")
    until(lambda: "PAUSED" in row._said.value and not row.buttons["resume"].disabled, 10, "the cockpit says so")
    other = Desk(root=house.home, data=house.data)
    second = other.cockpit()
    until(lambda: second.rows and second.rows["MaRsiStrategy"]._said.value == row._said.value, 10, "two show the same")
    until(lambda: "started: au2512" in row._log.value, 15, "its last log lines")
    for words, told in (("fast_window=0", "expected 1 to 500"), ("fast_window", "expected name=value")):
        row.parameters.value = words
        row.apply.click()
        row.apply.click()
        assert told in cockpit._message.value
    row.parameters.value = "fast_window=11"
    row.apply.click()
    assert desk.deployed("MaRsiStrategy").now.parameters["fast_window"] != 11, "the first click only asks"
    row.apply.click()
    assert desk.deployed("MaRsiStrategy").now.parameters["fast_window"] == 11
    until(lambda: "fast_window=11" in second.rows["MaRsiStrategy"].parameters.value, 10, "the other shows it too")
    second.close()
    other.close()
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
