"""A file of vnpy's, dropped into strategies/ as it is, trades on the simulated exchange."""

from __future__ import annotations

import asyncio
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from flow import Flow, flow, flow_settings

from arbig.domain.messages import Direction, Offset, OrderRequest, TradeData, decode

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


def dropped(root: Path, file: str, class_name: str, **params: float) -> None:
    """What a trader does: copy the file, write a few lines of YAML."""
    shutil.copy(BUNDLED / f"{file}.py", root / "strategies")
    text = {"strategy_name": class_name, "symbol": "au2512", "exchange": "SHFE", "params": params}
    (root / "config" / "strategies" / f"{file}.yaml").write_text(yaml.safe_dump(text), "utf-8")


def played(home: Path, minutes: int, file: str, class_name: str, **params: float) -> tuple[Flow, dict[str, Any]]:
    """The house after so many minutes, and how it shows the strategy."""
    settings = flow_settings(home, 1, strategies=())
    dropped(home, file, class_name, **params)

    async def play() -> tuple[Flow, dict[str, Any]]:
        async with flow(settings) as house:
            await house.play(minutes)
            await house.quiet()
            shown = (await house.ask("strategy", "GET", "/strategies"))["strategies"]
            return house, next(one for one in shown if one["strategy_name"] == class_name)

    return asyncio.run(play())


def trades_of(house: Flow) -> list[TradeData]:
    return [decode(TradeData, payload) for payload in house.bus.of("stream:trade")]


def requests_of(house: Flow) -> list[OrderRequest]:
    return [decode(OrderRequest, payload) for name, payload in house.bus.said if name == "stream:order"]


def test_the_turtle_trades_both_ways_by_stop_orders(tmp_path: Path) -> None:
    """Its stops wait at Strategy and go out when the price is touched; its books agree with the counter's trades."""
    house, shown = played(
        tmp_path, 40, "turtle_signal_strategy", "TurtleSignalStrategy", entry_window=10, exit_window=5
    )
    trades = trades_of(house)
    assert shown["state"] == "RUNNING"
    assert {(trade.direction, trade.offset is Offset.OPEN) for trade in trades} == {
        (Direction.LONG, True),
        (Direction.SHORT, False),
        (Direction.SHORT, True),
        (Direction.LONG, False),
    }
    assert {(request.cause or "")[:5] for request in requests_of(house)} == {"stop:"}
    assert shown["pos"] == sum(trade.direction.sign * trade.volume for trade in trades)
    assert shown["variables"]["pos"] == shown["pos"]


def test_all_eight_live_in_one_house(tmp_path: Path) -> None:
    """Each in its own book; together they hold what the account holds."""
    settings = flow_settings(tmp_path, 1, strategies=())
    for file, class_name in EIGHT.items():
        dropped(tmp_path, f"{file}_strategy", class_name)

    async def play() -> tuple[Flow, dict[str, Any], list[Any]]:
        async with flow(settings) as house:
            await house.play(45)
            await house.quiet()
            shown = (await house.ask("strategy", "GET", "/strategies"))["strategies"]
            positions = (await house.ask("trading", "GET", "/positions"))["positions"]
            return house, {one["strategy_name"]: one for one in shown}, positions

    house, shown, positions = asyncio.run(play())
    eight = [shown[name] for name in EIGHT.values()]
    assert [(one["strategy_name"], one["state"], one["error"]) for one in eight] == [
        (name, "RUNNING", None) for name in EIGHT.values()
    ]
    trades = trades_of(house)
    assert len({trade.strategy_name for trade in trades}) >= 3
    for one in eight:
        own = [trade for trade in trades if trade.strategy_name == one["strategy_name"]]
        assert one["pos"] == sum(trade.direction.sign * trade.volume for trade in own)
    net = {"LONG": 1, "SHORT": -1}
    assert sum(one["pos"] for one in eight) == sum(net[one["direction"]] * one["volume"] for one in positions)
    assert shown["MultiSignalStrategy"]["variables"]["target_pos"] == shown["MultiSignalStrategy"]["pos"]
