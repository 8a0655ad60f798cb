"""The sweep bench: the sets of both sides are equal before a ratio is printed."""

from __future__ import annotations

from arbig.bench.sweep import run


def test_every_set_of_both_optimisers_is_equal(tmp_path):
    result = run(tmp_path, days=3, sets=2)
    assert [case["name"] for case in result["strategies"]] == ["DoubleMaStrategy", "MultiTimeframeStrategy"]
    assert [case["sets"] for case in result["strategies"]] == [4, 16]
    assert all(case["equal"] and case["trades"] > 50 and case["ratio"] > 0 for case in result["strategies"])
