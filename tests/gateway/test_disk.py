"""The journal's disk fails: nothing more is sent, the Gateway ends loudly, and its next life knows what there is."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from arbig.domain.counter import InsertOrder
from arbig.runtime.settings import SettingsError
from arbig.store.journal import Journal
from arbig.store.sqlite import StoreError

Desks = Callable[..., Any]


def play(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def sent(desk: Any) -> int:
    return sum(isinstance(wish, InsertOrder) for wish in desk.street.wishes)


@pytest.mark.parametrize("trouble", ["read-only", "locked", "damaged"])
def test_an_order_that_cannot_be_written_is_not_sent_and_the_gateway_ends(open_desk: Desks, trouble: str) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            await desk.order("works", 800.0)
            journal = desk.gateway.journal._db
            path = desk.settings.data / "db" / "gateway.db"
            other = sqlite3.connect(path, isolation_level=None)
            if trouble == "read-only":
                journal.execute("PRAGMA query_only = ON")
            elif trouble == "locked":
                journal.execute("PRAGMA busy_timeout = 0")
                other.execute("BEGIN IMMEDIATE")
            else:
                journal.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                journal.execute("PRAGMA cache_size = 0")
                with path.open("r+b") as file:
                    file.write(os.urandom(path.stat().st_size))
            await desk.order("r1", desk.street.price + 1)
            error = await asyncio.wait_for(desk.gateway.failure(), 5)
            other.close()
            assert isinstance(error, StoreError)
            assert "gateway.db" in str(error) and "\n" not in str(error)
            assert (sent(desk), desk.gateway.reconciled) == (1, False)

    play(story())


def test_on_a_full_disk_what_was_sent_has_its_row_and_nothing_else_was_sent(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            journal = desk.gateway.journal._db
            (pages,) = journal.execute("PRAGMA page_count").fetchone()
            journal.execute(f"PRAGMA max_page_count = {pages + 2}")
            for number in range(20):
                await desk.order(f"r{number}", 800.0)
            error = await asyncio.wait_for(desk.gateway.failure(), 5)
            (rows,) = journal.execute("SELECT count(*) FROM orders").fetchone()
            assert isinstance(error, StoreError) and "the disk is full: free some space" in str(error)
            assert 0 < sent(desk) == rows < 20

    play(story())


def test_a_word_of_the_counter_that_cannot_be_written_is_heard_again_by_the_next_life(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            await desk.order("r1", round(desk.street.price - 0.5, 2), 2)
            desk.gateway.journal._db.execute("PRAGMA query_only = ON")
            await desk.to("10-15T02:00:00")
            assert isinstance(await asyncio.wait_for(desk.gateway.failure(), 5), StoreError)
            desk.gateway.journal._db.execute("PRAGMA query_only = OFF")
            assert await desk.trades() == []
            await desk.restart()
            assert sum(trade.volume for trade in await desk.trades()) == 2
            assert (await desk.statuses("r1"))[-1] == "ALLTRADED"

    play(story())


def test_a_damaged_journal_is_refused_at_the_start_in_one_line(open_desk: Desks) -> None:
    async def story() -> None:
        async with open_desk() as desk:
            await desk.order("r1", 800.0)
            await desk.gateway.stop()
            path = desk.settings.data / "db" / "gateway.db"
            whole = path.read_bytes()
            path.write_bytes(whole[:4096] + os.urandom(len(whole) - 4096))
            with pytest.raises(SettingsError, match=r"gateway\.db is damaged.*start again") as refusal:
                desk._new_gateway()
            assert "\n" not in str(refusal.value)
            path.write_bytes(whole)

    play(story())


WRITER = """
import sys
from datetime import datetime
from pathlib import Path
from arbig.domain.messages import CommandData
from arbig.store.journal import Journal
journal, number = Journal(Path(sys.argv[1]), "sim"), 0
while True:
    number += 1
    row = journal.admit(CommandData(
        cmd_type="SEND_ORDER", request_id=f"{sys.argv[2]}-{number}", symbol="au2512", exchange="SHFE", direction="LONG",
        offset="OPEN", order_type="LIMIT", price=800.0, volume=1, timestamp=datetime(2025, 10, 14, 21, 5))).row
    print(row.order_ref, row.request_id, flush=True)
"""


def test_killed_in_the_middle_of_commits_the_journal_has_all_it_acknowledged_and_no_reference_twice(
    tmp_path: Path,
) -> None:
    path, acknowledged = tmp_path / "gateway.db", {}
    for life, lines in (("a", 20), ("b", 57)):
        words = [sys.executable, "-c", WRITER, str(path), life]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(lines):
                ref, request_id = writer.stdout.readline().split()
                acknowledged[int(ref)] = request_id
            writer.send_signal(signal.SIGKILL)
            rest = writer.stdout.read().splitlines()
            acknowledged |= {int(ref): name for ref, name in (line.split() for line in rest if line.count("-") == 1)}
    with closing(Journal(path, "sim")) as journal:
        found = {row.order_ref: row.request_id for row in journal._select("1")}
    assert acknowledged.items() <= found.items()
    assert len(found) <= len(acknowledged) + 2, "at most the one that was being acknowledged, in each life"
