"""The benches run the real services and say what the issue asks for; how fast they are is not a test's business."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbig.bench.report import quantile
from arbig.bench.throughput import payloads
from arbig.domain.messages import TickData, decode

ROOT = Path(__file__).parents[2]


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_a_quantile_is_the_smallest_value_that_so_many_do_not_exceed(values: list[float]) -> None:
    for share in (0.5, 0.99):
        found = quantile(values, share)
        assert sum(value <= found for value in values) >= share * len(values)
        assert sum(value < found for value in values) < share * len(values)


def test_the_synthetic_ticks_are_ticks_with_rising_numbers_and_totals() -> None:
    ticks = [decode(TickData, payload) for step in range(3) for _, payload in payloads(["cu2512", "au2512"], step)]
    assert ["cu2512", "au2512"] * 3 == [tick.symbol for tick in ticks]
    assert [1, 1, 2, 2, 3, 3] == [tick.seq for tick in ticks]
    assert [3, 3, 6, 6, 9, 9] == [tick.volume for tick in ticks]
    assert all(tick.low_price <= tick.last_price <= tick.high_price for tick in ticks)


def measured(data: Path, *words: str) -> dict[str, object]:
    """The last line of `arbig bench ... --json`, which stands in data/bench/ as well."""
    command = [Path(sys.executable).with_name("arbig"), "bench", *words, "--json", "--data", data]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert 0 == result.returncode, result.stderr
    answer: dict[str, object] = json.loads(result.stdout.splitlines()[-1])
    kept = json.loads((data / "bench" / f"{words[0]}.json").read_text())
    assert answer == {key: kept[key] for key in answer}
    return answer


@pytest.mark.chaos
def test_throughput_loses_no_tick_and_makes_the_bars_computed_offline(tmp_path: Path) -> None:
    answer = measured(tmp_path, "throughput", "--seconds", "2", "--per-second", "5000")
    assert ["ticks_per_s", "lost", "bars_equal"] == list(answer)
    assert (0, True) == (answer["lost"], answer["bars_equal"])


@pytest.mark.processes
def test_latency_is_told_beside_the_bare_relay(tmp_path: Path) -> None:
    answer = measured(tmp_path, "latency", "--ticks", "100", "--per-second", "50")
    assert ["p50_us", "p99_us", "bare_p50_us", "bare_p99_us", "ratio_p50", "ratio_p99"] == list(answer)
    assert all(isinstance(value, int | float) and value > 0 for value in answer.values())


@pytest.mark.processes
def test_the_backtest_bench_compares_trades_and_tells_ratios(tmp_path: Path) -> None:
    answer = measured(tmp_path, "backtest", "--days", "4", "--rounds", "1")
    rows = answer["strategies"]
    assert isinstance(rows, list)
    assert 9 == len(rows)
    for row in rows:
        assert ["name", "equal_trades", "bars_per_s", "vnpy_bars_per_s", "ratio", "realistic_ratio"] == list(row)
    traded = [row["name"] for row in rows if row["equal_trades"]]
    assert {"DoubleMaStrategy", "MaRsiStrategy", "TurtleSignalStrategy"} <= set(traded)
    assert answer["median_ratio"] > 0
