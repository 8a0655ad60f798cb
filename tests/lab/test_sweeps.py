"""Sweeps: a set's figures are a single backtest's, and nothing finished is lost whoever is killed."""

from __future__ import annotations

import fcntl
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from arbig import BarData, CtaTemplate
from arbig.lab.desk import Desk
from arbig.lab.lines import Lines
from arbig.lab.sources import source_of
from arbig.lab.spaces import SweepError

ROOT = Path(__file__).parents[2]
START, END = "2025-10-09", "2025-10-24"


class Swing(CtaTemplate):
    """Long above the mean of the last bars, short below it; `trouble` is what its author did wrong."""

    window = 20
    lots = 1
    trouble = ""
    marker = ""
    parameters = ["window", "lots", "trouble", "marker"]

    def on_init(self) -> None:
        self.closes: list[float] = []
        self.load_bar(2)

    def on_bar(self, bar: BarData) -> None:
        self.closes = [*self.closes[1 - self.window :], bar.close_price]
        if not self.trading:
            return
        if self.trouble == "raises" and bar.datetime.day == 15:
            raise ZeroDivisionError("the author divided by nothing")
        if self.trouble == "killed" or (self.trouble == "killed once" and not os.path.exists(self.marker)):
            Path(self.marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        wanted = self.lots if bar.close_price > sum(self.closes) / len(self.closes) else -self.lots
        if self.trouble == "idle" or self.pos == wanted or bar.datetime.minute % 10:
            return
        self.cancel_all()
        if wanted > self.pos:
            if self.pos < 0:
                self.cover(bar.close_price + 1, -self.pos)
            self.buy(bar.close_price + 1, self.lots)
        else:
            if self.pos > 0:
                self.sell(bar.close_price - 1, self.pos)
            self.short(bar.close_price - 1, self.lots)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("history") / "bars"
    Desk(root=ROOT, data=folder.parent, history=folder).history.generate("au2512", "2025-09-25", END, seed=3)
    return folder


@pytest.fixture
def desk(history: Path, tmp_path: Path) -> Desk:
    return Desk(root=ROOT, data=tmp_path, history=history)


def rows_of(folder: Path) -> list[dict[str, object]]:
    return list(Lines(folder / "rows.jsonl").read())


def same(left: float, right: float) -> bool:
    return left == right or (math.isnan(left) and math.isnan(right))


# ---- figures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "trials", "space", "matching", "workers"),
    [
        ("grid", None, {"window": (10, 30, 20), "lots": [1, 2]}, "realistic", 2),
        ("grid", None, {"window": (10, 30, 20)}, "vnpy", 1),
        ("random", 3, {"window": (5, 60), "lots": [1, 2, 3]}, "vnpy", 1),
        ("tpe", 4, {"window": (5, 60), "lots": [1, 2, 3]}, "realistic", 1),
    ],
)
def test_a_sweeps_figures_are_those_of_a_single_backtest_to_the_last_digit(
    desk, method, trials, space, matching, workers
):
    sweep = desk.sweep(
        Swing, "au2512", START, END, space, method=method, trials=trials, matching=matching, workers=workers
    )
    assert sweep.complete and not sweep.remarks
    for row in sweep.finished:
        alone = desk.backtest(Swing, "au2512", START, END, row.task.params, matching=matching).statistics
        assert row.statistics.keys() == alone.keys()
        assert [name for name in alone if not same(row.statistics[name], alone[name])] == []
    assert sweep.rows["target"].tolist() == sorted(sweep.rows["target"], reverse=True)
    again = desk.backtest(Swing, "au2512", START, END, sweep.best, matching=matching)
    assert again.statistics["sharpe"] == sweep.best_value


class Crossing(CtaTemplate):
    """Its average is computed for the whole history at once, before it trades."""

    window, signals = 20, None
    parameters = ["window", "signals"]

    @staticmethod
    def prepare(frame, params):
        return frame[["close"]].assign(mean=frame["close"].rolling(params["window"]).mean())

    def on_init(self) -> None:
        pass

    def on_bar(self, bar: BarData) -> None:
        row = self.signals.at(bar.datetime)
        if row.close > row.mean and self.pos <= 0:
            self.buy(bar.close_price + 1, 1 - self.pos)
        elif row.close < row.mean and self.pos > 0:
            self.sell(bar.close_price - 1, self.pos)


