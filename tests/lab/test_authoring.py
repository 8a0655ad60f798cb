"""A strategy is written in a notebook cell: in a real IPython shell, on a house of its own."""

from __future__ import annotations

import atexit
import sys
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

ROOT = Path(__file__).parents[2]
CELL = """%%strategy gold
from arbig import BarData, CtaTemplate

class Gold(CtaTemplate):
    window = 5
    parameters = ["window"]

    def on_init(self) -> None:
        self.load_bar(1)

    def on_bar(self, bar: BarData) -> None:
        if self.trading and not self.pos:
            self.buy(bar.close_price, 1)
"""


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """What `make up` leaves for a kernel: a folder with config/ and strategies/."""
    (tmp_path / "config").symlink_to(ROOT / "config")
    (tmp_path / "strategies").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ARBIG_DATA", raising=False)
    monkeypatch.setenv("ARBIG_ROOT", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    assert shell.run_cell("%load_ext arbig").success
    yield shell
    atexit.unregister(shell.atexit_operations)
    shell.atexit_operations()


def file(shell, name="gold"):
    return Path.cwd() / "strategies" / f"{name}.py"


def test_a_cell_becomes_a_file_and_its_class_is_here_for_backtests_at_once(shell, capsys):
    assert shell.run_cell(CELL).success
    assert file(shell).read_text() == CELL.partition("\n")[2]
    assert "strategies/gold.py: new · Gold · code " in capsys.readouterr().out
    gold = shell.user_ns["Gold"]
    assert (gold.__module__, gold.parameters) == ("strategies.gold", ["window"])
    assert shell.run_cell("from arbig import Desk; from arbig.lab.sources import source_of").success
    assert shell.run_cell("assert 'class Gold' in source_of(Gold).text").success


def test_what_a_cell_replaces_is_shown_as_a_diff_and_laid_aside(shell, capsys):
    shell.run_cell(CELL)
    capsys.readouterr()
    shell.run_cell(CELL.replace("window = 5", "window = 7"))
    told = capsys.readouterr().out
    assert "strategies/gold.py: replaced" in told and "-    window = 5" in told and "+    window = 7" in told
    (aside,) = (Path.cwd() / "data" / "strategies" / "replaced").iterdir()
    assert "window = 5" in aside.read_text()
    assert shell.user_ns["Gold"].window == 7
    shell.run_cell(CELL.replace("window = 5", "window = 7"))
    assert "strategies/gold.py: unchanged" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (("class Gold(CtaTemplate):", "class Gold(CtaTemplate)"), "line 3: expected ':'\n    class Gold(CtaTemplate)"),
        (("import BarData, CtaTemplate", "import BarData, CtaTemplat"), "line 1: ImportError"),
        (("from arbig import", "import no_such_package\nfrom arbig import"),
         "line 1: ModuleNotFoundError: No module named 'no_such_package'; install it: uv pip install no_such_package"),
        (("    window = 5", "    window = 1 / 0"), "line 4: ZeroDivisionError"),
        (("(CtaTemplate):", "(object):"), "expected one strategy in the cell, found none; derive a class from"),
        (("class Gold", "class First(CtaTemplate):\n    def on_bar(self, bar): pass\n\nclass Gold"),
         "expected one strategy in the cell, found First, Gold; give each a cell of its own"),
        (("def on_bar", "def on_br"), "Gold hears nothing; define on_bar(self, bar) or on_tick(self, tick)"),
        (('parameters = ["window"]', 'variables = ["seen"]'), "Gold.variables: 'seen' has no default"),
        (("%%strategy gold", "%%strategy go-ld"), "found 'go-ld', expected the name of a file"),
        (("%%strategy gold", "%%strategy"), "found '', expected the name of a file"),
    ],
)  # fmt: skip
def test_a_bad_cell_is_one_clear_line_and_nothing_has_changed(shell, capsys, spoil, line):
    """Neither the file nor what the kernel knew before."""
    shell.run_cell(CELL)
    before = (file(shell).read_text(), shell.user_ns["Gold"], sys.modules["strategies.gold"], set(shell.user_ns))
    capsys.readouterr()
    assert spoil[0] in CELL
    shell.run_cell(CELL.replace(*spoil))
    told = capsys.readouterr()
    assert line in told.err + told.out
    assert "Traceback" not in told.err + told.out
    after = (file(shell).read_text(), shell.user_ns["Gold"], sys.modules["strategies.gold"], set(shell.user_ns))
    assert after == before


def test_a_callback_that_nobody_calls_is_named(shell, capsys):
    shell.run_cell(CELL + "\n    def on_trad(self, trade): pass\n    def on_5min_bar(self, bar): pass\n")
    assert "warning: nobody calls on_trad; did you mean on_trade?" in (told := capsys.readouterr().out)
    assert "on_5min_bar" not in told


def test_without_a_running_stack_a_deployment_says_what_to_do_in_one_line(shell, capsys):
    shell.run_cell(CELL)
    capsys.readouterr()
    shell.run_cell("desk = __import__('arbig').Desk(data='data')\ndesk.deploy(Gold, 'au2512')")
    told = capsys.readouterr()
    assert "ClientError: no running stack at http://127.0.0.1:8080: run make up" in told.out + told.err
    assert "Traceback" not in told.out + told.err


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("desk.deploy('Golf', 'au2512')", "found 'Golf', no such class in strategies/*.py. Did you mean: Gold?"),
        ("desk.deploy('gold')", "Gold: no symbol; write e.g. symbol='au2512'"),
        ("desk.deploy(7, 'au2512')", "found 7, expected a strategy class or the name of a file in strategies/"),
        ("desk.roll('Gold', 'au2602')", "no running stack at http://127.0.0.1:8080: run make up"),
        ("desk.whence('17')", "no running stack at http://127.0.0.1:8080: run make up"),
        ("desk.cockpit().act('Gold', 'stop'); desk.ticks('au2512')", "run make up"),
    ],
)
def test_a_wrong_word_to_the_desk_is_one_line_and_leaves_the_kernel_as_it_was(shell, capsys, words, line):
    shell.run_cell(CELL + "\n")
    shell.run_cell("desk = __import__('arbig').Desk(data='data')")
    before = set(shell.user_ns)
    capsys.readouterr()
    shell.run_cell(words)
    told = capsys.readouterr()
    assert line in told.out + told.err
    assert "Traceback" not in told.out + told.err
    assert set(shell.user_ns) == before


def test_a_default_outside_its_own_range_is_refused(shell, capsys):
    spoilt = CELL.replace("from arbig import", "from typing import Annotated\nfrom arbig import Range,")
    shell.run_cell(spoilt.replace("window = 5", "window: Annotated[int, Range(2, 200)] = 1"))
    told = capsys.readouterr()
    assert "Gold.window: default 1 is not 2 to 200; write window = 2" in told.err + told.out
    assert not file(shell).exists()


def test_a_class_of_a_plain_cell_is_told_how_to_become_a_file(shell, capsys):
    shell.run_cell(CELL.partition("\n")[2])
    shell.run_cell("desk = __import__('arbig').Desk(data='data')\ndesk.deploy(Gold, 'au2512')")
    told = capsys.readouterr()
    assert "begin its cell with %%strategy NAME, which saves it there" in told.out + told.err
