"""Positions: closes, lock and net mode are split as vnpy's own converter splits them."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st
from vnpy.trader.constant import Direction as TheirDirection
from vnpy.trader.constant import Exchange as TheirExchange
from vnpy.trader.constant import Offset as TheirOffset
from vnpy.trader.constant import OrderType as TheirType
from vnpy.trader.converter import PositionHolding
from vnpy.trader.object import OrderRequest

from arbig.domain.messages import Direction, Offset
from arbig.domain.positions import Holding, Leg, Lots, NotEnough, Prefer, Side, plan_offsets
from arbig.domain.template import split_wish

EXCHANGE = {"1": TheirExchange.SHFE, "2": TheirExchange.DCE}


@dataclass(frozen=True)
class Contract:
    position_date_type: str
    symbol: str = "x2601"


@dataclass(frozen=True)
class Case:
    """One holding in both houses, and a wish."""

    kind: str
    today: int
    yesterday: int
    today_frozen: int
    yesterday_frozen: int
    buys: bool
    volume: int

    @property
    def direction(self) -> Direction:
        return Direction.LONG if self.buys else Direction.SHORT

    def ours(self) -> Holding:
        side = Side(
            today_lots=(Lots(self.today, 1.0, 1.0),) if self.today else (),
            yesterday_lots=(Lots(self.yesterday, 1.0, 1.0),) if self.yesterday else (),
            today_frozen=self.today_frozen,
            yesterday_frozen=self.yesterday_frozen,
        )
        held = {"short" if self.buys else "long": side}
        return Holding(symbol="x2601", position_date_type=self.kind, **held)

    def theirs(self) -> PositionHolding:
        holding = PositionHolding(SimpleNamespace(vt_symbol="x2601.X", exchange=EXCHANGE[self.kind]))
        name = "short" if self.buys else "long"
        values = {
            "td": self.today, "yd": self.yesterday, "pos": self.today + self.yesterday,
            "td_frozen": self.today_frozen, "yd_frozen": self.yesterday_frozen,
            "pos_frozen": self.today_frozen + self.yesterday_frozen,
        }  # fmt: skip
        for key, value in values.items():
            setattr(holding, f"{name}_{key}", value)
        return holding

    def request(self, offset: TheirOffset) -> OrderRequest:
        direction = TheirDirection.LONG if self.buys else TheirDirection.SHORT
        return OrderRequest("x2601", EXCHANGE[self.kind], direction, TheirType.LIMIT, self.volume, 1.0, offset)


@st.composite
def cases(draw: st.DrawFn, kinds: str = "12") -> Case:
    kind, today, yesterday = draw(st.sampled_from(kinds)), draw(st.integers(0, 4)), draw(st.integers(0, 4))
    frozen = draw(st.integers(0, today)), draw(st.integers(0, yesterday))
    return Case(kind, today, yesterday, *frozen, draw(st.booleans()), draw(st.integers(1, 9)))


def legs(requests: list[OrderRequest]) -> tuple[Leg, ...]:
    return tuple(Leg(Offset[request.offset.name], request.volume) for request in requests if request.volume)


@settings(max_examples=150, deadline=None)
@given(cases("1"))
def test_a_close_is_split_as_vnpy_splits_it_when_today_goes_first(case: Case):
    plan = plan_offsets(case.ours(), Contract(case.kind), case.direction, case.volume, prefer=Prefer.TODAY)
    expected = legs(case.theirs().convert_order_request_shfe(case.request(TheirOffset.CLOSE)))
    assert (() if isinstance(plan, NotEnough) else plan) == expected


def wished(case: Case, lock: bool) -> list[tuple[Offset, int]]:
    side = case.ours().closable(case.direction)
    return split_wish(
        case.direction,
        Offset.OPEN,
        case.volume,
        lock=lock,
        net=not lock,
        holding=side.available,
        yesterday=side.yesterday_available,
    )


@settings(max_examples=150, deadline=None)
@given(cases("1"))
def test_lock_mode_is_vnpys(case: Case):
    assert tuple(wished(case, lock=True)) == legs(
        case.theirs().convert_order_request_lock(case.request(TheirOffset.OPEN))
    )


@settings(max_examples=150, deadline=None)
@given(cases())
def test_net_mode_is_vnpys(case: Case):
    """The strategy says how much it closes, Trading takes it from today's and yesterday's lots."""
    plan: list[Leg] = []
    for offset, volume in wished(case, lock=False):
        split = plan_offsets(case.ours(), Contract(case.kind), case.direction, volume, offset, Prefer.TODAY)
        assert not isinstance(split, NotEnough)
        plan += split
    assert tuple(plan) == legs(case.theirs().convert_order_request_net(case.request(TheirOffset.OPEN)))
