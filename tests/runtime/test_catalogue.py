"""Catalogue: which strategies there are to deploy, read without running one."""

from __future__ import annotations

from pathlib import Path

from arbig.runtime.catalogue import Parameter, catalogue

ROOT = Path(__file__).parents[2]


def test_the_house_s_own_strategies_with_their_parameters() -> None:
    found = {one.class_name: one for one in catalogue(ROOT / "strategies")}
    assert {"MaRsiStrategy", "BreakoutStrategy", "MeanReversionStrategy"} <= set(found)
    ma_rsi = found["MaRsiStrategy"]
    assert Parameter("fast_window", "integer", 10, "Range(1, 500)") == ma_rsi.parameters[0]
    assert ("rsi_long", "number", 40.0) == tuple(getattr(ma_rsi.parameters[3], n) for n in ("name", "kind", "default"))
    assert ma_rsi.code_hash and not ma_rsi.several and ma_rsi.about == "Two moving averages cross; the RSI must agree."


def test_a_file_is_read_and_never_run(tmp_path: Path) -> None:
    (tmp_path / "pair.py").write_text(
        "import os\nos._exit(3)\n"
        "class Pair(StrategyTemplate):\n    width: float = 5\n    name = 'a'\n    late = len('x')\n"
        "    parameters = ['width', 'name', 'late', 'missing']\n"
        "class Wider(Pair):\n    width = 9\nclass Helper:\n    pass\n"
    )
    (tmp_path / "broken.py").write_text("class Broken(\n")
    broken, pair, wider = catalogue(tmp_path)
    assert broken.error.startswith("strategies/broken.py, line 1: ")
    assert (pair.class_name, pair.several) == ("Pair", True)
    assert ["number", "text", "other", "other"] == [one.kind for one in pair.parameters]
    assert (wider.class_name, wider.parameters[0].default) == ("Wider", 9)
