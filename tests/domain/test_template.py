"""Templates: vnpy's face, and what a wish becomes."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbig.domain.messages import (
    SHANGHAI,
    BarData,
    Direction,
    Exchange,
    Interval,
    Offset,
    OrderData,
    OrderType,
    Status,
    TickData,
)
from arbig.domain.sessions import Sessions, TradingCalendar
from arbig.domain.template import (
    BarGenerator,
    CtaSignal,
    CtaTemplate,
    EngineType,
    StopOrder,
    StrategyTemplate,
    TargetPosTemplate,
    round_to,
    slices,
    split_wish,
    window_factory,
)
from arbig.domain.windows import WindowGenerator

NINE = datetime(2025, 10, 9, 9, 0, tzinfo=SHANGHAI)


def vnpy_classes():
    """Read, not run: importing vnpy's engine needs its graphical libraries."""
    spec = importlib.util.find_spec("vnpy_ctastrategy")
    assert spec is not None and spec.origin is not None
    tree = ast.parse((Path(spec.origin).parent / "template.py").read_text(encoding="utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def face(node):
    return {item.name: [arg.arg for arg in item.args.args] for item in node.body if isinstance(item, ast.FunctionDef)}


@pytest.mark.parametrize("kind", [CtaTemplate, CtaSignal, TargetPosTemplate])
def test_every_method_of_vnpys_templates_is_here_with_its_parameters(kind):
    for name, parameters in face(vnpy_classes()[kind.__name__]).items():
        ours = list(inspect.signature(getattr(kind, name)).parameters)
        assert [one for one in ours if one != "self"] == parameters[1:], name


class Engine:
    """Writes down what it is asked for."""

    def __init__(self, kind=EngineType.LIVE):
        self.kind = kind
        self.sent = []
        self.cancelled = []
        self.log = []

    def send_order(self, strategy, vt_symbol, direction, offset, price, volume, stop, lock, net):
        self.sent.append((vt_symbol, str(direction), str(offset), price, volume, stop, lock, net))
        return [f"order{len(self.sent)}"]

    def cancel_order(self, strategy, vt_orderid):
        self.cancelled.append(vt_orderid)

    def cancel_all(self, strategy):
        self.cancelled.append("all")

    def write_log(self, msg, strategy):
        self.log.append(msg)

    def get_engine_type(self):
        return self.kind

    def get_pricetick(self, strategy, vt_symbol):
        return 0.02

    def get_size(self, strategy, vt_symbol):
        return 1000

    def load_bar(self, vt_symbol, days, interval, callback, use_database):
        return [bar(0), bar(1)]

    def load_tick(self, vt_symbol, days, callback):
        return []

    def put_strategy_event(self, strategy):
        self.log.append("event")

    def send_email(self, msg, strategy):
        self.log.append(f"mail {msg}")

    def sync_strategy_data(self, strategy):
        self.log.append("sync")


class Simple(CtaTemplate):
    window = 10
    speed = 1.0
    parameters = ["window", "speed"]
    variables = ["seen"]
    seen = 0

    def on_init(self):
        self.load_bar(1)

    def on_bar(self, bar):
        self.seen += 1


def made(kind=Simple, engine=None, **setting):
    strategy = kind(engine or Engine(), "one", "au2512.SHFE", setting)
    strategy.inited = strategy.trading = True
    return strategy


def bar(minute, symbol="au2512", close=800.0, at=NINE):
    return BarData(
        symbol=symbol,
        exchange=Exchange.SHFE,
        datetime=at + timedelta(minutes=minute),
        interval="1m",
        open_price=close,
        high_price=close + 1,
        low_price=close - 1,
        close_price=close,
        volume=10,
        open_interest=1,
        trading_day=date(2025, 10, 9),
    )


def tick(**more):
    values = dict(
        symbol="au2512", exchange=Exchange.SHFE, datetime=NINE, last_price=800.0, volume=1, open_interest=1,
        last_volume=1, open_price=800, high_price=800, low_price=800, pre_close=800, limit_up=880.0, limit_down=720.0,
        bid_price_1=799.98, bid_volume_1=1, ask_price_1=800.02, ask_volume_1=1,
    )  # fmt: skip
    return TickData(**(values | more))


def order(vt_orderid, status):
    return OrderData(
        order_id="1", request_id=vt_orderid, symbol="au2512", exchange=Exchange.SHFE, direction=Direction.LONG,
        offset=Offset.OPEN, order_type=OrderType.LIMIT, price=800, volume=1, traded=0, status=status, datetime=NINE,
        strategy_name="one",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("word", "direction", "offset"),
    [("buy", "LONG", "OPEN"), ("sell", "SHORT", "CLOSE"), ("short", "SHORT", "OPEN"), ("cover", "LONG", "CLOSE")],
)
def test_four_words_are_four_combinations_of_direction_and_offset(word, direction, offset):
    strategy = made()
    assert getattr(strategy, word)(800, 2, stop=True, lock=True, net=True) == ["order1"]
    assert strategy.cta_engine.sent == [("au2512.SHFE", direction, offset, 800, 2, True, True, True)]


def test_before_the_start_nothing_is_sent_or_cancelled():
    strategy = made()
    strategy.trading = False
    assert strategy.buy(800, 1) == []
    strategy.cancel_order("order1")
    strategy.cancel_all()
    strategy.sync_data()
    assert strategy.cta_engine.sent == strategy.cta_engine.cancelled == strategy.cta_engine.log == []


def test_parameters_come_from_the_setting_and_variables_are_the_instances_own():
    first, second = made(window=20, unknown=1), made()
    assert first.get_parameters() == {"window": 20, "speed": 1.0}
    assert second.get_parameters() == Simple.get_class_parameters() == {"window": 10, "speed": 1.0}
    assert first.variables == ["inited", "trading", "pos", "seen"]
    assert Simple.variables == ["seen"]
    assert first.get_data()["variables"] == {"inited": True, "trading": True, "pos": 0, "seen": 0}


def test_history_goes_through_on_bar_or_the_given_callback():
    strategy, seen = made(), []
    strategy.on_init()
    strategy.load_bar(1, Interval.MINUTE, seen.append)
    assert strategy.seen == 2
    assert len(seen) == 2


class Target(TargetPosTemplate):
    def on_init(self):
        pass


@pytest.mark.parametrize(
    ("pos", "target", "expected"),
    [
        (0, 2, ("LONG", "OPEN", 801.02, 2)),
        (-1, 2, ("LONG", "CLOSE", 801.02, 1)),
        (-3, -1, ("LONG", "CLOSE", 801.02, 2)),
        (0, -2, ("SHORT", "OPEN", 798.98, 2)),
        (3, -2, ("SHORT", "CLOSE", 798.98, 3)),
        (3, 1, ("SHORT", "CLOSE", 798.98, 2)),
    ],
)
def test_a_target_is_approached_by_closing_first(pos, target, expected):
    strategy = made(Target)
    strategy.pos = pos
    strategy.on_tick(tick())
    strategy.set_target_pos(target)
    ((_, direction, offset, price, volume, *_),) = strategy.cta_engine.sent
    assert (direction, offset, round(price, 2), volume) == expected


def test_a_new_target_waits_until_the_old_orders_are_gone():
    strategy = made(Target)
    strategy.on_tick(tick())
    strategy.set_target_pos(1)
    strategy.set_target_pos(2)
    strategy.set_target_pos(2)
    assert strategy.cta_engine.cancelled == ["order1"]
    strategy.on_order(order("order1", Status.CANCELLED))
    strategy.trade()
    assert len(strategy.cta_engine.sent) == 2


def test_a_target_order_stays_within_the_days_limits():
    strategy = made(Target)
    strategy.on_tick(tick(ask_price_1=880.0))
    strategy.set_target_pos(1)
    assert strategy.cta_engine.sent[0][3] == 880.0


class Pair(StrategyTemplate):
    def on_init(self):
        self.slices = []
        self.load_bars(1)

    def on_bars(self, bars):
        self.slices.append(sorted(bars))


def pair():
    strategy = Pair(Engine(), "pair", ["au2512.SHFE", "ag2512.SHFE"], {})
    strategy.inited = strategy.trading = True
    return strategy


def test_a_portfolio_closes_and_opens_towards_its_targets():
    strategy = pair()
    strategy.pos_data["au2512.SHFE"] = -2
    strategy.set_target("au2512.SHFE", 1)
    strategy.set_target("ag2512.SHFE", -1)
    strategy.rebalance_portfolio({"au2512.SHFE": bar(0), "ag2512.SHFE": bar(0, "ag2512")})
    assert [sent[:3] + sent[4:5] for sent in strategy.strategy_engine.sent] == [
        ("au2512.SHFE", "LONG", "CLOSE", 2),
        ("au2512.SHFE", "LONG", "OPEN", 1),
        ("ag2512.SHFE", "SHORT", "OPEN", 1),
    ]
    assert strategy.legs == ["au2512.SHFE", "ag2512.SHFE"]


def test_a_finished_order_is_no_longer_active():
    strategy = pair()
    (name,) = strategy.buy("au2512.SHFE", 800, 1)
    assert strategy.get_all_active_orderids() == [name]
    strategy.update_order(order(name, Status.CANCELLED))
    assert strategy.get_all_active_orderids() == []
    assert strategy.get_order(name).status is Status.CANCELLED


def test_bars_of_several_contracts_come_minute_by_minute():
    found = slices([bar(1), bar(0), bar(0, "ag2512")])
    assert [sorted(one) for one in found] == [["ag2512.SHFE", "au2512.SHFE"], ["au2512.SHFE"]]


# ---- windows under vnpy's face


@pytest.fixture
def sessions():
    days = frozenset(date(2025, 10, day) for day in (8, 9, 10, 13))
    found = Sessions(time(2, 30), TradingCalendar(days))
    token = window_factory.set(lambda symbol, length: WindowGenerator(length, found))
    yield found
    window_factory.reset(token)


def test_update_tick_builds_nothing(sessions):
    """One-minute bars come from Market, once."""
    seen = []
    generator = BarGenerator(seen.append, 5, seen.append)
    generator.update_tick(tick())
    assert generator.generate() is None
    assert seen == []


def test_five_one_minute_bars_make_a_window(sessions):
    seen = []
    generator = BarGenerator(lambda bar: None, 5, seen.append)
    for minute in range(11):
        generator.update_bar(bar(minute, close=800.0 + minute))
    assert [(one.datetime.minute, one.open_price, one.close_price, one.volume) for one in seen] == [
        (0, 800.0, 804.0, 50),
        (5, 805.0, 809.0, 50),
    ]


def test_hours_count_trading_minutes_across_the_break(sessions):
    """09:00-10:00, then 10:00-10:15 with 10:30-11:15."""
    seen = []
    generator = BarGenerator(lambda bar: None, 1, seen.append, Interval.HOUR)
    for minute in [*range(75), *range(90, 136)]:
        generator.update_bar(bar(minute))
    assert [f"{one.datetime:%H:%M}" for one in seen] == ["09:00", "10:00"]


def test_a_day_window_needs_vnpys_daily_end():
    with pytest.raises(ValueError, match="daily_end"):
        BarGenerator(print, 1, print, Interval.DAILY)
    BarGenerator(print, 1, print, Interval.DAILY, time(15, 0))


# ---- what a wish becomes


@given(
    volume=st.integers(1, 50),
    held=st.integers(0, 50),
    yesterday=st.integers(0, 50),
    lock=st.booleans(),
    net=st.booleans(),
    direction=st.sampled_from(Direction),
    offset=st.sampled_from([Offset.OPEN, Offset.CLOSE]),
)
def test_a_wish_keeps_its_volume_and_closes_no_more_than_there_is(
    volume, held, yesterday, lock, net, direction, offset
):
    parts = split_wish(direction, offset, volume, lock=lock, net=net, holding=held, yesterday=yesterday)
    assert sum(lots for _, lots in parts) == volume
    assert all(lots > 0 for _, lots in parts)
    if lock:
        assert sum(lots for part, lots in parts if part is not Offset.OPEN) == min(volume, yesterday)
    elif net:
        assert sum(lots for part, lots in parts if part is not Offset.OPEN) == min(volume, held)
    else:
        assert parts == [(offset, volume)]


@given(st.integers(1, 10**6), st.sampled_from([0.02, 0.1, 0.5, 1.0, 5.0]), st.floats(-0.49, 0.49))
def test_a_price_is_rounded_to_its_tick_without_dust(steps, step, off):
    price = round_to(steps * step + off * step, step)
    assert price == float(str(round(steps * step, 2)))


def test_a_stop_order_waits_by_default():
    stop = StopOrder(
        vt_symbol="au2512.SHFE",
        direction=Direction.LONG,
        offset=Offset.OPEN,
        price=1,
        volume=1,
        stop_orderid="STOP.1",
        strategy_name="one",
        datetime=NINE,
    )
    assert (stop.status, stop.vt_orderids) == ("WAITING", ())
