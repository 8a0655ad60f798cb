"""Logs: one JSON object a line, one file a service, the same shape everywhere: ts level service event, then fields."""

from __future__ import annotations

import heapq
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from arbig.domain.messages import SHANGHAI
from arbig.runtime.clock import WallClock
from arbig.runtime.files import SettingsError
from arbig.runtime.lean import without

with without("rich"):
    import structlog
    from structlog.typing import Processor

MAX_BYTES, BACKUPS = 10_000_000, 5
LEVELS = ("debug", "info", "warning", "error", "critical")
HIDDEN_LENGTH = 6
"""A shorter secret would take ordinary words out of every line with it."""
_hidden: set[str] = set()
_clock = WallClock()
_SECRETS = re.compile(
    r"((?:token|ticket|password|secret|authorization)['\"]?\s*[=:]\s*['\"]?(?:bearer )?)[^\s'\"&,;]+", re.I
)


def configure(service: str, folder: Path, terminal: bool = "SUPERVISOR_ENABLED" not in os.environ) -> None:
    """Everything this process logs, by structlog or by the standard library, goes to `folder/{service}.jsonl`; to the
    terminal too, in plain words, unless the supervisor is listening there."""
    file = RotatingFileHandler(folder / f"{service}.jsonl", maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8")
    file.setFormatter(_formatter(service, structlog.processors.JSONRenderer(default=str, ensure_ascii=False)))
    handlers: list[logging.Handler] = [file]
    if terminal:
        screen = logging.StreamHandler(sys.stderr)
        screen.setFormatter(_formatter(service, _plain_line))
        handlers.append(screen)
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    for noisy in ("httpx", "httpcore", "uvicorn.access", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[structlog.stdlib.add_log_level, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )


def _formatter(service: str, renderer: Processor) -> logging.Formatter:
    def shape(_: Any, __: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        fields.pop("_record", None)
        fields.pop("_from_structlog", None)
        head = {
            "ts": stamp(),
            "level": fields.pop("level", "info"),
            "service": service,
            "event": fields.pop("event", ""),
        }
        return {name: redacted(value) for name, value in {**head, **fields}.items()}

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder()],
        processors=[structlog.processors.format_exc_info, shape, renderer],
    )


def _plain_line(_: Any, __: str, fields: MutableMapping[str, Any]) -> str:
    return line_of(fields)


def stamp() -> str:
    return _clock.now().isoformat(timespec="milliseconds")


def hide(words: Iterable[str]) -> None:
    """These secrets stand in no line from now on, whatever stands before them."""
    _hidden.update(word for word in words if len(word) >= HIDDEN_LENGTH)


def redacted(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    for word in _hidden:
        value = value.replace(word, "***")
    return _SECRETS.sub(r"\1***", value)


def line_of(record: MutableMapping[str, Any]) -> str:
    """A record as a person reads it: time, level, service, event, fields; a traceback below."""
    fields = {
        name: value for name, value in record.items() if name not in ("ts", "level", "service", "event", "exception")
    }
    words = " ".join(f"{name}={value}" for name, value in fields.items())
    head = f"{str(record.get('ts', ''))[11:23]} {record.get('level', '')!s:<8} {record.get('service', '')!s:<9}"
    tail = f"\n{record['exception']}" if record.get("exception") else ""
    return f"{head} {record.get('event', '')} {words}".rstrip() + tail


FOREIGN_LEVELS = (
    (re.compile(r"^\[E |\bERROR\b|^Traceback |^\w*(Error|Exception)\b"), "error"),
    (re.compile(r"^\[W |\bWARNING\b|^\d+:\w \S+ \S+ \S+ \S+ # "), "warning"),
)


def foreign_record(service: str, line: str) -> dict[str, Any]:
    """What a program that is not ours printed, in our shape."""
    level = next((level for pattern, level in FOREIGN_LEVELS if pattern.search(line)), "info")
    return {"ts": stamp(), "level": level, "service": service, "event": redacted(line)}


class ForeignLog:
    """The log file of a program that only prints (Redis, JupyterLab, the console): its lines in our shape, rotated."""

    def __init__(self, folder: Path, service: str, rotate: bool) -> None:
        self._path = folder / f"{service}.jsonl"
        self._service = service
        self._rotate = rotate

    def write(self, lines: Iterable[str]) -> None:
        texts = [json.dumps(foreign_record(self._service, line), ensure_ascii=False) for line in lines if line.strip()]
        if not texts:
            return
        if self._rotate and self._path.exists() and self._path.stat().st_size > MAX_BYTES:
            self._turn_over()
        with self._path.open("a", encoding="utf-8") as file:
            file.write("\n".join(texts) + "\n")

    def _turn_over(self) -> None:
        for number in range(BACKUPS - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))


@dataclass(frozen=True)
class Wanted:
    """Which records a reader asks for."""

    service: str | None = None
    level: str = "debug"
    grep: str | None = None
    since: datetime | None = None

    def accepts(self, record: MutableMapping[str, Any]) -> bool:
        return (
            _rank(str(record.get("level", "info"))) >= _rank(self.level)
            and (self.since is None or str(record.get("ts", "")) >= self.since.isoformat(timespec="milliseconds"))
            and (self.grep is None or re.search(self.grep, json.dumps(record, ensure_ascii=False), re.I) is not None)
        )


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else 1


def wanted_of(service: str | None, level: str, grep: str | None, since: str | None, now: datetime) -> Wanted:
    """A reader's words, checked. Raises SettingsError in one line."""
    if level not in LEVELS:
        raise SettingsError(f"--level: found {level!r}, expected one of: {', '.join(LEVELS)}")
    try:
        re.compile(grep or "")
        return Wanted(service, level, grep, since_of(since, now) if since else None)
    except re.error as error:
        raise SettingsError(f"--grep: {grep!r} is no regular expression: {error}") from None
    except ValueError as error:
        raise SettingsError(str(error)) from None


def since_of(text: str, now: datetime) -> datetime:
    """`10m`, `2h`, `1d` ago, or `21:00`, or `2025-10-09T21:00`. Raises ValueError in one line."""
    ago = re.fullmatch(r"(\d+)([smhd])", text)
    if ago:
        unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[ago[2]]
        return now - timedelta(**{unit: int(ago[1])})
    try:
        if re.fullmatch(r"\d{2}:\d{2}(:\d{2})?", text):
            return datetime.combine(now.date(), datetime.fromisoformat(f"2000-01-01T{text}").time(), SHANGHAI)
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"--since: found {text!r}, expected 10m, 2h, 21:00 or 2025-10-09T21:00") from None
    return found if found.tzinfo else found.replace(tzinfo=SHANGHAI)


