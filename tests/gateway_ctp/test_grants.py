"""Real money, unattended: a scheduled notebook trades at the broker's counter under a grant given beforehand, and no
further. What reached the counter is asked of the counter itself."""

from __future__ import annotations

import getpass
import json
import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import nbformat
import pytest
from ctp_house import Counter, is_trading, standing
from house import House, until
from nbformat.v4 import new_code_cell, new_notebook

from arbig import ClientError, Desk
from arbig.domain.messages import SHANGHAI

pytestmark = [pytest.mark.processes, pytest.mark.chaos, pytest.mark.timeout(400)]
WANTS = """
from arbig import Desk
wish = Desk().target("au2512", {lots}, intent="{{trading_day}}-{lots}")
print(wish.wait(60))
"""
ROAMS = """
from arbig import Desk
from arbig.domain.messages import Direction, Offset
desk = Desk()
buy = ("au2512", Direction.LONG, Offset.OPEN, round(desk.tick("au2512").last_price, 2), 1)
DEEDS = (
    lambda: desk.deploy("QuietStrategy", "au2512", mode="live", strategy_name="Own", confirm="Own"),
    lambda: desk.start("Idle"),
    lambda: desk.roll("Quiet", "au2602"),
    lambda: desk.live.ask(lambda client: client.send_order(*buy)),
    lambda: desk.schedule.grant("roams", 50, "2030-01-01"),
    lambda: desk.target("au2512", 1, "x", strategy_name="another"),
)
for deed in DEEDS:
    try:
        print("DONE", deed())
    except Exception as error:
        print(type(error).__name__, error)
desk.pause("Quiet")
"""
EDITS = """
from arbig import Desk
desk = Desk()
for name in ("Quiet", "Unbounded"):
    try:
        print(desk.edit(name, {"pace": 7}).now.parameters)
    except Exception as error:
        print(type(error).__name__, error)
"""
REPORTS = "from arbig import Desk\nprint(f'{Desk().account.balance:.0f} yuan')"
NOTEBOOKS = {f"wants_{lots}": WANTS.format(lots=lots) for lots in (1, 2, 3)} | {
    "roams": ROAMS,
    "edits": EDITS,
    "reports": REPORTS,
}
QUIET = """
from arbig import CtaTemplate
class QuietStrategy(CtaTemplate):
    pace = 1
    parameters = ["pace"]
    def on_init(self): pass
"""
QUIET_ONES: dict[str, dict[str, Any]] = {
    "Quiet": {"risk": {"max_position": 2}},
    "Unbounded": {},
    "Idle": {"enabled": False},
}
NEVER = {"cron": "0 3 1 1 *", "days": "all", "mode": "live"}
ENTRIES: dict[str, dict[str, Any]] = {
    "ungranted": {"notebook": "wants_1"},
    "granted": {"notebook": "wants_2"},
    "greedy": {"notebook": "wants_3"},
    "revoked": {"notebook": "wants_1"},
    "expired": {"notebook": "wants_1"},
    "roams": {"notebook": "roams"},
    "edits": {"notebook": "edits", "mode": "paper"},
    "report": {"notebook": "reports", "mode": "paper"},
    "report_with_a_grant": {"notebook": "reports", "mode": "paper"},
}


def schedule(house: House, **changes: dict[str, Any]) -> None:
    entries = {name: NEVER | entry | changes.get(name, {}) for name, entry in ENTRIES.items()}
    (house.config / "schedule.yaml").write_text(json.dumps({"schedule": entries}))


def made(home: Path) -> House:
    house = House(home, 4350)
    house.edit("arbig.yaml", gateway="ctp", mode="live", account_id="broker-1", symbols=["au2512"])
    house.edit("simulation.yaml", history_days=0)
    house.edit("holidays.yaml", years={year: [f"{year}-01-01"] for year in range(2027, datetime.now().year + 2)})
    for path in (house.config / "strategies").glob("*.yaml"):
        path.unlink()
    (house.home / "strategies" / "quiet.py").write_text(QUIET)
    for name, values in QUIET_ONES.items():
        what = {"strategy_name": name, "class_name": "QuietStrategy", "symbol": "au2512"}
        house.edit(f"strategies/{name}.yaml", **what, **values)
    (house.home / "notebooks").mkdir()
    for name, text in NOTEBOOKS.items():
        nbformat.write(new_notebook(cells=[new_code_cell(text)]), house.home / "notebooks" / f"{name}.ipynb")
    schedule(house)
    return house


