"""Each thing that goes wrong live lands in its own bucket, and in no other."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import yaml
from lockstep import QUICK, Faults, Lockstep, at, lockstep, lockstep_settings

from arbig import Desk
from arbig.backtest.series import TickSeries
from arbig.domain.messages import OrderRequest
from arbig.lab.history import History
from arbig.lab.parity import Parity
from arbig.runtime.settings import Settings
from arbig.store.database import Database
from arbig.store.snapshots import SnapshotStore
from arbig.store.ticks import TickStore

BEGIN, END = at("13:50:00"), at("14:03:00")
LOT_TICK = 20.0  # a tick of 0.02 yuan a gram on a lot of 1000 grams
LOTS = 7  # short at 13:57, turned round at 13:58, 14:01 and 14:02

Act = Callable[[Lockstep], Awaitable[None]]


def _session(home: Path, faults: Faults = Faults(), act: Act | None = None) -> tuple[Settings, Lockstep]:  # noqa: B008
    settings = lockstep_settings(home, ma_rsi=QUICK)

    async def play() -> Lockstep:
        async with lockstep(settings, BEGIN, faults) as house:
            if act is not None:
                await house.play_until(at("13:54:00"))
                await act(house)
            await house.play_until(END)
            return house

    return settings, asyncio.run(play())


def _parity(settings: Settings, reference: History | None = None) -> Parity:
    return Desk(root=settings.root, data=settings.data).parity(reference=reference)


def _only(found: Parity, bucket: str) -> float:
    """The amount in one bucket; the others are empty, and it is the whole difference."""
    others = {name: amount for name, amount in found.buckets.items() if name != bucket}
    assert not any(others.values()), found
    assert found.buckets[bucket] == found.total
    return found.total


def test_an_order_that_is_late_by_less_than_a_tick_costs_nothing(tmp_path: Path) -> None:
    """One order is on its way at a time: the second of two that turn a position comes after the first one's echo."""
    found = _parity(_session(tmp_path, Faults(delay=timedelta(milliseconds=240)))[0])
    assert found.ok, found
    assert len(found.orders) == LOTS
    assert found.orders["words"].str.contains(r"0\.(?:24|48) s later").all()


def test_100_ms_more_delay_is_timing(tmp_path: Path) -> None:
    """For the second of two the next tick's book is there by then."""
    found = _parity(_session(tmp_path, Faults(delay=timedelta(milliseconds=340)))[0])
    assert _only(found, "timing")
    assert (found.orders["live_traded"] == found.orders["replay_traded"]).all()
    assert found.orders["words"].str.contains(r"0\.(?:34|68) s later").all()


def test_a_tick_of_slippage_is_price(tmp_path: Path) -> None:
    found = _parity(_session(tmp_path, Faults(slipped=0.02))[0])
    assert _only(found, "price") == -LOT_TICK * LOTS
    assert found.orders["live_traded"].sum() == LOTS


def test_an_order_that_only_the_strategy_knows_of_is_signal(tmp_path: Path) -> None:
    """It never arrived. What follows of it, the close that live need not do, is owed to it as well."""

    lost: list[str] = []

    def is_first(request: OrderRequest) -> bool:
        if not lost:
            lost.append(request.request_id)
        return request.request_id in lost

    found = _parity(_session(tmp_path, Faults(lost_order=is_first))[0])
    assert _only(found, "signal")
    alone = found.orders[found.orders["live_traded"] != found.orders["replay_traded"]]
    assert alone["offset"].tolist() == ["OPEN", "CLOSETODAY"]
    assert alone["words"].str.startswith("only the backtest sent it").all()


def test_a_persons_order_is_manual(tmp_path: Path) -> None:
    async def buy_one(house: Lockstep) -> None:
        price = round(house.ticks[-1].ask_price_1 + 0.1, 2)
        order = {"symbol": "au2512", "direction": "LONG", "offset": "OPEN", "price": price, "volume": 1}
        await house.ask("trading", "POST", "/orders", json=order)

    found = _parity(_session(tmp_path, act=buy_one)[0])
    assert _only(found, "manual")
    assert found.orders[found.orders["strategy"] == "manual"]["live_traded"].tolist() == [1]


def test_a_wrong_fee_is_fee(tmp_path: Path) -> None:
    """The counter's statement of the day has another commission than the fee schedule makes."""
    settings, house = _session(tmp_path)
    _settle(settings, house)
    assert _parity(settings).ok
    path = settings.config / "instruments.yaml"
    book = yaml.safe_load(path.read_text("utf-8"))
    book["products"]["au"]["rows"][0]["fees"]["by_lot"] = 12
    path.write_text(yaml.safe_dump(book, allow_unicode=True), "utf-8")
    found = _parity(settings)
    assert _only(found, "fee") == 2.0 * 4
    assert "commission of 40.00, the fee schedules of config/instruments.yaml make it 48.00" in found.warnings[0]


def _settle(settings: Settings, house: Lockstep) -> None:
    """The statement as the counter makes it at this moment."""
    account = house.counter.exchange.account_row()
    row = {name: getattr(account, name, "CNY") for name in account.__struct_fields__} | {"currency": "CNY"}
    database = Database.open(settings.data / "db" / "trading.db")
    SnapshotStore(database, settings.account_id).settle(account.trading_day, (), row, house.now)
    database.close()


def test_a_bar_that_live_never_got_is_missed_data(tmp_path: Path) -> None:
    """A minute without market data, whose bar makes the averages cross; what there was is in another history."""
    begin, end = at("14:00:00"), at("14:01:00")
    settings, house = _session(tmp_path / "house", Faults(deaf=(begin, end)))
    unaware = _parity(settings)
    assert not any(unaware.buckets.values()), "nobody can tell without another source"
    reference = _reference(tmp_path / "reference", house, settings)
    found = _parity(settings, reference)
    assert _only(found, "missed data")
    bars, ticks = found.outcome.missed["au2512"]
    assert bars >= 1
    assert ticks == sum(begin <= tick.datetime < end for tick in house.ticks)


def _reference(folder: Path, house: Lockstep, settings: Settings) -> History:
    """Everything that the exchange showed."""
    TickStore(folder / "ticks").write_day(TickSeries.from_ticks([t for t in house.ticks if t.symbol == "au2512"]))
    return Desk(root=settings.root, data=settings.data, history=folder / "bars").history
