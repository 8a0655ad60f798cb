"""What people are told: which events, of which kind, in which words."""

from __future__ import annotations

from datetime import datetime, time

import pytest

from arbig.alerts.hours import is_quiet
from arbig.alerts.wording import LINES, Due, alert_of_event, alert_of_row, message_of
from arbig.domain.messages import SHANGHAI, AlarmCode, EventData, EventType
from arbig.store.trail import Row

AT = datetime(2025, 10, 9, 21, 0, 5, tzinfo=SHANGHAI)


def event(kind: EventType, message: str = "", **more: object) -> EventData:
    return EventData(event=kind, source="trading", datetime=AT, message=message, event_id="e1", **more)


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        (
            event(EventType.DISCONNECTED, "front 0x1001"),
            "disconnect",
            "the line to the counter is lost: front 0x1001",
        ),
        (event(EventType.TRADING_STATE, "by hand", state="HALTED"), "halt", "trading is HALTED: by hand"),
        (event(EventType.ALARM, "a is paused: rejected", code=AlarmCode.REJECTS), "rejects", "a is paused: rejected"),
        (event(EventType.ALARM, "ma: ZeroDivisionError", code=AlarmCode.STRATEGY), "strategy", "ma: ZeroDivisionError"),
        (event(EventType.ALARM, "au2512 LONG ours 1", code=AlarmCode.MISMATCH), "mismatch", "au2512 LONG ours 1"),
        (event(EventType.ALARM, "trading is REDUCING", code="POSITION_MISMATCH"), "mismatch", "trading is REDUCING"),
        (event(EventType.ALARM, "streams are behind"), "alarm", "streams are behind"),
        (event(EventType.ALARM, "daily loss", code="DAILY_LOSS"), "alarm", "daily loss"),
    ],
)
def test_every_alarm_and_every_change_of_the_house_is_an_alert(said, kind, text):
    found = alert_of_event(said, "1-0", "en")
    assert found is not None and (found.kind, found.text) == (kind, text)


@pytest.mark.parametrize("quiet", [EventType.RECONCILED, EventType.SETTLED, EventType.TRADING_DAY, EventType.BOOK])
def test_what_is_the_services_own_business_is_not_told(quiet):
    assert alert_of_event(event(quiet), "1-0", "en") is None


def test_the_same_alarm_with_other_numbers_is_the_same_thing():
    one, two, other = (
        alert_of_event(event(EventType.ALARM, words), "1-0", "en")
        for words in ("silent for 31.5 s", "silent for 32 s", "not silent")
    )
    assert one.subject == two.subject != other.subject


def test_a_log_in_and_a_refused_one_are_told_with_their_place():
    row = Row(7, AT.isoformat(), "web session", "10.0.0.7", "log in", "by ticket", "", "abc")
    assert alert_of_row(row, "en").text == "web session logged in from 10.0.0.7"
    assert alert_of_row(row._replace(action="log-in refused"), "zh").text == "来自 10.0.0.7 的登录被拒绝"
    assert alert_of_row(row._replace(action="order"), "en") is None


def test_one_alert_speaks_for_itself_and_many_are_a_list():
    one = Due(1, "halt", "trading is HALTED: by hand", 1, AT, False)
    assert message_of("sim", [one], "en") == (
        "[ARBIG sim] trading state",
        "10-09 21:00:05 trading state: trading is HALTED: by hand",
    )
    again = Due(2, "alarm", "ticks are late", 41, AT, True)
    title, body = message_of("sim", [one, again], "zh")
    assert title == "[ARBIG sim] 2 条警报"
    assert body.splitlines()[1] == "10-09 21:00:05 警报: ticks are late (自 21:00:05 起又发生 41 次)"
    many = message_of("sim", [one] * (LINES + 3), "en")[1].splitlines()
    assert (len(many), many[-1]) == (LINES + 1, "and 3 more")


@pytest.mark.parametrize(
    ("now", "quiet"), [("22:59", False), ("23:00", True), ("03:00", True), ("07:29", True), ("07:30", False)]
)
def test_quiet_hours_hold_over_midnight(now, quiet):
    at = datetime.combine(AT.date(), time.fromisoformat(now), SHANGHAI)
    assert is_quiet((time(23), time(7, 30)), at) is quiet
