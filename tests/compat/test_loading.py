"""A strategy file written for vnpy loads as it is; what we have not is one line with its place and what to use."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import arbig
from arbig.compat import vnpy
from arbig.compat.rewriting import rewritten
from arbig.domain.messages import BarData, Direction, Exchange, Interval, Status
from arbig.domain.template import CtaTemplate, StrategyTemplate, TargetPosTemplate, window_factory
from arbig.runtime.loader import Misconfigured, check_params, classes_in, load_class

SPEC = find_spec("vnpy_ctastrategy")
assert SPEC is not None and SPEC.submodule_search_locations
BUNDLED = Path(SPEC.submodule_search_locations[0]) / "strategies"
EIGHT = {
    "atr_rsi": "AtrRsiStrategy",
    "boll_channel": "BollChannelStrategy",
    "double_ma": "DoubleMaStrategy",
    "dual_thrust": "DualThrustStrategy",
    "king_keltner": "KingKeltnerStrategy",
    "multi_signal": "MultiSignalStrategy",
    "multi_timeframe": "MultiTimeframeStrategy",
    "turtle_signal": "TurtleSignalStrategy",
}
OURS = "from arbig import CtaTemplate\n"
THEIRS = "from vnpy_ctastrategy import CtaTemplate\n"
NINE = datetime(2025, 10, 15, 9, 0)
SMALL = """
class Small(CtaTemplate):
    def on_init(self):
        pass
