"""Earlier days that the counter has not come from a vnpy datafeed, while Market goes on."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from arbig.store.bars import read

ROOT = Path(__file__).parents[2]
PACKAGE = """
    from datetime import datetime, timedelta
    from vnpy.trader.constant import Interval
    from vnpy.trader.datafeed import BaseDatafeed
    from vnpy.trader.object import BarData
    from vnpy.trader.setting import SETTINGS

    class Datafeed(BaseDatafeed):
        def init(self, output=print):
            print("welcome")
            return (SETTINGS["datafeed.username"], SETTINGS["datafeed.password"]) == ("me", "open sesame")

        def query_bar_history(self, req, output=print):
            nine = req.end.replace(day=14, hour=9, minute=0)
            stamps = [nine - timedelta(minutes=1)] + [nine + timedelta(minutes=n) for n in range(3)]
            return [BarData(gateway_name="MINE", symbol=req.symbol, exchange=req.exchange, datetime=stamp,
                            interval=Interval.MINUTE, volume=3.0, turnover=9.0, open_interest=9.0,
                            open_price=880.0, high_price=880.0, low_price=880.0, close_price=880.0)
                    for stamp in stamps]
"""


@pytest.fixture
def fed(tmp_path: Path, new_house: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """A house with this `datafeed` in its market.yaml."""
    packages, home = tmp_path / "packages", tmp_path / "home"
    packages.mkdir()
    home.mkdir()
    (packages / "vnpy_mine.py").write_text(dedent(PACKAGE), "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(packages))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("MINE_TOKEN", "open sesame")

    def make(text: str) -> Any:
        shutil.copytree(ROOT / "config", tmp_path / "config")
        (tmp_path / "config" / "market.yaml").write_text(f"history_days: 3\n{text}", "utf-8")
        house = new_house("data")
        house.settings = replace(house.settings, config=tmp_path / "config")
        house.market = house.new_market()
        return house

    return make


def test_days_that_the_counter_has_not_come_from_the_datafeed(
    fed: Callable[[str], Any], gateway: Any, kit: Any, tmp_path: Path
) -> None:
    """The counter's own days stay its own; rows outside the session are left out; the user's home is left alone."""
    gateway.bars = kit.history(date(2025, 10, 13))

    async def story() -> None:
        house = fed("datafeed: {name: mine, username: me, password: '${env:MINE_TOKEN}'}")
        await house.start()
        answer = (await house.get("/bars/au2512?since=2025-10-12T00:00:00")).json()
        assert [bar["datetime"] for bar in answer["bars"]] == [
            *(f"2025-10-13T09:0{minute}:00" for minute in range(3)),
            *(f"2025-10-14T09:0{minute}:00" for minute in range(3)),
        ]
        stored = read(house.settings.data / "bars" / "au2512" / "2025-10-14.csv")
        assert [(bar.close_price, bar.seq, bar.trading_day) for bar in stored] == [
            (880.0, number, date(2025, 10, 14)) for number in (1, 2, 3)
        ]
        await house.stop()

    asyncio.run(story())
    assert not list((tmp_path / "home").iterdir())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{name: nobody}", "vnpy_nobody: it is not installed; run: pip install vnpy_nobody"),
        ("{name: mine, username: you}", "vnpy_mine: it would not open; check its user name and password"),
    ],
)
def test_a_datafeed_that_cannot_be_used_is_one_line_and_market_goes_on(
    fed: Callable[[str], Any], caplog: pytest.LogCaptureFixture, text: str, expected: str
) -> None:
    async def story() -> None:
        house = fed(f"datafeed: {text}")
        await house.start()
        assert (await house.get("/bars/au2512")).json()["bars"] == []
        await house.stop()

    asyncio.run(story())
    assert f"au2512: history of earlier days is not there: {expected}" in caplog.text