@pytest.mark.parametrize("matching", ["realistic", "vnpy"])
def test_a_strategy_that_prepares_signals_is_swept_by_what_each_set_prepares(desk, matching):
    words = (Crossing, "au2512", START, END)
    sweep = desk.sweep(*words, {"window": [30, 240]}, matching=matching, workers=2)
    assert [row.error for row in sweep.finished] == [None, None] and not sweep.remarks
    for row in sweep.finished:
        alone = desk.backtest(*words, row.task.params, matching=matching).statistics
        assert [name for name in alone if not same(row.statistics[name], alone[name])] == []
    counts = sweep.rows["total_trade_count"]
    assert counts.min() > 0 and counts.nunique() == 2


def test_a_single_backtest_is_a_trial_too_but_the_same_one_only_once(desk):
    words = (Swing, "au2512", START, END)
    alone = desk.sweep(*words, {"window": [10, 20]}, workers=1)
    assert alone.tried == 2
    for window in (10, 11, 12, 11):
        desk.backtest(*words, {"window": window})
    desk.backtest(*words, {"window": 10}, capital=2_000_000.0)
    counted = desk.sweep(*words, {"window": [10, 20]}, workers=1)
    assert counted.tried == 5
    assert counted.deflated_sharpe < alone.deflated_sharpe


def test_a_backtest_that_cannot_be_counted_says_so(desk, tmp_path):
    (tmp_path / "trials").write_text("not a folder")
    result = desk.backtest(Swing, "au2512", START, END)
    assert len(result.trades) > 0
    (line,) = [line for line in result.warnings if "not counted among the trials" in line]
    assert "exists" in line or "Not a directory" in line


# ---- wrong sets ---------------------------------------------------------------------------------------------------


def test_a_set_that_raises_and_one_without_a_target_are_kept_and_rank_last(desk):
    sweep = desk.sweep(Swing, "au2512", START, END, {"trouble": ["raises", "idle", ""]}, workers=1)
    assert sweep.rows["trouble"].tolist()[0] == "" and sweep.best == {"trouble": ""}
    by_trouble = sweep.rows.set_index("trouble")
    assert by_trouble.loc[["", "idle"], "error"].tolist() == [None, None]
    assert by_trouble.loc[["idle", "raises"], "target"].isna().all()
    error = by_trouble.loc["raises", "error"]
    assert "2025-10-15" in error and "the author divided by nothing" in error
    assert "1 failed" in repr(sweep)


def test_a_killed_worker_is_replaced_and_its_set_run_again_but_not_for_ever(desk, tmp_path):
    space, marker = {"trouble": ["killed once", "killed", ""]}, {"marker": str(tmp_path / "killed")}
    sweep = desk.sweep(Swing, "au2512", START, END, space, marker, workers=1)
    errors = {row.task.params["trouble"]: row.error for row in sweep.finished}
    assert errors == {"killed once": None, "": None, "killed": "its worker was killed (SIGKILL), twice"}
    first, _ = sweep.remarks
    assert "was killed (SIGKILL): its set {'trouble': 'killed once'} is run again" in first
    assert {row["params"]["trouble"] for row in rows_of(sweep.folder)} == {"killed once", ""}


# ---- the end comes early ------------------------------------------------------------------------------------------


def test_ctrl_c_keeps_what_is_finished_and_the_same_call_goes_on(desk):
    heard = []

    def interrupted(figures):
        heard.append(figures)
        if len(heard) == 3:
            raise KeyboardInterrupt
        return -figures["total_trade_count"]

    space = {"window": (5, 25, 5)}
    stopped = desk.sweep(Swing, "au2512", START, END, space, target=interrupted, workers=1)
    assert not stopped.complete and 0 < len(stopped.finished) < 5
    assert "stopped by hand" in stopped.remarks[-1]
    assert stopped.rows["total_trade_count"].is_monotonic_increasing
    whole = desk.sweep(Swing, "au2512", START, END, space, workers=1)
    assert whole.complete and len(whole.finished) == 5
    assert len(rows_of(whole.folder)) == 5 == whole.tried