"""


def written(folder: Path, text: str, name: str = "small") -> Path:
    path = folder / f"{name}.py"
    path.write_text(dedent(text), "utf-8")
    return path


def refused(folder: Path, text: str) -> str:
    with pytest.raises(Misconfigured) as caught:
        load_class(written(folder, text), "Small")
    assert "\n" not in caught.value.reason
    return caught.value.reason


@pytest.mark.parametrize(("file", "class_name"), EIGHT.items())
def test_the_eight_bundled_strategies_load_from_the_installed_package(file: str, class_name: str) -> None:
    """vnpy itself is not imported, its files are neither changed nor given bytecode of ours."""
    path = BUNDLED / f"{file}_strategy.py"
    before = set(sys.modules), set(BUNDLED.glob("__pycache__/*"))
    kind = load_class(path, class_name)
    assert issubclass(kind, CtaTemplate)
    assert not [name for name in set(sys.modules) - before[0] if name.startswith("vnpy")]
    assert set(BUNDLED.glob("__pycache__/*")) == before[1]
    check_params(kind, kind.get_class_parameters())


@pytest.mark.parametrize(
    "imports",
    [
        "from vnpy_ctastrategy import CtaTemplate, BarData",
        "from vnpy_ctastrategy import *",
        "from vnpy_ctastrategy.template import CtaTemplate\nfrom vnpy.trader.object import BarData, TickData",
        "from vnpy.app.cta_strategy import CtaTemplate, BarGenerator, ArrayManager",
        "from vnpy.app.cta_strategy.template import CtaTemplate",
        "import vnpy_ctastrategy as cta\nCtaTemplate = cta.CtaTemplate",
        "import vnpy_ctastrategy.template, os\nCtaTemplate = vnpy_ctastrategy.template.CtaTemplate\nos.getcwd()",
        OURS + "import vnpy.trader.utility\nassert vnpy.trader.utility.round_to(1.26, 0.5) == 1.5",
        OURS + "from vnpy.trader import utility, constant\nutility.BarGenerator, constant.Interval",
        "try:\n    from vnpy.app.old import CtaTemplate\nexcept ImportError:\n    " + THEIRS,
        "from vnpy_ctastrategy import CtaTemplate as Base\nCtaTemplate = Base",
        THEIRS + "import time\ntime.localtime()",
        THEIRS + "from vnpy_ctastrategy.backtesting import BacktestingEngine  # unread",
        THEIRS + "if __name__ == '__main__':\n    from vnpy.trader.ui import QtWidgets",
    ],
)
def test_every_way_of_importing_vnpy_is_understood(tmp_path: Path, imports: str) -> None:
    kind = load_class(written(tmp_path, imports + SMALL), "Small")
    assert issubclass(kind, CtaTemplate)


def test_names_are_ours_under_vnpys_names(tmp_path: Path) -> None:
    text = """
    from vnpy.trader.constant import Direction, Exchange, Interval, Offset, Status
    from vnpy.trader.object import BarData, OrderData, TickData, TradeData
    from vnpy.trader.utility import ArrayManager, BarGenerator, ceil_to, extract_vt_symbol, floor_to, round_to
    from vnpy_ctastrategy import CtaSignal, CtaTemplate, StopOrder, TargetPosTemplate
    from vnpy_ctastrategy.base import EngineType, STOPORDER_PREFIX, StopOrderStatus
    from vnpy_portfoliostrategy import StrategyEngine, StrategyTemplate
    from vnpy_portfoliostrategy.utility import BarGenerator as LegGenerator
    class Small(TargetPosTemplate):
        def on_init(self):
            pass
    class Legs(StrategyTemplate):
        def __init__(self, strategy_engine: StrategyEngine, strategy_name: str, vt_symbols: list, setting: dict):
            super().__init__(strategy_engine, strategy_name, vt_symbols, setting)
        def on_init(self):
            pass
        def on_bars(self, bars: dict[str, BarData]):
            pass
    """
    path = written(tmp_path, text)
    assert issubclass(load_class(path, "Small"), TargetPosTemplate)
    assert issubclass(load_class(path, "Legs"), StrategyTemplate)
    module = sys.modules["strategies.small"]
    assert (module.ArrayManager, module.OrderData) == (arbig.ArrayManager, arbig.OrderData)
    assert module.LegGenerator is module.BarGenerator is arbig.BarGenerator
    assert module.extract_vt_symbol("au2512.SHFE") == ("au2512", Exchange.SHFE)
    assert (module.floor_to(1.29, 0.02), module.ceil_to(1.29, 0.02), module.round_to(1.29, 0.05)) == (1.28, 1.3, 1.3)
    assert "STOP.Small.1".startswith(module.STOPORDER_PREFIX)
    assert {Status.ALLTRADED.name, Direction.LONG.name, Interval.DAILY.value} == {"ALLTRADED", "LONG", "d"}


def test_a_bar_of_ones_own_can_be_made_and_changed_as_with_vnpy() -> None:
    given_bar = vnpy.BarData(symbol="au2512", exchange=Exchange.SHFE, datetime=NINE, gateway_name="CTP")
    assert isinstance(given_bar, arbig.BarData)
    assert (given_bar.close_price, given_bar.volume, given_bar.vt_symbol) == (0, 0, "au2512.SHFE")
    given_bar.high_price = max(given_bar.high_price, 880.5)
    arrays = vnpy.ArrayManager(2)
    arrays.update_bar(given_bar)
    assert arrays.high[-1] == 880.5
    tick = vnpy.TickData(symbol="au2512", exchange=Exchange.SHFE, datetime=NINE, gateway_name="", last_price=1)
    tick.bid_price_1 = tick.last_price
    assert tick.bid_price_1 == 1


def test_longer_bars_of_several_legs_come_together(tmp_path: Path) -> None:
    """A file for vnpy_portfoliostrategy as its own examples are: translated log lines, a generator for all legs."""
    text = """
    from vnpy.trader.object import BarData
    from vnpy_portfoliostrategy import StrategyEngine, StrategyTemplate
    from vnpy_portfoliostrategy.locale import _
    from vnpy_portfoliostrategy.utility import PortfolioBarGenerator

    class Small(StrategyTemplate):
        author = _("trader")

        def __init__(self, strategy_engine: StrategyEngine, strategy_name: str, vt_symbols: list[str], setting: dict):
            super().__init__(strategy_engine, strategy_name, vt_symbols, setting)
            self.windows = []
            self.pbg = PortfolioBarGenerator(self.on_bars, 2, self.windows.append)

        def on_init(self):
            pass

        def on_tick(self, tick):
            self.pbg.update_tick(tick)

        def on_bars(self, bars: dict[str, BarData]):
            self.pbg.update_bars(bars)
    """

    class Pairs:
        """Two bars make a window."""

        def __init__(self) -> None:
            self.bars: list[BarData] = []

        def on_bar(self, bar: BarData) -> list[BarData]:
            self.bars.append(bar)
            return [bar] if len(self.bars) % 2 == 0 else []

    token = window_factory.set(lambda symbol, length: Pairs())
    legs = ["au2512.SHFE", "ag2512.SHFE"]
    strategy = load_class(written(tmp_path, text), "Small")(None, "s", legs, {})  # type: ignore[arg-type]
    for minute in range(4):
        moment = NINE + timedelta(minutes=minute)
        bars = [vnpy.BarData(symbol=leg[:6], exchange=Exchange.SHFE, datetime=moment) for leg in legs]
        strategy.on_bars({bar.vt_symbol: bar for bar in bars})  # type: ignore[attr-defined]
    window_factory.reset(token)
    assert [list(bars) for bars in strategy.windows] == [legs, legs]  # type: ignore[attr-defined]
    assert [bars[legs[0]].datetime.minute for bars in strategy.windows] == [1, 3]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            THEIRS + "from vnpy.trader.utility import (\n    load_json,\n)\nload_json('x')",
            "small.py, line 2: vnpy's load_json does not exist here; name it in `variables`",
        ),
        (
            "from vnpy_ctastrategy import CtaTemplate, CtaWhatever\nCtaWhatever()",
            "small.py, line 1: vnpy's CtaWhatever does not exist here; what there is: ACTIVE_STATUSES, ",
        ),
        (
            "from vnpy_ctastrategy.backtesting import BacktestingEngine\nengine = BacktestingEngine()",
            "small.py, line 1: vnpy's BacktestingEngine does not exist here; backtest in a notebook",
        ),
        (
            "import vnpy.trader.engine as engine\nengine.MainEngine",
            "small.py, line 1: vnpy's vnpy.trader.engine does not exist here",
        ),
        ("from vnpy.trader.ui import *", "small.py, line 1: vnpy's vnpy.trader.ui does not exist here"),
        (
            THEIRS + "from vnpy.trader.constant import Direction\nDirection.NET",
            "small.py, line 3: Direction.NET does not exist here; what there is: Direction.LONG, Direction.SHORT",
        ),
        (
            THEIRS + "def f(tick):\n    return tick.bid_price_2",
            "small.py, line 3: vnpy's .bid_price_2 does not exist here; ticks here have one level",
        ),
        (
            THEIRS + "def f(self):\n    self.cta_engine.main_engine.get_contract('a')",
            "small.py, line 3: vnpy's .main_engine does not exist here; a strategy speaks through its own methods",
        ),
        (
            THEIRS + "def f(self):\n    return len(self.cta_engine.history_data)",
            "small.py, line 3: cta_engine.history_data does not exist here; what there is: cancel_all, cancel_order, ",
        ),
        (
            "from vnpy_ctastrategy import CtaTemplat\nCtaTemplat",
            "small.py, line 1: vnpy's CtaTemplat does not exist here; did you mean CtaTemplate?",
        ),
    ],
)
def test_what_is_not_here_is_one_line_with_its_place_and_what_to_use(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in refused(tmp_path, text + SMALL)


def test_a_refused_name_in_a_function_is_said_when_it_is_reached(tmp_path: Path) -> None:
    text = """
    from vnpy_ctastrategy import CtaTemplate
    class Small(CtaTemplate):
        def on_init(self):
            from vnpy.trader.database import get_database
            get_database()
    """
    strategy = load_class(written(tmp_path, text), "Small")(None, "s", "au2512.SHFE", {})  # type: ignore[arg-type]
    with pytest.raises(
        ImportError, match=r"small.py, line 5: vnpy's get_database does not exist here; use self.load_bar"
    ):
        strategy.on_init()


def test_a_traceback_shows_the_files_own_lines(tmp_path: Path) -> None:
    text = """\
    from vnpy_ctastrategy import (
        CtaTemplate,
        BarData,
    )
    from vnpy.trader.ui import QtWidgets


    class Small(CtaTemplate):
        def on_init(self):
            self.load()

        def load(self):
            raise RuntimeError("on line 13")
    """
    strategy = load_class(written(tmp_path, text), "Small")(None, "s", "au2512.SHFE", {})  # type: ignore[arg-type]
    with pytest.raises(RuntimeError) as caught:
        strategy.on_init()
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert (last.filename, last.lineno) == (str(tmp_path / "small.py"), 13)
    assert last.line == 'raise RuntimeError("on line 13")'


def test_a_strategy_and_the_signals_beside_it_may_both_be_vnpys(tmp_path: Path) -> None:
    written(
        tmp_path, "from vnpy_ctastrategy import CtaSignal\nclass Mine(CtaSignal):\n    on_bar = print", "signals_of_x"
    )
    text = THEIRS + "from signals_of_x import Mine\nassert Mine().signal_pos == 0"
    assert load_class(written(tmp_path, text + SMALL), "Small")


def test_a_folder_of_signals_beside_the_strategy_may_be_vnpys(tmp_path: Path) -> None:
    (tmp_path / "pack_of_x").mkdir()
    written(tmp_path / "pack_of_x", "from pack_of_x.slow import Slow", "__init__")
    written(tmp_path / "pack_of_x", "from vnpy_ctastrategy import CtaSignal\nclass Slow(CtaSignal):\n    pass", "slow")
    text = THEIRS + "from pack_of_x import Slow\nassert Slow.on_bar"
    assert load_class(written(tmp_path, text + SMALL), "Small")


def test_vnpy_itself_still_imports_its_own_strategies(real: Callable[[str], ModuleType]) -> None:
    """In a process that has loaded the same file for us: whoever compares both needs both."""
    ours = load_class(BUNDLED / "double_ma_strategy.py", "DoubleMaStrategy")
    theirs = real("vnpy_ctastrategy.strategies.double_ma_strategy").DoubleMaStrategy
    assert theirs.__mro__[1] is real("vnpy_ctastrategy").CtaTemplate
    assert ours.__mro__[1] is CtaTemplate


def test_vnpys_calls_of_its_engine_are_told_the_contract(tmp_path: Path) -> None:
    text = """
    from vnpy_ctastrategy import CtaTemplate, Direction
    from vnpy.trader.constant import Offset
    class Small(CtaTemplate):
        def on_init(self):
            self.cta_engine.get_pricetick(self)
            self.cta_engine.get_size(self)
            self.cta_engine.send_order(self, Direction.LONG, Offset.OPEN, 880.0, 1, False, False, False)
            self.cta_engine.write_log("ready", self)
    """

    class Engine:
        def __init__(self) -> None:
            self.calls: list[tuple[object, ...]] = []

        def __getattr__(self, name: str):  # type: ignore[no-untyped-def]
            return lambda *words: self.calls.append((name, *words))

    engine = Engine()
    one = load_class(written(tmp_path, text), "Small")(engine, "s", "au2512.SHFE", {})  # type: ignore[arg-type]
    one.on_init()
    au = "au2512.SHFE"
    assert engine.calls == [
        ("get_pricetick", one, au),
        ("get_size", one, au),
        ("send_order", one, au, Direction.LONG, arbig.Offset.OPEN, 880.0, 1, False, False, False),
        ("write_log", "ready", one),
    ]


def test_a_file_that_does_not_import_vnpy_is_left_alone(tmp_path: Path) -> None:
    """It may speak of vnpy in a comment, and use words that vnpy has."""
    text = "# better than vnpy\n" + OURS + "def f(x):\n    return x.main_engine, x.cta_engine.get_size(x)"
    assert load_class(written(tmp_path, text + SMALL), "Small")


def test_a_whole_number_may_be_the_default_of_a_number(tmp_path: Path) -> None:
    """vnpy's users write `width: float = 5` and set 5.5."""
    text = """
    from vnpy_ctastrategy import CtaTemplate
    class Small(CtaTemplate):
        width: float = 5
        lots: int = 1
        parameters = ["width", "lots"]
        def on_init(self):
            pass
    """
    kind = load_class(written(tmp_path, text), "Small")
    check_params(kind, {"width": 5.5})
    with pytest.raises(Misconfigured, match=r"params.lots: found 1.5, expected an integer"):
        check_params(kind, {"lots": 1.5})


STATEMENTS = st.sampled_from(
    [
        "from vnpy_ctastrategy import CtaTemplate, BarData",
        "from vnpy.trader.ui import (\n    QtWidgets,\n    QtCore,\n)",
        "import vnpy.trader.utility, os",
        "if True:\n    from vnpy.trader.engine import MainEngine",
        "x = 1",
        '"""two\nlines"""',
    ]
)


@settings(deadline=None)
@given(st.lists(STATEMENTS, min_size=1, max_size=8))
def test_rewriting_moves_no_line(statements: list[str]) -> None:
    """A marker behind any mixture of imports still stands on its own line, and the tree compiles."""
    text = "\n".join(statements) + "\nmarker = 1\n"
    tree = rewritten(text, "any.py")
    assert tree.body[-1].lineno == text.count("\n")
    compile(tree, "any.py", "exec")


def test_the_names_promised_are_there() -> None:
    assert [name for name in vnpy.__all__ if not hasattr(vnpy, name)] == []
    assert classes_in(BUNDLED / "test_strategy.py") == ["TestStrategy"]
    with pytest.raises(AttributeError, match="vnpy's MainEngine does not exist here"):
        vnpy.MainEngine