class Live:
    """The house, the counter it trades at, and a person's desk."""

    def __init__(self, house: House, counter: Counter) -> None:
        self.house, self.counter = house, counter
        self.desk = Desk(root=house.home, data=house.data)

    @property
    def inserted(self) -> list[int]:
        """The lots of every order that the counter was asked to take."""
        calls = self.counter.control.ask("calls")
        return [data["VolumeTotalOriginal"] for name, data in calls if name == "reqOrderInsert"]

    def grant(self, name: str, lots: int) -> str:
        """By a person at the command line; its id."""
        said = self.house.arbig("schedule", "grant", name, "--lots", str(lots), "--days", "1").stdout
        return said.partition(":")[0]

    def run(self, name: str) -> dict[str, Any]:
        """Now, to its end and what follows it."""
        return self.ended(self.house.ask("scheduler", "POST", f"/schedule/{name}/run")["run_id"])

    def ended(self, run_id: str) -> dict[str, Any]:
        def settled() -> Any:
            run = self.house.ask("scheduler", "GET", f"/runs/{run_id}")
            archive = self.house.data / str(run["folder"]) / "run.json"
            is_over = run["state"] not in ("DUE", "RUNNING") and archive.exists()
            return run if is_over and json.loads(archive.read_text())["state"] == run["state"] else None

        run: dict[str, Any] = until(settled, 120, f"the end of {run_id}")
        return run

    def said(self, run: dict[str, Any]) -> list[str]:
        executed = nbformat.read(self.house.data / run["folder"] / "executed.ipynb", as_version=4)
        outputs = [output for cell in executed.cells for output in cell.get("outputs", ())]
        return "".join(output.get("text", "") for output in outputs).splitlines()

    def held(self, name: str) -> int:
        books = self.house.ask("trading", "GET", "/positions")["strategies"]
        return sum(book["volume"] for book in books if book["strategy_name"] == name)

    def granted(self, name: str) -> list[dict[str, Any]]:
        grants = self.house.ask("trading", "GET", "/grants")["grants"]
        return [grant for grant in grants if grant["strategy_name"] == name]

    def strategies(self) -> dict[str, dict[str, Any]]:
        return {one["strategy_name"]: one for one in self.house.ask("strategy", "GET", "/strategies")["strategies"]}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = Path(tempfile.mkdtemp(prefix="arbig-ctp-"))  # a unix socket's path is short
    house = made(tmp_path_factory.mktemp("grants") / "house")
    counter = Counter(house, folder / "counter.sock")
    try:
        with standing(house, folder / "counter.sock", "web"):
            until(lambda: is_trading(house), 120, "everything up, connected, ACTIVE")
            until(lambda: house.ask("scheduler", "GET", "/ready")["ready"], 60, "the scheduler")
            live = Live(house, counter)
            until(lambda: live.desk.tick("au2512").last_price, 60, "the market")
            yield live
            live.desk.close()
    finally:
        counter.close()
        shutil.rmtree(folder)


def test_without_a_grant_nothing_reaches_the_counter_and_one_line_says_why(live: Live) -> None:
    before = live.inserted
    run = live.run("ungranted")
    line = "ungranted: real money needs a grant, which was never given; give one: arbig schedule grant ungranted"
    assert (run["state"], run["error"]) == ("FAILED", f"{line} --lots 1 --days 5")
    assert not (live.house.data / run["folder"] / "executed.ipynb").exists()
    with pytest.raises(ClientError, match=line):
        live.desk.target("au2512", 1, "by-hand", strategy_name="ungranted")
    assert (live.inserted, live.held("ungranted")) == (before, 0)


def test_under_a_grant_an_unattended_notebook_trades_exactly_once(live: Live) -> None:
    """Begun by its time; run again, and once more after Trading's death, it has no second order. The grant says who
    gave it and when, and is in the audit trail."""
    before = live.inserted
    given = live.grant("granted", 2)
    soon = datetime.now(SHANGHAI) + timedelta(seconds=75)
    schedule(live.house, granted={"cron": f"{soon.minute} {soon.hour} * * *"})
    runs = lambda: [run for run in live.house.ask("scheduler", "GET", "/runs")["runs"] if run["name"] == "granted"]
    first = live.ended(until(runs, 120, "its time")[0]["run_id"])
    assert (first["state"], first["error"], first["asked_by"]) == ("DONE", None, None)
    assert [(each["state"], each["target"]) for each in first["intents"]] == [("DONE", 2)]
    assert (live.said(first), live.inserted, live.held("granted")) == (["DONE"], [*before, 2], 2)
    again = live.run("granted")
    live.house.kill("trading")
    until(lambda: is_trading(live.house), 90, "Trading back, ACTIVE")
    third = live.run("granted")
    assert [(run["state"], live.said(run), run["orders"]) for run in (again, third)] == [("DONE", ["DONE"], [])] * 2
    assert (live.inserted, live.held("granted")) == ([*before, 2], 2)
    (grant,) = live.granted("granted")
    today = f"{datetime.now(SHANGHAI):%Y-%m-%d}"
    assert (grant["id"], grant["lots"], grant["state"]) == (given, 2, "VALID")
    assert (grant["given_by"], grant["given_at"][:10]) == (getpass.getuser(), today)
    listed = live.house.arbig("schedule", "grants").stdout
    assert [word in listed for word in (given, "granted", getpass.getuser(), today, "VALID")] == [True] * 5
    trail = live.house.arbig("audit").stdout
    assert f"{given}: granted 2 lots until" in trail
    assert "in a run of granted" in next(line for line in trail.splitlines() if "granted +2 au2512" in line)


