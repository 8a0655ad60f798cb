"""The look-ahead proof where a researcher asks for it: on the desk and on the command line."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import short_market
from typer.testing import CliRunner

from arbig.cli import app
from arbig.lab.desk import Desk

ROOT = Path(__file__).parents[2]
PEEKING = """
import pandas as pd
from arbig import BarData, CtaTemplate


class Peeking(CtaTemplate):
    ahead = 1
    signals = None
    parameters = ["ahead", "signals"]

    @staticmethod
    def prepare(frame, params):
        move = frame["close"].shift(-params["ahead"]) - frame["close"]
        return pd.DataFrame({"move": move}, index=frame.index)

    def on_init(self): ...

    def on_bar(self, bar: BarData):
        row = self.signals.at(bar.datetime)
        if self.trading and row.move > 0 and self.pos <= 0:
            self.buy(bar.close_price + 2, 1)
        elif self.trading and row.move < 0 and self.pos > 0:
            self.sell(bar.close_price - 2, self.pos)


class Idle(CtaTemplate):
    def on_init(self): ...
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with the shipped config, one strategy file and six days of bars."""
    root = tmp_path_factory.mktemp("house")
    shutil.copytree(ROOT / "config", root / "config")
    (root / "strategies").mkdir()
    (root / "strategies" / "peeking.py").write_text(PEEKING, "utf-8")
    Desk(root, data=root / "data").history.write(short_market.bars())
    return root


def ask(house: Path, *words: str) -> tuple[int, str, str]:
    environment = {"ARBIG_ROOT": str(house), "ARBIG_DATA": str(house / "data")}
    answer = CliRunner().invoke(app, ["check-lookahead", *words], env=environment)
    return answer.exit_code, answer.stdout, answer.stderr


def test_the_desk_says_whether_a_strategy_looks_ahead(house: Path) -> None:
    """`prepare` of the class is found, parameters reach it, either matching."""
    desk = Desk(house, data=house / "data")
    peeking = desk.check_lookahead("Peeking", "rb2601", "2025-10-20", cuts=2, matching="vnpy")
    fair = desk.check_lookahead("Peeking", "rb2601", "2025-10-20", params={"ahead": -1}, cuts=1)
    assert (peeking.verdict, fair.verdict) == ("looks ahead", "clean")
    assert fair.warm_up is not None and fair.warm_up.history_days == 3


def test_the_strategy_that_the_page_shows_is_clean(house: Path) -> None:
    """docs/lookahead.md: the example of `prepare` runs as it stands there."""
    page = (ROOT / "docs" / "lookahead.md").read_text("utf-8")
    (example,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "class Crossing" in block)
    (house / "strategies" / "crossing.py").write_text(example, "utf-8")
    desk = Desk(house, data=house / "data")
    assert desk.check_lookahead("Crossing", "rb2601", "2025-10-20", params={"fast": 5}, cuts=1).verdict == "clean"


def test_a_plan_may_be_checked_as_it_is(house: Path) -> None:
    """The one that is to be run."""
    desk = Desk(house, data=house / "data")
    plan = desk.plan("Peeking", "rb2601", "2025-10-20")
    assert desk.check_lookahead(plan, cuts=1).verdict == "looks ahead"


def test_the_command_says_so_and_ends_accordingly(house: Path) -> None:
    """0 clean, 1 looks ahead, 2 not proven."""
    line = ("rb2601", "--start", "2025-10-20", "--cuts", "1")
    code, said, _ = ask(house, "Peeking", *line)
    assert code == 1
    assert "verdict      looks ahead" in said
    assert "at the bar of 2025-10-" in said
    code, said, _ = ask(house, "Peeking", *line, "--param", "ahead=-1", "--matching", "vnpy")
    assert (code, said.splitlines()[0]) == (0, "verdict      clean")
    code, said, _ = ask(house, "Idle", *line)
    assert (code, said.splitlines()[0]) == (2, "verdict      not proven")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("Peaking", "rb2601"), "Did you mean: Peeking?"),
        (("Peeking", "rb2699"), "rb2699"),
        (("Peeking", "rb2601", "--param", "ahaed=1"), "Did you mean: ahead?"),
        (("Peeking", "rb2601", "--matching", "magic"), "matching"),
        (("Peeking", "rb2601", "--start", "2025-10-24", "--end", "2025-10-20"), "2025-10-24"),
    ],
)
def test_a_wrong_word_is_answered_in_one_line(house: Path, words: tuple[str, ...], complaint: str) -> None:
    """Never a traceback."""
    code, said, complained = ask(house, *words)
    assert (code, said) == (1, "")
    assert complained.startswith("arbig: ")
    assert complained.count("\n") == 1
    assert complaint in complained
