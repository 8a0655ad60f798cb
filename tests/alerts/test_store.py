"""What is to be told is on disk with the position it was read at: the same thing once a window, counted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from arbig.domain.messages import SHANGHAI
from arbig.store.alerts import SENT, AlertStore, Occurrence, Position

NOW = datetime(2025, 10, 9, 21, 0, tzinfo=SHANGHAI)
WINDOW = timedelta(minutes=5)
TARGETS = {"alarm": ["phone", "mail"], "halt": ["phone"]}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AlertStore]:
    found = AlertStore(tmp_path / "alerts.db")
    yield found
    found.close()


def happened(store: AlertStore, *ids: str, kind: str = "alarm", at: datetime = NOW, text: str = "late") -> None:
    occurrences = [Occurrence(kind, "ticks are late", f"{text} {name}", at, name) for name in ids]
    store.hear("stream:event", Position("e", f"{len(ids)}-0"), occurrences, TARGETS, at, WINDOW)


def counts(store: AlertStore, target: str) -> list[tuple[str, int, bool]]:
    return [(one.text, one.count, one.repeat) for one in store.waiting(target)]


def test_the_first_is_told_at_once_and_the_rest_with_their_number_when_the_window_ends(store):
    happened(store, *"abcd")
    told = store.waiting("phone")
    assert counts(store, "phone") == counts(store, "mail") == [("late a", 1, False)]
    store.ended(told, SENT, NOW)
    store.close_windows(TARGETS, NOW + WINDOW - timedelta(seconds=1), WINDOW)
    assert counts(store, "phone") == []
    store.close_windows(TARGETS, NOW + WINDOW, WINDOW)
    assert counts(store, "phone") == [("late d", 3, True)]


def test_a_target_that_has_not_heard_the_first_hears_one_line_with_the_whole_number(store):
    happened(store, *"abcd")
    store.close_windows(TARGETS, NOW + WINDOW, WINDOW)
    assert counts(store, "phone") == [("late d", 4, False)]


def test_a_quiet_window_ends_the_alert_and_the_next_one_is_told_at_once(store):
    happened(store, "a")
    store.ended(store.waiting("phone"), SENT, NOW)
    store.close_windows(TARGETS, NOW + WINDOW, WINDOW)
    happened(store, "b", at=NOW + 2 * WINDOW)
    assert counts(store, "phone") == [("late b", 1, False)]


def test_what_happens_while_a_message_is_on_its_way_is_still_due(store):
    happened(store, *"ab")
    on_its_way = store.waiting("phone")
    store.close_windows(TARGETS, NOW + WINDOW, WINDOW)
    store.ended(on_its_way, SENT, NOW + WINDOW)
    assert counts(store, "phone") == [("late b", 1, True)]


def test_an_event_that_is_said_again_after_redis_was_emptied_is_not_told_again(store):
    happened(store, "a")
    store.ended(store.waiting("phone"), SENT, NOW)
    happened(store, "a", at=NOW + 3 * WINDOW)
    store.close_windows(TARGETS, NOW + 4 * WINDOW, WINDOW)
    assert counts(store, "phone") == []


def test_kinds_go_where_they_are_wanted(store):
    happened(store, "a", kind="halt")
    happened(store, "b", kind="login")
    assert (len(store.waiting("phone")), store.waiting("mail")) == (1, [])
