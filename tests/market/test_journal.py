"""TickJournal: what was received comes back in its order, whatever tore the last line."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from arbig.domain.bars import Link
from arbig.domain.messages import SHANGHAI, encode
from arbig.market.journal import TickJournal, event_of, line_of

DAY = date(2025, 10, 15)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)).map(
    lambda naive: naive.replace(microsecond=naive.microsecond // 1000 * 1000, tzinfo=SHANGHAI)
)


@given(
    MOMENTS | st.sampled_from(Link) | st.tuples(st.from_regex(r"[a-z]{1,2}\d{4}", fullmatch=True), st.none() | MOMENTS)
)
def test_every_event_reads_back_as_it_was(event: Any) -> None:
    assert event_of(line_of(event)) == event


def test_ticks_are_kept_as_they_came(tmp_path: Path, kit: Any) -> None:
    journal = TickJournal(tmp_path, keep=None)
    journal.open(DAY)
    tick = kit.tick("14 21:00:10", 900.0, 10)
    journal.write([encode(tick), encode(tick).replace(b",", b",\n"), line_of(Link.DOWN)])
    assert list(journal.read(DAY)) == [tick, tick, Link.DOWN]


def test_a_torn_line_is_cut_off_and_never_read(tmp_path: Path, kit: Any) -> None:
    journal = TickJournal(tmp_path, keep=None)
    journal.open(DAY)
    lines = [encode(kit.tick("14 21:00:10", 900.0, volume)) for volume in range(3)]
    journal.write(lines)
    journal.close()
    path = tmp_path / f"{DAY}.jsonl"
    whole = path.read_bytes()
    for cut in range(len(lines[0]) + 1, len(whole), 97):
        path.write_bytes(whole[:cut])
        read = list(journal.read(DAY))
        assert len(read) == whole[:cut].count(b"\n")
        journal.open(DAY)
        journal.write([line_of(Link.UP)])
        assert list(journal.read(DAY)) == [*read, Link.UP]
        journal.close()


def test_a_line_nobody_can_read_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / f"{DAY}.jsonl").write_bytes(b"@yesterday\n\n{}\n!sideways\n?\n\xff\xfe\n!up\n")
    assert list(TickJournal(tmp_path, keep=None).read(DAY)) == [Link.UP]
