"""Sweeps judged: the trials that count, the windows that do not touch, the picture, the order of the sets."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbig.backtest.overfitting import deflated_sharpe, moments, probability_of_overfitting
from arbig.backtest.plan import Costs, Matching
from arbig.lab.heatmap import grid
from arbig.lab.jobs import Job, Task, packed, unpacked
from arbig.lab.lines import Lines
from arbig.lab.spaces import Between, SweepError, first_set, proposals, read_space, space_of, windows_of
from arbig.lab.sweeps import Row, Sweep, statistic_names
from arbig.lab.trials import Count, Ledger, Trial
from arbig.lab.walkforward import Forward
from arbig.runtime.research import Archive

FIRST, LAST = date(2025, 1, 2), date(2025, 6, 30)
JOB = Job("0", "Swing", "code", "Swing", ("au2512.SHFE",), {}, 1e6, Matching.VNPY, Costs(), {}, {}, 60, (), (), ())


def made_sweep(rows: list[Row], tried: int = 9, variance: float = 0.002) -> Sweep:
    names = tuple(rows[0].task.params)
    place = Path("sweeps")
    return Sweep(JOB, FIRST, LAST, names, "sharpe", tuple(rows), len(rows), Count(tried, variance), place)


def made_row(params: dict[str, object], sharpe: float, seed: int = 0, error: str | None = None) -> Row:
    returns = np.random.default_rng(seed).normal(sharpe / 10_000, 0.01, 120)
    figures = {name: 0.0 for name in statistic_names()} | {"sharpe": sharpe}
    return Row(Task(params, FIRST, LAST), figures, returns, error)


def square() -> Sweep:
    cells = [(fast, slow, fast - abs(slow - 30) / 10) for fast in (5, 10) for slow in (20, 30, 40)]
    rows = [made_row({"fast": fast, "slow": slow}, value, seed) for seed, (fast, slow, value) in enumerate(cells)]
    return made_sweep(sorted(rows, key=lambda row: -row.statistics["sharpe"]))


# ---- the count of trials ------------------------------------------------------------------------------------------


def trial(
    params: str, start: str = "2025-01-02", end: str = "2025-06-30", code: str = "a", sharpe: float = 0.1
) -> Trial:
    return Trial(code, "setting", params, start, end, sharpe, 120)


def test_every_different_trial_on_overlapping_days_counts_once(tmp_path):
    ledger = Ledger(tmp_path, "Swing", ("au2512.SHFE",))
    for one in (trial("1"), trial("1"), trial("2"), trial("2", code="b"), trial("3", "2024-01-02", "2024-06-30")):
        ledger.add(one)
    ledger.add(trial("4", "2025-06-30", "2025-12-30", sharpe=9.0))  # overlaps by a day: counted, not compared
    again = Ledger(tmp_path, "Swing", ("au2512.SHFE",))
    assert len(again.trials()) == 5
    assert again.count(FIRST, LAST, "setting").tried == 4
    assert again.count(FIRST, LAST, "setting").variance == pytest.approx(0.0)
    assert again.count(FIRST, LAST, "other") == Count(4, 0.0)


def test_the_variance_is_of_the_trials_over_the_same_days(tmp_path):
    ledger = Ledger(tmp_path, "Swing", ("au2512.SHFE",))
    sharpes = [0.1, -0.05, 0.02]
    for number, sharpe in enumerate(sharpes):
        ledger.add(trial(str(number), sharpe=sharpe))
    assert ledger.count(FIRST, LAST, "setting").variance == pytest.approx(np.var(sharpes, ddof=1))


def test_the_deflated_sharpe_ratio_takes_the_ledgers_count():
    rows = [made_row({"fast": 5}, 20.0, 1), made_row({"fast": 6}, 1.0, 2)]
    few, many = made_sweep(rows, 2), made_sweep(rows, 5000)
    assert few.deflated_sharpe > many.deflated_sharpe
    sharpe, skewness, kurtosis = moments(rows[0].returns)
    assert many.deflated_sharpe == deflated_sharpe(sharpe, 5000, 0.002, 120, skewness, kurtosis)
    assert few.overfitting == probability_of_overfitting(few.returns, 16)


def test_a_line_torn_by_a_crash_is_passed_over_and_the_next_stands_alone(tmp_path):
    lines = Lines(tmp_path / "rows.jsonl")
    lines.append({"a": math.nan, "b": math.inf})
    with lines.path.open("ab") as file:
        file.write(b'{"a": 1, "tor')
    lines.append({"a": 0.1 + 0.2})
    first, second = lines.read()
    assert math.isnan(first["a"]) and first["b"] == math.inf and second == {"a": 0.1 + 0.2}


@given(st.lists(st.floats(width=64), max_size=20))
def test_returns_come_back_to_the_last_bit(values):
    column = np.array(values, np.float64)
    assert unpacked(packed(column)).tobytes() == column.tobytes()


# ---- the order of the sets ----------------------------------------------------------------------------------------

SPACE = {"fast": (5, 30), "slow": (20, 60, 10), "kind": ["a", "b"], "share": (0.1, 0.9)}


def heard(method: str, order: int, workers: int, seed: int = 7, count: int = 30) -> list[str]:
    """The sets in the order of their numbers, when `workers` answer in an order of their own."""
    drawn = np.random.default_rng(order)
    asked = proposals(method, read_space(SPACE, {}), count, seed, workers)
    sets: list[str] = []
    running: list[tuple[int, dict[str, object]]] = []
    while True:
        while len(running) < workers and (params := asked.ask()) is not None:
            running.append((len(sets), params))
            sets.append(json.dumps(params, sort_keys=True))
        if not running:
            return sets
        number, params = running.pop(int(drawn.integers(len(running))))
        asked.tell(number, math.nan if params["kind"] == "b" and number % 5 == 0 else -abs(params["share"] - 0.4))


@pytest.mark.parametrize("method", ["random", "tpe"])
def test_the_same_seed_gives_the_same_sets_however_many_answer_in_whatever_order(method):
    sets = heard(method, 1, 1)
    assert len(sets) == 30
    assert heard(method, 2, 2) == heard(method, 3, 8) == sets
    assert heard(method, 1, 1, seed=8) != sets


def test_tpe_comes_nearer_than_chance():
    missed = [abs(json.loads(one)["share"] - 0.4) for one in heard("tpe", 1, 2, count=60)]
    assert np.median(missed[30:]) < np.median(missed[:15])


def test_random_sets_of_a_small_space_are_all_of_it_once():
    asked = proposals("random", read_space({"a": [1, 2, 3], "b": (1, 2)}, {}), 50, 1)
    found = [asked.ask() for _ in range(asked.total)]
    assert asked.total == 6 == len({json.dumps(one) for one in found}) and asked.ask() is None


def test_ranges_end_where_they_say():
    assert read_space({"a": (0.1, 0.3, 0.1), "b": (5, 20, 5), "c": np.array([3, 4]), "d": (1, 2)}, {}) == {
        "a": (0.1, 0.2, 0.3),
        "b": (5, 10, 15, 20),
        "c": (3, 4),
        "d": Between(1, 2, True),
    }


def test_a_space_can_be_said_in_words():
    space = space_of(["fast=5,10", "slow=20:60:10", "share=0.1:0.9", "kind=a,b"])
    assert space == {"fast": [5, 10], "slow": (20, 60, 10), "share": (0.1, 0.9), "kind": ["a", "b"]}
    assert first_set(read_space(space, {})) == {"fast": 5, "slow": 20, "share": 0.1, "kind": "a"}
    assert windows_of("60,20,5") == (60, 20, 5)
    for wrong in ("fast", "fast=", "fast=a:b"):
        with pytest.raises(SweepError):
            space_of([wrong])


# ---- windows ------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.integers(2, 40), st.integers(1, 20), st.integers(0, 10), st.booleans(), st.integers(1, 200))
def test_windows_never_touch_what_they_were_chosen_on(train, test, purge, anchored, count):
    days = [date(2025, 1, 1) + timedelta(days=number) for number in range(count)]
    forward = Forward(train, test, purge, anchored)
    if count <= train + purge:
        with pytest.raises(SweepError, match="take a longer range or smaller windows"):
            list(forward.windows(days))
        return
    windows = list(forward.windows(days))
    for one in windows:
        assert days.index(one.test_start) - days.index(one.train_end) == purge + 1
        assert days.index(one.train_end) - days.index(one.train_start) + 1 == train or anchored
    tested = [day for one in windows for day in days if one.test_start <= day <= one.test_end]
    assert tested == days[train + purge :]


# ---- the picture --------------------------------------------------------------------------------------------------


def test_the_heatmap_holds_the_target_of_every_set():
    found = grid(square(), "fast", "slow", "target")
    assert found.to_dict() == {5: {20: 4.0, 30: 5.0, 40: 4.0}, 10: {20: 9.0, 30: 10.0, 40: 9.0}}


def test_the_heatmap_is_one_file_that_needs_no_network(tmp_path):
    """Also beside Panel, whose import makes Bokeh ask for files of Panel's server in every page."""
    import panel  # noqa: F401

    page = square().heatmap("fast", "slow").save(tmp_path / "heatmap.html").read_text()
    assert [one for one in re.findall(r"<(?:script|link)[^>]+(?:src|href)=.(.{9})", page) if one != "data:imag"] == []
    html = square()._repr_html_()
    assert html.count("<td style='background:#") == 6 and "<script" not in html


