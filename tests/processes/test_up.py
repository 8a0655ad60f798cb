"""One command up, one command down: real processes, and bad input that leaves nothing half-started."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from house import ARBIG, House, until
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from arbig.bus.redis import RedisBus
from arbig.runtime.settings import load_settings
from arbig.store.trail import Trail

pytestmark = pytest.mark.processes

OFFSET = 7600
PORTS = {
    "gateway": 8000,
    "market": 8003,
    "trading": 8001,
    "strategy": 8002,
    "scheduler": 8004,
    "web": 8080,
    "console": 5006,
    "jupyter": 8888,
}
SERVICES = ["redis", "exchange", "gateway", "market", "trading", "strategy", "web", "scheduler", "console", "jupyter"]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory):
    """A house as it comes, with what `arbig up` printed."""
    house = House(tmp_path_factory.mktemp("up"), port_offset=OFFSET)
    house.environment["ARBIG_PORT_OFFSET"] = str(OFFSET)
    said = house.arbig("up", "--detach").stdout
    yield house, said
    house.arbig("down", check=False)


@pytest.fixture
def idle(tmp_path: Path) -> House:
    """A house that does not run."""
    return House(tmp_path, port_offset=3200)


def processes_of(house: House) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("ARBIG_DATA") == str(house.data):
                found.append(process)
        except psutil.Error:
            continue
    return found


def refusal(house: House, *words: str) -> str:
    """The one line with which `arbig up` refuses; afterwards nothing runs."""
    done = house.arbig("up", "--detach", "--port-offset", str(house.port_offset), *words, check=False)
    assert (done.returncode, processes_of(house)) == (1, [])
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.removeprefix("arbig: ").strip()


def test_up_starts_everything_in_order_and_prints_links_that_log_in_once(up):
    _, said = up
    became = re.findall(r"^  (\w+) +ready", said, re.M)
    assert became[:7] == SERVICES[:7]
    assert sorted(became[7:]) == sorted(SERVICES[7:])  # all begin when Web is ready
    for place in ("console", "JupyterLab"):
        link = re.search(rf"{place} +(http\S+)", said)[1]
        assert "token" not in link
        with httpx.Client(follow_redirects=False, trust_env=False) as browser:
            assert browser.get(link).status_code in (302, 303)
        with httpx.Client(follow_redirects=True, trust_env=False) as browser:
            assert "/login" in str(browser.get(link).url)


def test_status_names_every_service_with_pid_port_health_and_lag(up):
    house, _ = up
    found = house.status()
    assert [row["name"] for row in found["services"]] == SERVICES
    assert all(row["healthy"] and psutil.pid_exists(row["pid"]) for row in found["services"])
    ports = {row["name"]: row["port"] for row in found["services"] if row["name"] not in ("redis", "exchange")}
    assert ports == {name: port + OFFSET for name, port in PORTS.items()}
    until(lambda: all(row["lag"] is not None for row in house.status()["services"][2:6]), 10, "every lag")
    assert (found["connection"], found["trading_state"]) == ("CONNECTED", "ACTIVE")
    assert {"orders_today", "trades_today"} <= found.keys()
    table = house.arbig("status").stdout
    assert re.match(
        r"exchange CONNECTED  trading ACTIVE  time 2025-\d\d-\d\d \d\d:\d\d:\d\d "
        r"\(trading day 2025-\d\d-\d\d\)  orders today \d+  trades today \d+\n",
        table,
    )
    assert found["alarms"] == []
    assert re.search(r"service +pid +port +health +uptime +last heartbeat +stream lag +ticks/s", table)


def test_notebooks_and_the_console_give_way_to_the_trading_chain(up):
    house, _ = up
    nice = lambda *names: [psutil.Process(house.pid(name)).nice() for name in names]
    assert min(nice("jupyter", "console")) > max(nice("gateway", "market", "trading", "strategy"))


def test_a_second_copy_on_the_same_data_folder_is_refused_in_one_line(up):
    house, _ = up
    done = house.arbig("up", "--detach", "--port-offset", str(OFFSET + 100), check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "a copy of ARBIG already runs here (pid" in done.stderr
    assert all(row["healthy"] for row in house.status()["services"])


def test_one_service_is_restarted_and_the_others_stay(up):
    house, _ = up
    before = {row["name"]: row["pid"] for row in house.status()["services"]}
    assert house.arbig("restart", "market").stdout == "market is ready\n"
    after = {row["name"]: row["pid"] for row in house.status()["services"]}
    assert {name for name in before if before[name] != after[name]} == {"market"}
    assert "no service 'markte'. Did you mean: market?" in house.arbig("restart", "markte", check=False).stderr


def test_the_logs_of_all_services_are_read_in_one_place(up):
    house, _ = up
    lines = house.arbig("logs", "--grep", "ready").stdout.splitlines()
    assert {"gateway", "market", "trading", "strategy", "web"} <= {line.split()[2] for line in lines}
    assert lines == sorted(lines, key=lambda line: line[:12])
    assert all(" market " in line for line in house.arbig("logs", "market").stdout.splitlines())


def test_the_embedded_redis_answers_a_reader_and_refuses_what_a_reader_may_not(up):
    house, _ = up
    assert isinstance(house.redis("XLEN", "stream:trade"), int)
    done = house.arbig("redis", "--json", "XADD", "stream:cmd", "*", "data", "{}", check=False)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def secrets_of(house: House) -> dict[str, str]:
    """Every word of this house that opens something, by where it stands."""
    run = house.data / "run"
    words = {name: (run / name).read_text().strip() for name in ("token", "secret", "jupyter_token")}
    return words | {
        f"redis {user}": word for user, word in json.loads((run / "redis.json").read_text())["users"].items()
    }


PLACE_OF_SECRETS = ("run/token", "run/secret", "run/jupyter_token", "run/redis.json", "run/jupyter/")


def test_no_secret_stands_in_any_file_stream_or_command_line(up):
    """Invariant I11, over the whole data folder: logs, databases, journals, bars, Redis' own file."""
    house, _ = up
    house.ask("web", "POST", f"/login?ticket={secrets_of(house)['token']}")
    secrets = {word.encode() for word in secrets_of(house).values()}
    assert len(secrets) > 8
    texts = {process.name(): " ".join(process.cmdline()).encode() for process in processes_of(house)}
    texts["status"] = json.dumps(house.ask("web", "GET", "/api/v1/status")).encode()
    texts["doctor"] = house.arbig("doctor", check=False).stdout.encode()
    for path in house.data.rglob("*"):
        shown = str(path.relative_to(house.data))
        if path.is_file() and not shown.startswith(PLACE_OF_SECRETS):
            texts[shown] = path.read_bytes()
    assert {"logs/web.jsonl", "db/trading.db", "db/gateway.db", "run/redis.acl"} <= texts.keys()
    assert any(name.startswith("redis/appendonlydir/") for name in texts)
    assert [name for name, text in texts.items() if any(word in text for word in secrets)] == []