SCRIPT = """
    import importlib.util, resource, sys
    from arbig.lab.desk import Desk
    spec = importlib.util.spec_from_file_location("swing", {test!r})
    module = importlib.util.module_from_spec(spec)
    sys.modules["swing"] = module
    spec.loader.exec_module(module)
    desk = Desk(root={root!r}, data={data!r}, history={history!r})
    def full(figures):
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        return figures["sharpe"]
    words = (module.Swing, "au2512", {start!r}, {end!r}, {{"window": (5, 34, 1)}})
    try:
        print(len(desk.sweep(*words, target={target}, workers=2).finished))
    except ValueError as error:
        print(error)
"""


def script(history: Path, data: Path, target: str = "'sharpe'") -> subprocess.Popen[str]:
    """A process of its own that sweeps thirty sets and says how many have finished."""
    text = textwrap.dedent(SCRIPT).format(
        test=__file__, root=str(ROOT), data=str(data), history=str(history), target=target, start=START, end=END
    )
    return subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def descendants(pid: int) -> list[int]:
    """The stem, and the workers forked from it."""
    found = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*found, *(below for one in found for below in descendants(one))]


def test_a_sweep_killed_at_any_moment_goes_on_and_runs_nothing_twice(desk, history, tmp_path):
    wanted = int(np.random.default_rng().integers(1, 20))
    killed = script(history, tmp_path)
    while killed.poll() is None and sum(len(rows_of(one)) for one in (tmp_path / "sweeps").glob("*")) < wanted:
        os.sched_yield()
    workers = descendants(killed.pid)
    assert len(workers) > 1
    killed.kill()
    killed.communicate()
    (folder,) = (tmp_path / "sweeps").glob("*")
    before = rows_of(folder)
    assert len(before) >= wanted
    whole = script(history, tmp_path).communicate()[0]
    assert whole.strip() == "30"
    after = rows_of(folder)
    assert after[: len(before)] == before
    assert len(after) == len({json.dumps(row["params"]) for row in after}) == 30
    assert not any(alive(pid) for pid in workers)


def test_a_full_disk_is_one_line_and_the_finished_rows_stay(history, tmp_path):
    said = script(history, tmp_path, "full").communicate()[0].strip()
    assert len(said.splitlines()) == 1
    assert "File too large after" in said and "finished sets, which are kept" in said
    (folder,) = (tmp_path / "sweeps").glob("*")
    kept = rows_of(folder)
    assert 0 < len(kept) < 30
    assert (folder / "rows.jsonl").read_bytes().endswith(b"\n")


def test_two_sweeps_do_not_write_into_one_folder(desk, tmp_path):
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SweepError, match="another sweep is running here"):
            desk.sweep(Swing, "au2512", START, END, {"window": [7]}, folder=tmp_path, workers=1)


def test_a_folder_of_another_sweep_is_refused(desk, tmp_path):
    (tmp_path / "job.json").write_text("{}")
    (tmp_path / "rows.jsonl").write_text("")
    with pytest.raises(SweepError, match="holds sets of another strategy text, history, cost or capital"):
        desk.sweep(Swing, "au2512", START, END, {"window": [5]}, folder=tmp_path, workers=1)


# ---- where the class was written ----------------------------------------------------------------------------------

EDGE = 0.5


def shifted(price: float) -> float:
    return price + EDGE


def test_a_class_written_inside_a_function_runs_too(desk):
    longest = 30

    class Local(Swing):
        def on_bar(self, bar: BarData) -> None:
            if shifted(bar.close_price) > 0 and self.window <= longest:
                super().on_bar(bar)

    text = source_of(Local).text
    assert "longest = 30" in text and "EDGE = 0.5" not in text  # shifted is imported from where it stands
    sweep = desk.sweep(Local, "au2512", START, END, {"window": [10, 40]}, workers=1)
    assert sweep.rows["total_trade_count"].tolist()[0] > 0


