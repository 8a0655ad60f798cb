"""The audit trail: whatever is changed in it afterwards is found, with the row."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from arbig.runtime.audit import note, note_limits, trail_of
from arbig.runtime.settings import load_settings
from arbig.store.sqlite import StoreError
from arbig.store.trail import Trail

ROOT = Path(__file__).parents[2]
AT = "2026-01-05T09:00:00.000+08:00"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "db" / "audit.db"


@pytest.fixture
def trail(path: Path) -> Trail:
    trail = Trail(path)
    for action, what in (("log in", ""), ("order", "LONG OPEN 1 au2512 at 880.0"), ("halt", "收盘前"), ("log out", "")):
        trail.write(AT, "trader", "127.0.0.1", action, what)
    return trail


def tamper(path: Path, *statements: str) -> None:
    """By somebody who may write the file and knows that there are triggers."""
    with sqlite3.connect(path) as database:
        for statement in ("DROP TRIGGER trail_unchanged", "DROP TRIGGER trail_undeleted", *statements):
            database.execute(statement)
    database.close()


def test_an_untouched_chain_is_unbroken(trail: Trail) -> None:
    assert trail.broken() is None
    assert [1, 2, 3, 4] == [row.number for row in trail.rows()]
    assert ["halt", "log out"] == [row.action for row in trail.rows(limit=2)]


def test_an_empty_trail_is_unbroken(path: Path) -> None:
    assert Trail(path).broken() is None


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE trail SET what = 'LONG OPEN 9' WHERE number = 2", f"row 2 ({AT} trader order) was changed"),
        ("UPDATE trail SET at = '2026-01-05T10:00:00.000+08:00' WHERE number = 4", "row 4 (2026-01-05T10:00:00.000"),
        ("DELETE FROM trail WHERE number = 2", f"row 2 is missing (the next one is 3, {AT})"),
        ("DELETE FROM trail WHERE number = 1", "row 1 is missing"),
        ("DELETE FROM trail WHERE number > 2", "rows 3 to 4 are missing at the end"),
        ("DELETE FROM trail", "rows 1 to 4 are missing at the end"),
        ("UPDATE trail SET number = 9 WHERE number = 4", "row 4 is missing (the next one is 9"),
    ],
)  # fmt: skip
def test_a_change_is_found_with_its_row(trail: Trail, path: Path, statement: str, said: str) -> None:
    tamper(path, statement)
    assert str(trail.broken()).startswith(said)


def test_a_row_that_was_changed_together_with_its_hash_breaks_the_next_one(trail: Trail, path: Path) -> None:
    second = trail.rows()[1]._replace(what="LONG OPEN 9 au2512 at 880.0")
    tamper(path, f"UPDATE trail SET what = '{second.what}', hash = '{second.due}' WHERE number = 2")
    assert trail.broken() == f"row 3 ({AT}) does not follow from row 2: one of them was changed"


def test_rows_written_after_a_cut_do_not_hide_it(trail: Trail, path: Path) -> None:
    tamper(path, "DELETE FROM trail")
    trail.write(AT, "trader", "127.0.0.1", "log in", "")
    assert str(trail.broken()).startswith("row 1 is missing (the next one is 5")


def test_the_file_itself_refuses_changes(trail: Trail, path: Path) -> None:
    with sqlite3.connect(path) as database:
        for statement in ("UPDATE trail SET what = 'x'", "DELETE FROM trail"):
            with pytest.raises(sqlite3.IntegrityError, match="only added to"):
                database.execute(statement)
    database.close()


def test_several_writers_make_one_chain(path: Path) -> None:
    def write(n: int) -> None:
        Trail(path).write(AT, f"writer {n}", "here", "note", str(n))

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(write, range(20)))
    assert (Trail(path).broken(), len(Trail(path).rows())) == (None, 20)


def test_a_disk_that_takes_nothing_holds_nobody_up(tmp_path: Path) -> None:
    settings = load_settings(root=ROOT, data=tmp_path, port_offset=3440)
    (tmp_path / "db").write_text("a file where a folder should be")
    note(settings, "trader", "console", "halt", "now")
    with pytest.raises(StoreError):
        trail_of(settings).rows()


def test_changed_limits_are_a_row_and_the_same_ones_are_none(tmp_path: Path) -> None:
    settings = load_settings(root=ROOT, data=tmp_path, port_offset=3440)
    limits = tmp_path / "risk.yaml"
    for text in ("a: 1", "a: 1", "a: 2"):
        limits.write_text(text)
        note_limits(settings, limits)
    assert ["limits", "limits"] == [row.action for row in trail_of(settings).rows()]


def test_a_secret_in_the_words_is_masked(tmp_path: Path) -> None:
    settings = load_settings(root=ROOT, data=tmp_path, port_offset=3440)
    note(settings, "trader", "console", "order", "token=abcdef0123 volume=1")
    assert trail_of(settings).rows()[0].what == "token=*** volume=1"


def test_arbig_audit_shows_and_verifies(tmp_path: Path) -> None:
    settings = load_settings(root=ROOT, data=tmp_path, port_offset=3440)
    note(settings, "trader", "127.0.0.1", "order", "LONG OPEN 1 au2512")

    def audit(*words: str) -> subprocess.CompletedProcess[str]:
        command = [Path(sys.executable).with_name("arbig"), "audit", *words, "--data", tmp_path]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert "order" in audit().stdout
    assert audit("--verify").stdout.startswith("1 row, unbroken; the last hash is ")
    tamper(tmp_path / "db" / "audit.db", "UPDATE trail SET what = 'SHORT'")
    found = audit("--verify")
    assert (found.returncode, found.stderr.startswith("arbig: data/db/audit.db: row 1 (")) == (1, True), found.stderr