def test_beyond_the_size_of_its_grant_it_is_refused(live: Live) -> None:
    before = live.inserted
    live.grant("greedy", 1)
    run = live.run("greedy")
    line = "ClientError: greedy: 3 lots are more than the 1 granted; give one: arbig schedule grant greedy"
    assert (run["state"], run["error"]) == ("FAILED", f"{line} --lots 3 --days 5")
    assert (live.inserted, live.held("greedy")) == (before, 0)


def test_after_its_grant_was_revoked_it_is_refused_and_what_it_holds_stays(live: Live) -> None:
    before = live.inserted
    given = live.grant("revoked", 1)
    assert live.run("revoked")["state"] == "DONE"
    assert live.house.arbig("schedule", "revoke", given).stdout == f"{given} is revoked\n"
    run = live.run("revoked")
    line = "revoked: real money needs a grant, which was revoked; give one: arbig schedule grant revoked"
    assert (run["state"], run["error"]) == ("FAILED", f"{line} --lots 1 --days 5")
    with pytest.raises(ClientError, match=line):
        live.desk.target("au2512", -1, "by-hand", strategy_name="revoked")
    assert (live.inserted, live.held("revoked")) == ([*before, 1], 1)
    (grant,) = live.granted("revoked")
    live.desk.schedule.revoke(given)
    assert [grant] == live.granted("revoked"), "when it was first revoked stays written"
    assert grant["state"] == "REVOKED"


def test_after_its_grant_has_expired_it_is_refused(live: Live) -> None:
    before = live.inserted
    until_then = datetime.now(SHANGHAI).replace(tzinfo=None) + timedelta(seconds=40)
    given = live.desk.schedule.grant("expired", 1, until_then)
    assert (given["given_by"], given["state"]) == ("trader by token", "VALID")
    assert live.run("expired")["state"] == "DONE"
    until(lambda: live.granted("expired")[0]["state"] == "EXPIRED", 60, "its expiry")
    run = live.run("expired")
    line = "expired: real money needs a grant, which has expired; give one: arbig schedule grant expired"
    assert (run["state"], run["error"]) == ("FAILED", f"{line} --lots 1 --days 5")
    with pytest.raises(ClientError, match=line):
        live.desk.target("au2512", -1, "by-hand", strategy_name="expired")
    assert (live.inserted, live.held("expired")) == ([*before, 1], 1)


def test_a_scheduled_notebook_deploys_starts_rolls_and_orders_nothing_and_gives_itself_no_grant(live: Live) -> None:
    """A grant of its own is no way round: nobody types there. It may still pause what runs."""
    before = live.inserted
    live.grant("roams", 1)
    run = live.run("roams")
    deeds = ("deploy a strategy", "start a strategy", "roll a strategy", "send an order", "give a grant")
    refused = "ClientError roams: a scheduled notebook may not {} with real money, a person does"
    *lines, last = live.said(run)
    assert [line.partition(";")[0] for line in lines] == [refused.format(deed) for deed in deeds]
    assert last.startswith("ClientError another: real money needs a grant, which was never given")
    assert (run["state"], run["error"], run["strategies"]) == ("DONE", None, [])
    assert live.inserted == before
    assert [grant["lots"] for grant in live.granted("roams")] == [1]
    assert {name: one["state"] for name, one in live.strategies().items()} == {
        "Quiet": "PAUSED", "Unbounded": "RUNNING", "Idle": "STOPPED",
    }  # fmt: skip
    assert "a scheduled notebook may not send an order" in live.house.arbig("audit").stdout


def test_it_edits_a_strategy_only_under_that_strategys_grant_of_all_it_may_hold(live: Live) -> None:
    line = "ClientError Quiet: {}; give one: arbig schedule grant Quiet --lots 2 --days 5"
    unbounded = "ClientError Unbounded: has no max_position that a grant could name"
    for lots, said in (
        (None, line.format("real money needs a grant, which was never given")),
        (1, line.format("2 lots are more than the 1 granted")),
        (2, "{'pace': 7}"),
    ):
        if lots is not None:
            live.grant("Quiet", lots)
        first, second = live.said(live.run("edits"))
        assert first == said
        assert second.startswith(unbounded)
    assert [live.strategies()[name]["parameters"]["pace"] for name in ("Quiet", "Unbounded")] == [7, 1]


def test_a_report_needs_no_grant_and_is_refused_one(live: Live) -> None:
    """`mode: paper`, as the daily report's entry has it: it runs, and may want nothing."""
    run = live.run("report")
    assert (run["state"], run["error"]) == ("DONE", None)
    assert live.said(run)[0].endswith(" yuan")
    live.grant("report_with_a_grant", 1)
    run = live.run("report_with_a_grant")
    line = "mode: paper: it has a grant for real money; say mode: live, or revoke the grant"
    assert (run["state"], run["error"]) == ("FAILED", line)