def test_what_holds_a_secret_is_for_us_alone(up):
    house, _ = up
    run = house.data / "run"
    assert run.stat().st_mode & 0o777 == 0o700
    files = [run / name for name in ("token", "secret", "jupyter_token", "redis.json", "redis.acl")]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_console_jupyter_and_their_websockets_are_closed_to_strangers_foreign_pages_and_other_names(up):
    console, jupyter = (f"127.0.0.1:{PORTS[name] + OFFSET}" for name in ("console", "jupyter"))
    rooms = {console: "/console", jupyter: "/lab"}
    with httpx.Client(follow_redirects=False, trust_env=False) as stranger:
        assert [302, 302] == [stranger.get(f"http://{host}{path}").status_code for host, path in rooms.items()]
        assert [403, 403] == [
            stranger.get(f"http://{jupyter}/api/{what}").status_code for what in ("contents", "kernels")
        ]
        for host, path in rooms.items():
            found = stranger.get(f"http://{host}{path}", headers={"Host": f"evil.example:{host[-4:]}"})
            assert found.status_code in (403, 421), host
    sockets = {console: "/console/ws", jupyter: "/api/events/subscribe"}
    for host, path in sockets.items():
        for origin in (f"http://{host}", "http://evil.example", f"http://{host}.evil.example"):
            with pytest.raises(InvalidStatus) as refused, connect(f"ws://{host}{path}", origin=origin):
                pass
            assert refused.value.response.status_code in (401, 403), (host, origin)


def test_no_page_and_no_kernel_is_given_a_secret_by_its_environment(up):
    """What a process was started with, its children inherit: console and JupyterLab, and with it every kernel."""
    house, _ = up
    settings = load_settings(root=house.home, data=house.data)
    passwords = json.loads((settings.run / "redis.json").read_text())["users"].values()
    secrets = (settings.token, settings.viewer_token, settings.secret, *passwords)
    for name in ("console", "jupyter"):
        given = Path(f"/proc/{house.pid(name)}/environ").read_text()
        assert [] == [secret for secret in secrets if secret in given], name


def test_a_viewer_comes_into_the_console_and_not_into_a_notebook(up):
    house, _ = up
    found = house.arbig("links", "--viewer").stdout
    link = re.search(r"http://\S+", found)
    assert link is not None and "viewer_token" in found
    jupyter = f"http://127.0.0.1:{8888 + OFFSET}/lab"
    with httpx.Client(trust_env=False, timeout=20) as browser:
        console = browser.get(link.group(), follow_redirects=True)
        assert (200, "/console") == (console.status_code, console.url.path)
        turned_away = browser.get(jupyter)
        assert (302, True) == (turned_away.status_code, "/login" in turned_away.headers["location"])
        orders = f"http://127.0.0.1:{8080 + OFFSET}/api/v1/orders"
        assert 403 == browser.delete(f"{orders}/1", headers={"Origin": orders[:21], "X-Arbig": "1"}).status_code


