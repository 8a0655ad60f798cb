"""The janitor's one question: before which entry may this stream be trimmed?"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from arbig.bus.port import GroupState, entry_key
from arbig.bus.retention import NOTHING, Extent, alarms, cut, next_id

ids = st.tuples(st.integers(0, 2**45), st.integers(0, 9)).map(lambda pair: f"{pair[0]}-{pair[1]}")


@given(surplus=ids, old=ids, finished=ids)
def test_nothing_unfinished_is_ever_trimmed(surplus: str, old: str, finished: str) -> None:
    before = cut(Extent("stream:trade", 1, surplus, finished), old)
    assert before is None or entry_key(before) <= entry_key(finished)


@given(surplus=ids, old=ids)
def test_what_is_finished_goes_as_far_as_number_or_age_allow(surplus: str, old: str) -> None:
    before = cut(Extent("stream:trade", 1, surplus, finished=f"{2**60}-0"), old)
    assert entry_key(before or NOTHING) == max(entry_key(surplus), entry_key(old))


@given(ids)
def test_a_finished_entry_ends_before_the_next_id(entry_id: str) -> None:
    assert entry_key(entry_id) < entry_key(next_id(entry_id))


def test_a_group_that_lost_entries_is_told() -> None:
    state = GroupState("stream:trade", "group:strategy", pending=0, lag=0, lost=3)
    expected = ("group:strategy lost 3 entries of stream:trade, trimmed before it read them; it must resynchronise",)
    assert expected == alarms([state])
