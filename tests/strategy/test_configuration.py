"""Bad strategy files: one line each, that names the file, the field and the mend; the others run."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
import yaml

from arbig.runtime.files import load_yaml_model
from arbig.strategy.configuration import StrategyConfig

ROOT = Path(__file__).parents[2]
GOOD = """
from typing import Annotated
from arbig import CtaTemplate, Range
class Good(CtaTemplate):
    fast: Annotated[int, Range(1, 99)] = 1
    slow = 2.5
    flag = False
    parameters = ["fast", "slow", "flag"]
    def on_init(self): pass

class Needy(CtaTemplate):
    parameters = ["must"]
    def on_init(self): pass

class NoStrategy:
    pass
"""
HEAD = "symbol: au2512\nexchange: SHFE\n"
GOOD_ONE = "strategy_name: Good\n" + HEAD


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("strategy_name: Good\nexchange: SHFE\n", "neither symbol nor symbols, expected one of them"),
        ("symbol: au2512\n", "strategy_name: missing, expected text"),
        ("strategy_name: Good\nsymbol: [\n", "not YAML"),
        ("strategy_name: Good\nsimbol: au2512\n", "simbol: unknown key. Did you mean: symbol?"),
        ("strategy_name: Good\nsymbol: au2512\nexchange: SHEF\n", "exchange: found 'SHEF', expected one of"),
        ("strategy_name: Good\nsymbol: au9\nexchange: SHFE\n", "symbol: "),
        ("strategy_name: Good\nsymbol: xx2512\nexchange: SHFE\n", "symbol: "),
        ("strategy_name: Good\nsymbol: sc2512\nexchange: SHFE\n", "write exchange: INE"),
        ("strategy_name: Goood\n" + HEAD, "strategy_name: found 'Goood', no such class in strategies/*.py"),
        ("strategy_name: A\nclass_name: Goood\n" + HEAD, "class_name: found 'Goood'"),
        ("strategy_name: A\nclass_name: NoStrategy\n" + HEAD, "is no strategy"),
        ("strategy_name: Needy\n" + HEAD, "params.must: missing"),
        (GOOD_ONE + "params: {fast: 100}\n", "params.fast: found 100, expected 1 to 99; write e.g. fast: 1"),
        (GOOD_ONE + "params: {fsat: 1}\n", "params.fsat: unknown parameter of Good. Did you mean: fast?"),
        (GOOD_ONE + "params: {fast: ten}\n", "params.fast: found 'ten', expected an integer; write e.g. fast: 1"),
        (GOOD_ONE + "params: {fast: true}\n", "params.fast: found True, expected an integer"),
        (GOOD_ONE + "params: {fast: 1.5}\n", "params.fast: found 1.5, expected an integer"),
        (GOOD_ONE + "params: {flag: 1}\n", "params.flag: found 1, expected true or false"),
        (
            GOOD_ONE + "risk: {stop_loss_pct: two}\n",
            "risk.stop_loss_pct: found 'two', expected a number; write e.g. stop_loss_pct: 2.0",
        ),
        (GOOD_ONE + "risk: {max_position: 0}\n", "risk.max_position: found 0, expected more than 0"),
    ],
)
def test_a_bad_file_is_one_line_and_the_other_strategies_run(floor, text, expected):
    floor.code(GOOD)
    floor.yaml("strategy_name: Sound\nclass_name: Good\n" + HEAD + "params: {slow: 3}\n", "a.yaml")
    floor.yaml(text, "bad.yaml")

    async def flow():
        async with floor.open() as desk:
            found = desk.service.engine.describe()["strategies"]
            return {one["strategy_name"]: one for one in found}

    found = asyncio.run(flow())
    assert found.pop("Sound")["state"] == "RUNNING"
    (bad,) = found.values()
    assert bad["state"] == "FAILED"
    assert bad["error"].startswith("config/strategies/bad.yaml: ")
    assert expected in bad["error"]
    assert "\n" not in bad["error"]


def test_two_files_with_one_name_are_not_one_strategy(floor):
    floor.code(GOOD)
    floor.yaml("strategy_name: Good\n" + HEAD, "a.yaml")
    floor.yaml("strategy_name: Good\n" + HEAD, "b.yaml")

    async def flow():
        async with floor.open() as desk:
            return [(one["state"], one["error"]) for one in desk.service.engine.describe()["strategies"]]

    (first, _), (second, error) = asyncio.run(flow())
    assert (first, second) == ("RUNNING", "FAILED")
    assert "already taken by config/strategies/a.yaml" in error


def test_a_mended_file_starts_without_a_restart_of_the_service(floor):
    floor.code(GOOD)
    floor.yaml(GOOD_ONE + "params: {fast: ten}\n")

    async def flow():
        async with floor.open() as desk:
            assert desk.live("Good").state == "FAILED"
            floor.yaml(GOOD_ONE + "params: {fast: 10}\n")
            await desk.live("Good").command("start")
            assert desk.live("Good").state == "RUNNING"
            assert desk.live("Good").describe()["parameters"]["fast"] == 10

    asyncio.run(flow())


def test_a_strategy_file_with_a_syntax_error_is_named(floor):
    floor.code("def broken(:\n", "broken.py")
    floor.yaml("strategy_name: Good\n" + HEAD)

    async def flow():
        async with floor.open() as desk:
            return desk.live("Good").error

    assert "strategies/broken.py, line 1" in asyncio.run(flow())


def test_a_disabled_strategy_waits_for_a_person(floor):
    floor.code(GOOD)
    floor.yaml("strategy_name: Good\nenabled: false\n" + HEAD)

    async def flow():
        async with floor.open() as desk:
            assert desk.live("Good").state == "STOPPED"
            await desk.live("Good").command("start")
            assert desk.live("Good").state == "RUNNING"
        async with floor.open() as desk:
            assert desk.live("Good").state == "RUNNING"

    asyncio.run(flow())


def test_a_strategy_in_error_stays_there_until_its_code_is_another(floor):
    """A restart of the service does not set a broken strategy loose again."""
    broken = GOOD.replace("def on_init(self): pass", "def on_init(self): 1 / 0", 1)
    floor.code(broken)
    floor.yaml("strategy_name: Good\n" + HEAD)

    async def flow():
        for _ in range(2):
            async with floor.open() as desk:
                shown = desk.live("Good").describe()
                assert shown["state"] == "ERROR"
                assert "ZeroDivisionError" in shown["error"]
                assert "1 / 0" in shown["traceback"]
        floor.code(GOOD)
        async with floor.open() as desk:
            assert desk.live("Good").state == "RUNNING"

    asyncio.run(flow())


SPECIFIED = {
    "strategy_name": "MaRsiStrategy",
    "symbol": "au2512",
    "exchange": "SHFE",
    "params": {"fast_window": 10, "slow_window": 30, "rsi_window": 14, "rsi_long": 40, "rsi_short": 60},
    "risk": {"stop_loss_pct": 2.0, "take_profit_pct": 5.0, "max_position": 2},
}


def test_the_specifications_file_is_ours():
    """Section 6.2 with the risk block of 8.1, unchanged."""
    assert yaml.safe_load((ROOT / "config/strategies/ma_rsi.yaml").read_text()) == SPECIFIED


def test_every_file_that_comes_with_us_starts(floor):
    for path in (ROOT / "config/strategies").glob("*.yaml"):
        shutil.copy(path, floor.root / "config/strategies" / path.name)
        assert load_yaml_model(path, StrategyConfig).risk.max_position
    for path in (ROOT / "strategies").glob("*.py"):
        shutil.copy(path, floor.root / "strategies" / path.name)

    async def flow():
        async with floor.open() as desk:
            for live in desk.service.engine.strategies.values():
                await live.command("start")
                assert (live.state, live.error) == ("RUNNING", None)

    asyncio.run(flow())