def test_who_did_what_is_in_the_audit_trail(up):
    house, _ = up
    for state in ("REDUCING", "ACTIVE"):
        house.ask("trading", "POST", "/state", {"state": state, "reason": "lunch"})
    trail = Trail(house.data / "db" / "audit.db")
    rows = {(row.action, row.what) for row in trail.rows()}
    assert {("log in", "by ticket -> 303"), ("up", "gateway sim, mode paper, account sim")} <= rows
    said = [what for action, what in rows if action == "state"]
    assert any(re.fullmatch(r"REDUCING \(number \d+\): lunch", what) for what in said), rows
    assert "limits" in {action for action, _ in rows}
    assert trail.broken() is None


CONSUMERS = ("gateway", "market", "trading", "strategy")


def pids_of(house: House) -> dict[str, int]:
    return {name: house.ask(name, "GET", "/status")["pid"] for name in CONSUMERS}


def as_admin(house: House, *command: str) -> Any:
    async def tell() -> Any:
        bus = await RedisBus.connect(load_settings(root=house.home, data=house.data).redis_for("admin"))
        try:
            return (await bus.call(command))[0]
        finally:
            await bus.close()

    return asyncio.run(tell())


def test_a_full_redis_is_down_for_every_service_and_ends_none_of_them(up):
    house, _ = up
    log = house.data / "logs" / "trading.jsonl"
    before, said = pids_of(house), log.read_text().count("is out of memory")
    as_admin(house, "CONFIG", "SET", "maxmemory", "1mb")
    try:
        down = lambda: all(house.ask(name, "GET", "/status")["redis"] == "down" for name in CONSUMERS)
        until(down, 20, "every service says that Redis is down")
    finally:
        as_admin(house, "CONFIG", "SET", "maxmemory", "0")
    until(lambda: all(house.ask(name, "GET", "/ready")["ready"] for name in CONSUMERS), 20, "every service is ready")
    assert before == pids_of(house)
    assert 1 <= log.read_text().count("is out of memory") - said <= 5


def test_an_emptied_redis_is_noticed_and_the_day_is_said_again_without_leaving_the_counter(up):
    house, _ = up
    gateway = pids_of(house)["gateway"]
    before = house.ask("gateway", "GET", "/clock")["epoch"]
    as_admin(house, "FLUSHALL")
    until(lambda: house.ask("gateway", "GET", "/clock")["epoch"] not in (None, before), 20, "another epoch")

    def is_one_house_again() -> bool:
        clock, positions = house.ask("gateway", "GET", "/clock"), house.ask("trading", "GET", "/positions")
        state, ready = house.ask("trading", "GET", "/state"), house.ask("strategy", "GET", "/ready")
        return clock["epoch"] == positions["epoch"] and state["state"] == "ACTIVE" and ready["ready"]

    until(is_one_house_again, 60, "Trading and Strategy have resynchronised, ACTIVE")
    assert gateway == pids_of(house)["gateway"]
    journal = house.database("db/gateway.db")
    today = "trading_day = (SELECT max(trading_day) FROM events)"
    for kind in ("order_status", "trade", "position"):
        count = f"SELECT count(*) FROM events WHERE kind = '{kind.split('_')[0]}' AND {today}"
        told = lambda stream=f"stream:{kind}", count=count: (
            as_admin(house, "XLEN", stream) >= journal.execute(count).fetchone()[0]
        )
        until(told, 10, f"every {kind} of the day stands in its stream again")
    journal.close()


def test_leftovers_of_a_copy_whose_supervisor_was_killed_are_ended_before_the_next_one_starts(up):
    house, _ = up
    supervisor = psutil.Process(int((house.data / "run" / "lock").read_text()))
    supervisor.kill()
    supervisor.wait(10)
    house.arbig("up", "--detach")
    assert all(row["healthy"] for row in house.status()["services"])


def test_down_leaves_no_process_and_can_be_said_twice(up):
    house, _ = up
    assert house.arbig("down").stdout == "everything is down\n"
    assert processes_of(house) == []
    assert "nothing ran here" in house.arbig("down").stdout
    found = house.arbig("status", "--json", check=False)
    assert found.returncode == 1
    assert '"healthy": true' not in found.stdout