def read_logs(folder: Path, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """The records of all files, or of one service's, oldest first."""
    files = [_records(path) for path in _files(folder, wanted.service)]
    yield from filter(wanted.accepts, heapq.merge(*files, key=lambda record: str(record.get("ts", ""))))


def follow_logs(folder: Path, wanted: Wanted, pause: Callable[[float], None] = time.sleep) -> Iterator[dict[str, Any]]:
    """What is written from now on, for ever."""
    places = {path: path.stat().st_size for path in _files(folder, wanted.service)}
    while True:
        fresh: list[dict[str, Any]] = []
        for path in _files(folder, wanted.service):
            if path.suffix == ".jsonl":
                lines, places[path] = _lines_after(path, places.get(path, 0))
                fresh += [record for line in lines if (record := _record(path, line))]
        yield from filter(wanted.accepts, sorted(fresh, key=lambda record: str(record.get("ts", ""))))
        pause(0.3)


def _lines_after(path: Path, place: int) -> tuple[list[str], int]:
    """Whole lines past `place`; a shorter file has been turned over and is read from its start."""
    with path.open("rb") as file:
        if file.seek(0, 2) < place:
            place = 0
        file.seek(place)
        data = file.read()
    end = data.rfind(b"\n") + 1
    return data[:end].decode("utf-8", "replace").splitlines(), place + end


def _files(folder: Path, service: str | None) -> list[Path]:
    """Oldest first within a service: market.jsonl.2, market.jsonl.1, market.jsonl."""
    found = [path for path in folder.glob(f"{service or '*'}.jsonl*") if not path.name.endswith(".lock")]
    return sorted(found, key=lambda path: -int(path.suffix[1:]) if path.suffix[1:].isdigit() else 0)


def _records(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", errors="replace") as file:
        yield from (record for line in file if (record := _record(path, line)))


def _record(path: Path, line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
