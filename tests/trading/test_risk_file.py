"""`config/risk.yaml`: every rule that is on, or one line that names the file, the field and the mend."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from arbig.domain.risk import COUNTER_RULES, RiskSettings, rules_from
from arbig.runtime.settings import SettingsError, load_settings
from arbig.trading.risk_file import load_risk

ROOT = Path(__file__).parents[2]


def loaded(tmp_path: Path, text: str) -> object:
    for name in ("arbig.yaml", "redis_config.yaml"):
        (tmp_path / name).write_text((ROOT / "config" / name).read_text())
    (tmp_path / "risk.yaml").write_text(text)
    return rules_from(load_risk(load_settings(root=ROOT, config=tmp_path, data=tmp_path / "data")))


def test_the_shipped_file_and_an_empty_one_are_the_defaults(tmp_path: Path) -> None:
    assert rules_from(RiskSettings()) == loaded(tmp_path, (ROOT / "config" / "risk.yaml").read_text())
    assert rules_from(RiskSettings()) == loaded(tmp_path, "")


def test_null_switches_a_rule_off_but_never_the_counters_own(tmp_path: Path) -> None:
    rules = loaded(tmp_path, "\n".join(f"{each.name}: null" for each in fields(RiskSettings)))
    assert COUNTER_RULES == rules


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("order_rate: {per_second: three}", r"risk.yaml: order_rate.per_second: found 'three', expected an integer; "
                                            r"write e.g. per_second: 3"),
        ("order_rate: {per_secnd: 3}", r"risk.yaml: order_rate.per_secnd: unknown key. Did you mean: per_second\?"),
        ("order_rte: null", r"risk.yaml: order_rte: unknown key. Did you mean: order_rate\?"),
        ("price_band: {percent: 0}", r"risk.yaml: price_band.percent: found 0, expected more than 0"),
        ("order_size: 7", r"risk.yaml: order_size: found 7, expected keys and values"),
        ("order_size: [", r"risk.yaml: line 1, column .*: not YAML"),
    ],
)  # fmt: skip
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(SettingsError, match=line):
        loaded(tmp_path, text)