BAD_FILES = {
    "redis_config.yaml": {
        "host: localhost\nport: abc": "port: found 'abc', expected an integer; write e.g. port: 6379",
        "host: localhost": "port: missing, expected an integer; write e.g. port: 6379",
        "host: localhost\nport: 1\nhots: 1": "hots: unknown key. Did you mean: host?",
        "host: [a": "line 2, column 1: not YAML: expected ',' or ']', but got '<stream end>'; write key: value lines",
    },
    "risk.yaml": {"order_rate: {": "line 2, column 1: not YAML: expected the node content, but found '<stream end>'"},
    "strategies/ma_rsi.yaml": {"symbol: a\nsymbol: b": "line 2, column 1: not YAML: key 'symbol' stands twice"},
}


@pytest.mark.parametrize(
    ("name", "text", "expected"), [(n, t, e) for n, all_ in BAD_FILES.items() for t, e in all_.items()]
)
def test_a_bad_file_is_one_line_and_nothing_starts(idle, name, text, expected):
    (idle.config / name).write_text(text + "\n")
    assert refusal(idle).startswith(f"config/{name}: {expected}")


def test_a_file_that_only_its_service_can_judge_takes_everything_down_again(idle):
    idle.edit("risk.yaml", order_rate={"per_second": "three", "per_minute": 600})
    done = idle.arbig("up", "--detach", "--port-offset", str(idle.port_offset), check=False)
    assert done.returncode == 1
    until(lambda: not processes_of(idle), 5, "nobody left; a child just born dies with its parent")
    assert "trading does not start:" in done.stderr
    assert "config/risk.yaml: order_rate.per_second: found 'three', expected" in done.stderr


def test_a_start_that_is_told_to_end_takes_down_what_it_has_begun(idle):
    words = [ARBIG, "up", "--port-offset", str(idle.port_offset)]
    starting = subprocess.Popen(words, env=idle.environment, cwd=idle.home, stdout=subprocess.PIPE, text=True)
    assert "redis" in starting.stdout.readline()
    starting.send_signal(signal.SIGTERM)
    starting.communicate(timeout=60)
    assert starting.returncode == 128 + signal.SIGTERM
    until(lambda: not processes_of(idle), 5, "nobody left; a child just born dies with its parent")


def test_a_host_without_web_stays_up_and_says_where_the_links_are(idle):
    """Asking a Web that is not there for links once took the host's services down again."""
    idle.environment["ARBIG_SERVICES"] = "redis,exchange"
    words = [ARBIG, "up", "--port-offset", str(idle.port_offset)]
    with subprocess.Popen(words, env=idle.environment, cwd=idle.home, stdout=subprocess.PIPE, text=True) as running:
        said = [running.stdout.readline() for _ in range(4)]
        running.terminate()
        said.append(running.stdout.read())
    assert re.findall(r"^  (\w+) +ready", "".join(said), re.M) == ["redis", "exchange"]
    assert said[2:4] == ["Web is on another host; there: arbig links\n", "Ctrl-C takes everything down.\n"]
    assert said[4].endswith("everything is down\n")
    until(lambda: not processes_of(idle), 5, "nobody left")


def test_a_port_in_use_is_named_with_its_holder_and_the_mend(idle):
    with socket.create_server(("127.0.0.1", 8001 + idle.port_offset)):
        said = refusal(idle)
    assert re.fullmatch(
        rf"port 11201 \(trading\) is in use by pid {os.getpid()} \(.+\); stop that, "
        r"or choose other ports: arbig up --port-offset 3300",
        said,
    )


def test_a_data_folder_that_cannot_be_one_is_refused(idle):
    idle.data.write_text("not a folder")
    assert refusal(idle) == f"{idle.data}: File exists; a folder we may write to is needed, give one: --data DIR"


def test_a_data_folder_that_cannot_be_written_is_refused(idle):
    said = refusal(idle, "--data", "/proc/arbig/data")
    assert re.fullmatch(r"/proc/arbig/data: .+; a folder we may write to is needed, give one: --data DIR", said)


def test_an_outside_redis_that_is_not_there_is_one_line(idle):
    idle.edit("redis_config.yaml", embedded=False, port=1)
    assert refusal(idle).startswith("Redis localhost:1 is not there; ")


def test_doctor_names_what_is_missing_and_the_line_that_mends_it(idle):
    with socket.create_server(("127.0.0.1", 8080)):
        said = idle.arbig("doctor", check=False)
    assert said.returncode == 1
    assert re.search(r"^fail ports: port 8080 \(web\) is in use by pid \d+", said.stdout, re.M)
    assert re.search(r"^ok   Redis: embedded, ", said.stdout, re.M)
    assert re.search(r"^(ok   CTP: vnpy_ctp 6|warn CTP: .*; mend: .*(pip|apt-get) install)", said.stdout, re.M)
    for line in said.stdout.splitlines():
        assert re.match(r"ok   |(warn|fail) .*(; mend: |; stop that)", line), line
