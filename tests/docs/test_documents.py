"""Documents cannot rot: what they show is what the code does."""

import re
import runpy
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from arbig.bus.topics import TOPICS
from arbig.domain.messages import SHANGHAI, BarData, Exchange, Interval
from arbig.domain.template import EngineType
from arbig.runtime.loader import check_params, load_class
from arbig.strategy.configuration import read_file

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    "README.md",
    "README.zh-CN.md",
    "CONTRIBUTING.md",
    "platform/ARCHITECTURE.md",
    "docs/api.md",
    "docs/vnpy.md",
    "docs/vnpy.zh-CN.md",
    "docs/ctp.md",
    "docs/ctp.zh-CN.md",
]
GENERATED = runpy.run_path(str(Path(__file__).with_name("generated.py")))


@pytest.mark.parametrize("path", GENERATED["DOCUMENTS"], ids=lambda path: path.name)
def test_tables_pictures_and_figures_are_those_of_the_code(path: Path) -> None:
    """`make docs` was run after the last change of a topic, a transition, or of what a backtest gives."""
    assert GENERATED["rewritten"](path) == path.read_text("utf-8")


def test_every_topic_stands_in_the_message_table() -> None:
    """No channel without a word about it."""
    text = GENERATED["ARCHITECTURE"].read_text("utf-8")
    assert [] == [topic.name for topic in TOPICS if f"`{topic.name}`" not in text]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_file_a_document_points_to_is_there(name: str) -> None:
    """No dead link inside the repository."""
    document = ROOT / name
    targets = re.findall(r"\]\(([^)#]+)\)", document.read_text("utf-8"))
    missing = [t for t in targets if "://" not in t and not (document.parent / t).exists()]
    assert [] == missing


READMES = ["README.md", "README.zh-CN.md"]


def block(name: str, language: str, number: int = 0) -> str:
    """A block of that language, by its number."""
    found = re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text("utf-8"), re.DOTALL)
    return str(found[number])


class Desk:
    """Fills every limit order at once."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, float, float]] = []

    def send_order(self, strategy, vt_symbol, direction, offset, price, volume, stop, lock, net) -> list[str]:
        self.sent.append((str(direction), str(offset), price, volume))
        strategy.pos += volume * direction.sign
        return ["order"]

    def get_engine_type(self) -> EngineType:
        return EngineType.LIVE

    def get_pricetick(self, strategy, vt_symbol) -> float:
        return 0.02

    def load_bar(self, vt_symbol, days, interval, callback, use_database) -> list[BarData]:
        return [bar_at(minute, 880.0) for minute in range(-100, 0)]

    def cancel_all(self, strategy) -> None: ...

    def put_strategy_event(self, strategy) -> None: ...


def bar_at(minute: int, price: float) -> BarData:
    return BarData(
        symbol="au2512",
        exchange=Exchange.SHFE,
        datetime=datetime(2025, 10, 9, 10, 30, tzinfo=SHANGHAI) + timedelta(minutes=minute),
        open_price=price,
        high_price=price,
        low_price=price,
        close_price=price,
        volume=1,
        turnover=price * 1000,
        open_interest=1,
        interval=Interval.MINUTE,
    )


@pytest.mark.parametrize("name", READMES)
def test_the_strategy_of_the_readme_buys_a_rise_and_sells_the_fall(name: str, tmp_path: Path) -> None:
    """It comes through the loader that loads strategies/, with the YAML that stands below it."""
    (tmp_path / "golden_cross.py").write_text(block(name, "python"), "utf-8")
    (tmp_path / "golden_cross.yaml").write_text(block(name, "yaml"), "utf-8")
    file = read_file(tmp_path / "golden_cross.yaml")
    assert file.config is not None, file.error
    kind = load_class(tmp_path / "golden_cross.py", file.config.kind)
    check_params(kind, file.config.params)
    desk = Desk()
    strategy = kind(desk, file.config.strategy_name, "au2512.SHFE", file.config.params)
    strategy.on_init()
    strategy.inited = strategy.trading = True
    for minute in range(30):
        strategy.on_bar(bar_at(minute, 880.0 + minute))
    assert (strategy.pos, len(desk.sent)) == (1, 1)
    for minute in range(30, 90):
        strategy.on_bar(bar_at(minute, 939.0 - minute))
    assert (strategy.pos, [order[:2] for order in desk.sent]) == (0, [("LONG", "OPEN"), ("SHORT", "CLOSE")])


@pytest.mark.parametrize("name", READMES)
def test_the_research_of_the_readme_runs_as_it_stands(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A history is made, the shipped strategy is run on it, the tearsheet is one file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARBIG_ROOT", str(ROOT))
    monkeypatch.setenv("ARBIG_DATA", str(tmp_path / "data"))
    exec(compile(block(name, "python", 1), name, "exec"), {})
    sharpe, trades = capsys.readouterr().out.split()[-2:]
    assert -50 < float(sharpe) < 50
    assert int(trades) > 100
    assert (tmp_path / "run.html").stat().st_size < 5_000_000


def test_each_of_the_twenty_gaps_names_a_test_that_is_there() -> None:
    """docs/ctp.md says what shows its mend."""
    text = (ROOT / "docs" / "ctp.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| .* \| (`test_.*) \|$", text, re.MULTILINE)
    assert [str(number) for number in range(1, 21)] == [number for number, _ in rows]
    named = [each for _, tests in rows for each in re.findall(r"`(\w+\.py)::(\w+)`", tests)]
    sources = {file: (ROOT / "tests" / "gateway_ctp" / file).read_text("utf-8") for file, _ in named}
    assert [] == [f"{file}::{test}" for file, test in named if f"def {test}(" not in sources[file]]