def test_one_parameter_is_a_line_and_a_failed_set_leaves_a_hole(tmp_path):
    rows = [made_row({"fast": 5}, 1.0), made_row({"fast": 6}, 0.5), made_row({"fast": 7}, 2.0, error="broke")]
    sweep = made_sweep(rows)
    assert math.isnan(grid(sweep, "fast", None, "target").loc["", 7])
    assert sweep.heatmap().save(tmp_path / "line.html").exists()
    assert sweep.rows["target"].tolist()[:2] == [1.0, 0.5]


def test_a_sweep_is_saved_as_a_page_and_listed_by_its_winner_and_its_trials(tmp_path):
    sweep = replace(square(), data=tmp_path)
    page = sweep.save().read_text()
    assert "Best sets" in page and "probability of any skill" in page
    (item,) = Archive.of(tmp_path).items()
    assert (item.kind, item.figures["trials"], item.figures["sets"]) == ("sweep", sweep.tried, 6)
    assert item.figures["sharpe"] == sweep.finished[0].statistics["sharpe"]
    assert sweep.heatmap().save().parent == tmp_path / "research"


def test_other_parameters_are_shown_at_their_best():
    sweep = square()
    rows = [
        replace(row, task=Task({**row.task.params, "lots": lots}, FIRST, LAST))
        for row in sweep.finished
        for lots in (1, 2)
    ]
    assert grid(made_sweep(rows), "fast", "slow", "target").equals(grid(sweep, "fast", "slow", "target"))
    assert "best over lots" in made_sweep(rows).heatmap("fast", "slow")._repr_html_()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("fst",), "'fst' was not varied. Did you mean: fast?"),
        (("fast", "fast"), "found 'fast' twice"),
        (("fast", "slow", "sharp"), "'sharp' is no figure of a sweep. Did you mean: sharpe?"),
    ],
)
def test_a_heatmap_of_what_is_not_there_is_one_line(words, line):
    with pytest.raises(SweepError, match=re.escape(line)):
        square().heatmap(*words)
