"""Logs: one shape for everybody, read in one place."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime
from itertools import islice
from pathlib import Path

import pytest

from arbig.domain.messages import SHANGHAI
from arbig.runtime import logs
from arbig.runtime.files import SettingsError
from arbig.runtime.logs import ForeignLog, Wanted, follow_logs, line_of, read_logs, since_of, wanted_of

NOW = datetime(2025, 10, 9, 21, 30, tzinfo=SHANGHAI)


def write(folder: Path, service: str, *records: tuple[str, str, str]) -> None:
    with (folder / f"{service}.jsonl").open("a") as file:
        for ts, level, event in records:
            file.write(json.dumps({"ts": ts, "level": level, "service": service, "event": event}) + "\n")


def events(folder: Path, **wanted: object) -> list[str]:
    return [record["event"] for record in read_logs(folder, Wanted(**wanted))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, "market", ("2025-10-09T21:00:00.000+08:00", "info", "ready"))
    write(tmp_path, "market", ("2025-10-09T21:00:02.000+08:00", "warning", "a gap in au2512"))
    write(tmp_path, "gateway", ("2025-10-09T21:00:01.000+08:00", "error", "connection lost"))
    return tmp_path


def test_the_files_of_all_services_are_read_as_one_oldest_first(folder: Path) -> None:
    assert events(folder) == ["ready", "connection lost", "a gap in au2512"]


def test_a_reader_chooses_by_service_level_words_and_time(folder: Path) -> None:
    assert events(folder, service="market") == ["ready", "a gap in au2512"]
    assert events(folder, level="warning") == ["connection lost", "a gap in au2512"]
    assert events(folder, grep="AU25") == ["a gap in au2512"]
    assert events(folder, since=datetime(2025, 10, 9, 21, 0, 1, tzinfo=SHANGHAI)) == [
        "connection lost",
        "a gap in au2512",
    ]


def test_older_files_of_a_service_come_before_newer_ones(folder: Path) -> None:
    (folder / "market.jsonl").rename(folder / "market.jsonl.1")
    write(folder, "market", ("2025-10-09T21:00:03.000+08:00", "info", "newest"))
    assert events(folder, service="market") == ["ready", "a gap in au2512", "newest"]


def test_whoever_follows_sees_what_is_written_next_and_no_half_line(folder: Path) -> None:
    def write_meanwhile(_: float) -> None:
        with (folder / "market.jsonl").open("a") as file:
            file.write('{"ts": "2025-10-09T21:00:04.000+08:00", "level": "info", "event": "next"}\n{"half')

    assert [record["event"] for record in islice(follow_logs(folder, Wanted(), write_meanwhile), 1)] == ["next"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", NOW.replace(minute=20)),
        ("2h", NOW.replace(hour=19)),
        ("21:00", NOW.replace(minute=0)),
        ("2025-10-08T09:00", datetime(2025, 10, 8, 9, tzinfo=SHANGHAI)),
    ],
)
def test_since_is_said_as_people_say_it(text: str, expected: datetime) -> None:
    assert since_of(text, NOW) == expected


@pytest.mark.parametrize(
    ("level", "grep", "since", "expected"),
    [
        ("loud", None, None, "--level: found 'loud', expected one of: debug, info, warning, error, critical"),
        ("info", "(", None, "--grep: '(' is no regular expression: missing ), unterminated subpattern at position 0"),
        ("info", None, "ages", "--since: found 'ages', expected 10m, 2h, 21:00 or 2025-10-09T21:00"),
    ],
)
def test_a_wrong_word_of_a_reader_is_answered_in_one_line(level: str, grep: str, since: str, expected: str) -> None:
    with pytest.raises(SettingsError) as refused:
        wanted_of(None, level, grep, since, NOW)
    assert str(refused.value) == expected


def test_structlog_the_standard_library_and_tracebacks_all_get_the_one_shape(tmp_path: Path) -> None:
    code = (
        "import logging, pathlib, structlog, sys\n"
        "from arbig.runtime import logs\n"
        "logs.configure('market', pathlib.Path(sys.argv[1]))\n"
        "structlog.get_logger().info('bar', symbol='au2512')\n"
        "logging.getLogger('lib').warning('%s is slow', 'disk')\n"
        "structlog.get_logger().info('http://x/login?ticket=abc&next=jupyter')\n"
        "try: 1 / 0\n"
        "except ZeroDivisionError: structlog.get_logger().exception('died')\n"
    )
    said = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    records = [json.loads(line) for line in (tmp_path / "market.jsonl").read_text().splitlines()]
    assert [list(record)[:4] for record in records] == [["ts", "level", "service", "event"]] * 4
    assert [(record["level"], record["event"]) for record in records] == [
        ("info", "bar"),
        ("warning", "disk is slow"),
        ("info", "http://x/login?ticket=***&next=jupyter"),
        ("error", "died"),
    ]
    assert records[0]["symbol"] == "au2512"
    assert "ZeroDivisionError" in records[3]["exception"]
    assert "info     market    bar symbol=au2512" in said.stderr


def test_a_program_that_only_prints_is_logged_in_the_same_shape_and_turned_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "MAX_BYTES", 300)
    log = ForeignLog(tmp_path, "jupyter", rotate=True)
    for number in range(4):
        log.write([f"[E 2025 ServerApp] no {number}", "", "see http://x/lab?token=secret1"])
    records = list(read_logs(tmp_path, Wanted()))
    assert [record["event"] for record in records] == [
        word for number in range(4) for word in (f"[E 2025 ServerApp] no {number}", "see http://x/lab?token=***")
    ]
    assert [record["level"] for record in records[:2]] == ["error", "info"]
    assert len(list(tmp_path.glob("jupyter.jsonl*"))) > 1


def test_a_record_reads_as_a_line() -> None:
    record = {"ts": "2025-10-09T21:00:00.123+08:00", "level": "info", "service": "market", "event": "bar", "n": 1}
    assert line_of(record) == "21:00:00.123 info     market    bar n=1"
