"""The life of a service: real processes, a real Redis."""

from __future__ import annotations

import http.client
import json
import signal
from contextlib import closing

import psutil
import pytest

MARKET = """
class Market(Service):
    name = "market"
    def routes(self, app):
        @app.get("/hello")
        async def hello():
            return {"symbol": "au2512"}
    def status(self):
        return {"ticks_per_s": 250}
run(Market)
"""
TRADING = """
class Trading(Service):
    name = "trading"
    needs = "market"
run(Trading)
"""
CHILD = """
import time
from arbig.runtime.child import die_with_parent
die_with_parent()
print("born", flush=True)
time.sleep(60)
"""
SICK = """
class Market(Service):
    name = "market"
    async def start(self):
        self.spawn(self.fall_ill())
    async def fall_ill(self):
        raise ZeroDivisionError("a tick without a price")
run(Market)
"""
DOUBTFUL = """
class Market(Service):
    name = "market"
    def routes(self, app):
        @app.get("/hello")
        async def hello():
            raise StartAnew("the database went away with the answer to a commit")
run(Market)
"""


def answer(home, path, token=None, host=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with closing(http.client.HTTPConnection("127.0.0.1", home.settings.port("market"), timeout=5)) as line:
        line.request("GET", path, headers=headers | ({"Host": host} if host else {}))
        found = line.getresponse()
        return found.status, found.read().decode()


def events(home, service):
    lines = (home.settings.logs / f"{service}.jsonl").read_text().splitlines()
    return [json.loads(line)["event"] for line in lines]


def test_a_service_tells_whether_it_is_alive_to_all_and_the_rest_to_those_with_the_token(home, until):
    home.redis()
    home.service(MARKET)
    until(lambda: home.status("market").get("ready"))
    token = home.settings.token
    assert answer(home, "/health") == (200, '{"alive":true}')
    for path in ("/ready", "/status", "/metrics", "/hello", "/nothing"):
        assert answer(home, path)[0] == 401
        assert answer(home, path, token="wrong")[0] == 401
    assert answer(home, "/hello", token) == (200, '{"symbol":"au2512"}')
    assert 'arbig_ticks_per_s{service="market"} 250.0' in answer(home, "/metrics", token)[1]
    assert answer(home, "/health", host="evil.example:8003")[0] == 421


def test_each_waits_for_redis_and_for_the_one_before_it_and_says_for_whom(home, until):
    home.service(TRADING)
    until(lambda: home.status("trading").get("waits_for") == "redis")
    home.redis()
    until(lambda: home.status("trading").get("waits_for") == "market")
    assert home.status("trading")["ready"] is False
    home.service(MARKET)
    until(lambda: home.status("trading").get("ready"))


def test_when_redis_goes_away_a_service_says_so_once_and_goes_on_when_it_is_back(home, until):
    redis = home.redis()
    home.service(MARKET)
    until(lambda: home.status("market").get("ready"))
    redis.kill()
    until(lambda: home.status("market").get("redis") == "down")
    assert home.status("market")["ready"] is False
    redis.wait()
    home.redis()
    until(lambda: home.status("market").get("ready"))
    told = [event for event in events(home, "market") if "Redis" in event]
    assert len(told) == 2
    assert told[0].startswith("Redis is gone, waiting for it: ")
    assert told[1] == "Redis is back"


def test_a_background_task_that_dies_ends_the_service_loudly(home):
    home.redis()
    service = home.service(SICK)
    assert service.wait(20) == 1
    assert "ZeroDivisionError: a tick without a price" in (home.settings.logs / "market.jsonl").read_text()


def test_a_question_whose_commit_is_in_doubt_is_told_so_and_the_service_starts_anew(home, until):
    home.redis()
    service = home.service(DOUBTFUL)
    until(lambda: home.status("market").get("ready"))
    told = '{"detail":"the database went away with the answer to a commit"}'
    assert (503, told) == answer(home, "/hello", home.settings.token)
    assert service.wait(20) == 1
    assert events(home, "market")[-1].startswith("starting again to resynchronise: the database went away")


def test_sigterm_ends_a_service_cleanly_also_while_it_waits(home, until):
    home.redis()
    for source, name, key in ((TRADING, "trading", "waits_for"), (MARKET, "market", "ready")):
        service = home.service(source)
        until(lambda name=name, key=key: home.status(name).get(key))
        service.send_signal(signal.SIGTERM)
        assert service.wait(10) == 0


def test_a_port_in_use_is_one_line_that_names_it(home, until):
    home.redis()
    home.service(MARKET)
    until(lambda: home.status("market").get("ready"))
    second = home.service(MARKET)
    assert second.wait(20) == 78
    assert "port 15003 is in use; stop what holds it, or run: arbig up --port-offset 100" in second.stderr.read()


def test_a_wrong_setting_ends_a_service_with_one_line_before_it_begins(home):
    (home.settings.config / "redis_config.yaml").write_text("host: localhost\nport: abc\n")
    service = home.service(MARKET)
    assert service.wait(20) == 78
    assert service.stderr.read() == (
        "arbig market: config/redis_config.yaml: port: found 'abc', expected an integer; write e.g. port: 6379\n"
    )


def test_a_wrong_password_of_an_outside_redis_is_said_while_it_waits(home, until):
    home.redis()
    port = home.settings.port("redis")
    (home.settings.config / "redis_config.yaml").write_text(
        f"host: localhost\nport: {port}\nembedded: false\nusername: gateway\npassword: wrong\n"
    )
    home.service(MARKET)
    until(lambda: (home.settings.logs / "market.jsonl").exists() and events(home, "market"), 30)
    assert "refuses user 'gateway': wrong user name or password" in events(home, "market")[0]


@pytest.mark.parametrize(("plan", "passes"), [("market.beat:3", 3), ("market.beat", 1), ("other:1", None)])
def test_a_crash_point_ends_the_process_at_the_pass_it_is_told(home, plan, passes):
    process = home.service(
        "from arbig.runtime.crash import crash_point\n"
        "for number in range(1, 6):\n"
        "    print(number, file=sys.stderr, flush=True)\n"
        "    crash_point('market.beat')\n",
        ARBIG_CRASH=plan,
    )
    said = process.stderr.read().split()
    assert (process.wait(), len(said)) == ((137, passes) if passes else (0, 5))


def test_a_child_dies_with_its_parent(home, until):
    parent = home.service(
        "import subprocess, time\n"
        f"process = subprocess.Popen([sys.executable, '-c', {CHILD!r}], stdout=subprocess.PIPE)\n"
        "process.stdout.readline()\n"
        "print(process.pid, file=sys.stderr, flush=True)\n"
        "time.sleep(60)\n"
    )
    child = psutil.Process(int(parent.stderr.readline()))
    parent.kill()
    parent.wait()
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 5)