def test_a_class_that_uses_what_cannot_be_written_says_so(desk):
    table = np.arange(3)

    class Local(Swing):
        def on_bar(self, bar: BarData) -> None:
            self.lots = int(table[1])

    with pytest.raises(ValueError, match=r"Local: uses 'table' \(ndarray\), which another process cannot be given"):
        desk.sweep(Local, "au2512", START, END, {"window": [10, 40]}, workers=1)


def test_a_class_of_a_notebook_cell_runs_too(history, tmp_path):
    """Cells run in a real kernel: the class in one cell, what it uses in another."""
    import nbformat
    from nbclient import NotebookClient

    cells = [
        "import numpy as np\nfrom arbig import CtaTemplate, BarData\nSTEP = 7\n"
        "def due(bar):\n    return bar.datetime.minute % STEP == 0",
        "class Mine(CtaTemplate):\n    lots = 1\n    parameters = ['lots']\n    def on_init(self):\n        pass\n"
        "    def on_bar(self, bar: BarData):\n        if due(bar) and np.isfinite(bar.close_price):\n"
        "            self.buy(bar.close_price + 1, self.lots)",
        f"from arbig.lab.desk import Desk\ndesk = Desk(root={str(ROOT)!r}, data={str(tmp_path)!r}, "
        f"history={str(history)!r})\nsweep = desk.sweep(Mine, 'au2512', {START!r}, {END!r}, {{'lots': [1, 2]}}, "
        "progress=False)\nprint(len(sweep.finished), sweep.rows['total_trade_count'].min() > 0, sweep.rows.error.sum())",  # noqa: E501
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    assert notebook.cells[2].outputs[0]["text"] == "2 True 0\n"


# ---- what a person may write wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("space", "options", "line"),
    [
        ({}, {}, "space: found nothing to try"),
        ({"windw": [1]}, {}, "windw.*[Dd]id you mean: window?"),
        ({"window": []}, {}, "space: window: found no value, expected at least one"),
        ({"window": (20, 5, 1)}, {}, "space: window: found the range 20 to 5, expected the lower end first"),
        ({"window": (5, 20, 0)}, {}, "space: window: found the step 0, expected one above zero"),
        ({"window": (5, 20)}, {}, "a grid needs values, found only the ends 5 and 20"),
        ({"window": 5}, {}, r"space: window: found 5, expected values; write e.g. \[5\]"),
        ({"window": [5, float("nan")]}, {}, "space: window: found nan, expected finite numbers"),
        ({"window": [5, "ten"]}, {}, "space: window: found 'ten', expected an integer"),
        ({"window": [5]}, {"params": {"window": 6}}, "'window' is also in params"),
        ({"window": [5]}, {"target": "sharp"}, "target: found 'sharp', no such statistic. Did you mean: sharpe?"),
        ({"window": [5]}, {"method": "tree"}, "method: found 'tree'"),
        ({"window": [5]}, {"trials": 5}, "a grid tries every set"),
        ({"window": [5]}, {"method": "tpe", "trials": 0}, "trials: found 0, expected a whole number above zero"),
        ({"window": [5]}, {"workers": 0}, "workers: found 0, expected a whole number above zero"),
        ({"window": [5]}, {"walk_forward": (100, 5)}, "walk_forward: found 12 trading days, expected more than 105"),
        ({"window": [5]}, {"walk_forward": 5}, r"walk_forward: found 5, expected \(train, test\)"),
        ({"window": [5]}, {"walk_forward": (5, 0)}, "walk_forward: test: found 0"),
    ],
)
def test_what_is_written_wrong_is_one_line(desk, space, options, line):
    with pytest.raises(ValueError, match=line) as refused:
        desk.sweep(Swing, "au2512", START, END, space, **{"workers": 1} | options)
    assert len(str(refused.value).splitlines()) == 1
