"""Orders: whatever arrives, in whatever order, ends in the same true state."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from arbig.domain.messages import (
    SHANGHAI,
    CommandData,
    CommandType,
    Detail,
    Direction,
    Exchange,
    Offset,
    OrderData,
    OrderRequest,
    OrderType,
    Status,
    TradeData,
    decode,
    encode,
)
from arbig.domain.orders import FINAL, ILLEGAL, TRANSITIONS, Event, OrderState, Stage, diagram, merge

NOON = datetime(2025, 10, 14, 9, 30, tzinfo=SHANGHAI)


def command(volume: int = 5, **changes: object) -> CommandData:
    fields = dict(
        cmd_type=CommandType.SEND_ORDER, request_id="r-1", strategy_name="MaRsiStrategy", symbol="au2512",
        exchange=Exchange.SHFE, direction=Direction.LONG, offset=Offset.OPEN, order_type=OrderType.LIMIT,
        price=650.5, volume=volume, timestamp=NOON, account_id="sim",
    )  # fmt: skip
    return CommandData(**(fields | changes))


def order(volume: int = 5, **changes: object) -> OrderState:
    return OrderState.from_command(command(volume, **changes))


def report(status: Status, traded: int = 0, volume: int = 5, **changes: object) -> OrderData:
    fields = dict(
        order_id="o-1", symbol="au2512", exchange=Exchange.SHFE, direction=Direction.LONG, offset=Offset.OPEN,
        order_type=OrderType.LIMIT, price=650.5, volume=volume, traded=traded, status=status,
        datetime=NOON + timedelta(seconds=1), strategy_name="MaRsiStrategy", request_id="r-1", account_id="sim",
    )  # fmt: skip
    return OrderData(**(fields | changes))


def trade(number: int, volume: int = 1, **changes: object) -> TradeData:
    fields = dict(
        trade_id=str(number), order_id="o-1", symbol="au2512", exchange=Exchange.SHFE, direction=Direction.LONG,
        offset=Offset.OPEN, price=650.5, volume=volume, datetime=NOON + timedelta(seconds=2),
        strategy_name="MaRsiStrategy", request_id="r-1", account_id="sim",
    )  # fmt: skip
    return TradeData(**(fields | changes))


def after(state: OrderState, *evidence: OrderData | TradeData) -> OrderState:
    for piece in evidence:
        state = merge(state, piece).state
    return state


# ---- the table ----------------------------------------------------------------------------------------------------


def test_the_table_answers_every_event_in_every_stage():
    assert set(TRANSITIONS) == set(product(Stage, Event))
    assert set(TRANSITIONS) >= ILLEGAL


def test_any_two_events_lead_to_the_same_stage_in_either_order_and_a_repeat_changes_nothing():
    for stage, one, other in product(Stage, Event, Event):
        assert TRANSITIONS[TRANSITIONS[stage, one], other] == TRANSITIONS[TRANSITIONS[stage, other], one]
        assert TRANSITIONS[TRANSITIONS[stage, one], one] == TRANSITIONS[stage, one]


def test_no_sequence_of_events_ever_comes_back_to_a_stage_it_has_left():
    onward = {stage: {TRANSITIONS[stage, event] for event in Event} - {stage} for stage in Stage}
    reachable = {stage: set(onward[stage]) for stage in Stage}
    for _ in Stage:
        for stage in Stage:
            reachable[stage] |= {far for near in reachable[stage] for far in onward[near]}
    assert [stage for stage in Stage if stage in reachable[stage]] == []


def test_a_dead_order_comes_to_life_only_when_we_alone_had_declared_it_dead():
    revived = {stage for (stage, _), to in TRANSITIONS.items() if stage in FINAL and to not in FINAL}
    assert revived == {Stage.NOT_SENT}


def test_the_diagram_shows_every_move_of_the_table():
    text = diagram()
    assert text.startswith("stateDiagram-v2")
    assert "    PARTTRADED --> CANCELLED: cancelled" in text.splitlines()
    assert "    CANCELLED --> ALLTRADED: filled" in text.splitlines()
    assert all(str(stage) in text for stage in Stage)


# ---- the life of an order -----------------------------------------------------------------------------------------


def test_an_order_is_queued_filled_in_two_parts_and_done():
    state = order()
    stages = []
    for piece in (
        report(Status.SUBMITTING), report(Status.NOTTRADED), report(Status.PARTTRADED, 2), trade(1, 2),
        report(Status.ALLTRADED, 5), trade(2, 3),
    ):  # fmt: skip
        state = merge(state, piece).state
        stages.append((state.status, state.traded, state.missing))
    assert stages == [
        (Status.SUBMITTING, 0, 0),
        (Status.NOTTRADED, 0, 0),
        (Status.PARTTRADED, 0, 2),
        (Status.PARTTRADED, 2, 0),
        (Status.ALLTRADED, 2, 3),
        (Status.ALLTRADED, 5, 0),
    ]


def test_a_report_that_comes_late_never_moves_an_order_back():
    done = after(order(), report(Status.ALLTRADED, 5), trade(1, 5))
    for late in (report(Status.SUBMITTING), report(Status.NOTTRADED), report(Status.PARTTRADED, 2)):
        assert merge(done, late) == (done, False, False)


def test_a_repeated_report_and_a_repeated_trade_change_nothing():
    state = after(order(), report(Status.PARTTRADED, 2), trade(1, 2))
    assert merge(state, report(Status.PARTTRADED, 2)) == (state, False, False)
    assert merge(state, trade(1, 2)) == (state, False, False)


def test_a_trade_after_the_cancel_still_counts_and_the_order_stays_cancelled():
    state = after(order(), report(Status.NOTTRADED), report(Status.CANCELLED, 0), trade(1, 2))
    assert (state.status, state.traded, state.is_active) == (Status.CANCELLED, 2, False)


def test_a_cancelled_order_whose_trades_fill_it_whole_is_filled():
    state = after(order(), report(Status.CANCELLED, 3), trade(1, 3), trade(2, 2))
    assert (state.status, state.traded, state.missing) == (Status.ALLTRADED, 5, 0)


def test_a_trade_before_its_order_report_fills_the_order():
    state = after(order(1), trade(1))
    assert (state.status, state.order_id) == (Status.ALLTRADED, "o-1")
    assert merge(state, report(Status.NOTTRADED, volume=1)).changed is False


def test_an_order_reported_filled_whose_trades_have_not_come_says_what_is_missing():
    state = after(order(), report(Status.ALLTRADED, 5), trade(1, 2))
    assert (state.missing, state.working) == (3, 3)
    done = after(state, trade(2, 3))
    assert (done.missing, done.working) == (0, 0)


def test_a_filled_report_counts_as_the_whole_volume_even_when_its_traded_field_lags():
    assert after(order(), report(Status.ALLTRADED, 0)).missing == 5


def test_a_cancelled_order_keeps_nothing_working_once_its_trades_are_in():
    state = after(order(), report(Status.CANCELLED, 2))
    assert state.working == 2
    assert after(state, trade(1, 2)).working == 0


def test_both_legs_of_a_self_trade_share_a_trade_id_and_are_told_apart_by_direction():
    assert trade(7).key != trade(7, direction=Direction.SHORT).key


def test_an_unknown_order_stays_unknown_until_the_counter_speaks():
    lost = report(Status.SUBMITTING, detail=Detail.UNKNOWN)
    state = after(order(), lost, report(Status.SUBMITTING))
    assert (state.status, state.detail, state.is_unknown, state.is_active) == (
        Status.SUBMITTING, Detail.UNKNOWN, True, True,
    )  # fmt: skip
    found = after(state, report(Status.NOTTRADED))
    assert (found.status, found.detail, found.is_unknown) == (Status.NOTTRADED, None, False)
    assert merge(found, lost) == (found, False, False)


def test_an_unknown_order_that_never_reached_the_counter_is_rejected_as_not_sent():
    state = after(
        order(), report(Status.SUBMITTING, detail=Detail.UNKNOWN), report(Status.REJECTED, detail=Detail.NOT_SENT)
    )
    assert (state.status, state.detail, state.is_active) == (Status.REJECTED, Detail.NOT_SENT, False)


def test_late_evidence_of_an_order_declared_not_sent_wins_and_is_no_contradiction():
    state = after(order(), report(Status.REJECTED, detail=Detail.NOT_SENT))
    found, changed, illegal = merge(state, report(Status.NOTTRADED))
    assert (found.status, found.is_active, changed, illegal) == (Status.NOTTRADED, True, True, False)
    gone = after(found, report(Status.CANCELLED, detail=Detail.LATE_ACK))
    assert (gone.status, gone.detail) == (Status.CANCELLED, Detail.LATE_ACK)


def test_a_reject_keeps_the_counters_number_and_words():
    state = after(order(), report(Status.REJECTED, error_id=31, error_msg="CTP:资金不足"))
    assert (state.status, state.error_id, state.error_msg) == (Status.REJECTED, 31, "CTP:资金不足")


def test_an_exchange_reject_comes_after_the_queue_report_and_without_a_number():
    state = after(order(), report(Status.NOTTRADED), report(Status.REJECTED, error_msg="已撤单报单被拒绝"))
    assert (state.status, state.error_id, state.error_msg) == (Status.REJECTED, None, "已撤单报单被拒绝")


def test_a_trade_of_a_rejected_order_counts_and_is_called_illegal():
    rejected = after(order(), report(Status.REJECTED))
    state, changed, illegal = merge(rejected, trade(1, 2))
    assert (state.traded, state.status, changed, illegal) == (2, Status.CANCELLED, True, True)


def test_more_lots_traded_than_ordered_is_called_illegal():
    assert merge(after(order(1), trade(1)), trade(2)).illegal is True


def test_evidence_of_another_order_is_called_illegal_and_changes_nothing():
    state = after(order(), report(Status.NOTTRADED))
    assert merge(state, report(Status.CANCELLED, order_id="o-2")) == (state, False, True)


# ---- in and out ---------------------------------------------------------------------------------------------------


def test_an_order_of_another_terminal_is_adopted_as_it_is_reported():
    state = OrderState.from_order_data(report(Status.PARTTRADED, 2, request_id=None, strategy_name="", forced=True))
    assert (state.status, state.missing, state.forced, state.vt_orderid) == (Status.PARTTRADED, 2, True, "o-1")


def test_the_specifications_own_order_is_read_and_said_again():
    said = json.loads((Path(__file__).parent / "specification_messages.json").read_text("utf-8"))["OrderData"]
    state = OrderState.from_order_data(decode(OrderData, json.dumps(said)))
    assert (state.status, state.missing) == (Status.ALLTRADED, 1)
    assert json.loads(encode(state.to_order_data())) == said


def test_a_fill_that_the_broker_forced_marks_its_order():
    assert after(order(), trade(1, forced=True)).forced is True


def test_an_order_goes_out_as_it_came_in():
    message = report(Status.PARTTRADED, 2, parent_id="p-1", run_id="run-1", cause="au2512#7")
    assert OrderState.from_order_data(message).to_order_data() == message


def test_a_denied_wish_is_a_rejected_order_that_says_why():
    request = OrderRequest(
        request_id="r-1", strategy_name="MaRsiStrategy", symbol="au2512", exchange=Exchange.SHFE,
        direction=Direction.LONG, offset=Offset.OPEN, order_type=OrderType.LIMIT, price=650.5, volume=0, timestamp=NOON,
    )  # fmt: skip
    message = OrderState.from_request(request).denied("au2512: volume 0 is outside 1-500 lots", NOON).to_order_data()
    assert (message.status, message.detail, message.error_msg, message.order_id, message.request_id) == (
        Status.REJECTED, Detail.DENIED, "au2512: volume 0 is outside 1-500 lots", "", "r-1",
    )  # fmt: skip


def test_the_strategy_knows_a_split_close_by_the_name_its_sell_returned():
    assert order(parent_id="p-1").vt_orderid == "p-1"
    assert order().vt_orderid == "r-1"


# ---- any order of events ------------------------------------------------------------------------------------------


@st.composite
def honest_stories(draw: st.DrawFn) -> list[OrderData | TradeData]:
    """What a counter tells of one order from its birth to its end, in order."""
    volume = draw(st.integers(1, 6))
    ending = draw(st.sampled_from(["filled", "cancelled", "rejected", "counter reject"]))
    if ending == "counter reject":
        return [report(Status.REJECTED, volume=volume, error_id=31, error_msg="no money")]
    story: list[OrderData | TradeData] = [
        report(Status.SUBMITTING, volume=volume),
        report(Status.NOTTRADED, volume=volume),
    ]
    if ending == "rejected":
        return [*story, report(Status.REJECTED, volume=volume, error_msg="refused")]
    traded = 0
    target = volume if ending == "filled" else draw(st.integers(0, volume - 1))
    while traded < target:
        lots = draw(st.integers(1, target - traded))
        traded += lots
        status = Status.ALLTRADED if traded == volume else Status.PARTTRADED
        story += [report(status, traded, volume), trade(traded, lots)]
    if ending == "cancelled":
        story.append(report(Status.CANCELLED, traded, volume))
    return story


def timeless(state: OrderState) -> OrderState:
    return msgspec.structs.replace(state, updated=NOON)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_shuffled_and_repeated_evidence_ends_where_the_true_story_ends(data: st.DataObject):
    story = data.draw(honest_stories())
    volume = story[0].volume
    told = after(order(volume), *story)
    shuffled = data.draw(st.permutations(story + data.draw(st.lists(st.sampled_from(story), max_size=6))))
    state = order(volume)
    for piece in shuffled:
        earlier = state
        state = merge(state, piece).state
        assert 0 <= earlier.traded <= state.traded <= volume
        assert earlier.announced <= state.announced
    assert timeless(state) == timeless(told)
    assert state.missing == 0
    assert [merge(state, piece).changed for piece in story] == [False] * len(story)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_even_contradicting_evidence_ends_in_one_state_whatever_its_order(data: st.DataObject):
    pieces = data.draw(
        st.lists(
            st.builds(report, st.sampled_from(Status), st.integers(0, 5))
            | st.builds(report, st.just(Status.SUBMITTING), detail=st.just(Detail.UNKNOWN))
            | st.builds(report, st.just(Status.REJECTED), detail=st.just(Detail.NOT_SENT))
            | st.builds(trade, st.integers(1, 4)),
            max_size=8,
        )
    )
    one = after(order(), *pieces)
    other = after(order(), *data.draw(st.permutations(pieces)))
    assert timeless(one) == timeless(other)


class CounterAndHouse(RuleBasedStateMachine):
    """A counter works an order; what it says reaches us late, twice, out of order, and we crash in between."""

    @initialize(volume=st.integers(1, 6))
    def send(self, volume: int) -> None:
        self.volume = volume
        self.filled = 0
        self.alive = True
        self.said: list[OrderData | TradeData] = [report(Status.SUBMITTING, volume=volume)]
        self.delivered: set[int] = set()
        self.house = order(volume)

    @precondition(lambda self: self.alive)
    @rule()
    def counter_queues(self) -> None:
        status = Status.PARTTRADED if self.filled else Status.NOTTRADED
        self.said.append(report(status, self.filled, self.volume))

    @precondition(lambda self: self.alive)
    @rule(data=st.data(), trade_first=st.booleans())
    def counter_fills(self, data: st.DataObject, trade_first: bool) -> None:
        lots = data.draw(st.integers(1, self.volume - self.filled))
        self.filled += lots
        self.alive = self.filled < self.volume
        status = Status.PARTTRADED if self.alive else Status.ALLTRADED
        pair = [report(status, self.filled, self.volume), trade(self.filled, lots)]
        self.said += reversed(pair) if trade_first else pair

    @precondition(lambda self: self.alive)
    @rule()
    def counter_cancels(self) -> None:
        self.alive = False
        self.said.append(report(Status.CANCELLED, self.filled, self.volume))

    @precondition(lambda self: self.alive)
    @rule()
    def gateway_loses_sight(self) -> None:
        self.said.append(report(Status.SUBMITTING, volume=self.volume, detail=Detail.UNKNOWN))

    @rule(data=st.data())
    def something_arrives(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.said) - 1))
        before = self.house
        merged = merge(self.house, self.said[index])
        assert not merged.illegal
        if index in self.delivered:
            assert merged.state.traded == before.traded
        self.delivered.add(index)
        self.house = merged.state

    @rule()
    def everything_is_replayed(self) -> None:
        self.house = after(self.house, *self.said)
        self.delivered = set(range(len(self.said)))
        assert self.house.traded == self.filled
        assert self.house.is_active is self.alive
        assert after(self.house, *self.said) == self.house

    @rule()
    def house_crashes_and_reads_its_store(self) -> None:
        self.house = msgspec.json.decode(msgspec.json.encode(self.house), type=OrderState)

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        assert 0 <= self.house.traded <= self.filled <= self.volume
        trades = [self.said[i] for i in self.delivered if isinstance(self.said[i], TradeData)]
        assert self.house.traded == sum(piece.volume for piece in trades)


TestCounterAndHouse = CounterAndHouse.TestCase
TestCounterAndHouse.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
