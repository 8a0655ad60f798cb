"""Scheduler: `config/schedule.yaml`. One bad entry is one line and stops nobody else; a file that is no YAML stops the
change, not what runs."""

from __future__ import annotations

import ast
import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from arbig.domain.instruments import InstrumentBook, UnknownSymbol
from arbig.domain.schedules import POINTS, Rule, ScheduleError, cron, session_point, span, time_of_day
from arbig.domain.sessions import Sessions, TradingCalendar
from arbig.runtime.files import Config, SettingsError, read_yaml, validated
from arbig.runtime.settings import Settings

FILE = "schedule.yaml"
SESSION_POINTS = tuple(f"{side}_{point}" for point in POINTS for side in ("before", "after"))
RULES = (*SESSION_POINTS, "at", "cron")


class EntryConfig(Config):
    """One notebook and when it runs. Times of the sessions are the exchange's clock, spans of a run the wall's."""

    notebook: str = Field(min_length=1, examples=["10_daily_report.ipynb"])
    enabled: bool = True
    before_night_open: str | None = Field(None, examples=["10m"])
    after_night_open: str | None = Field(None, examples=["10m"])
    before_night_close: str | None = Field(None, examples=["10m"])
    after_night_close: str | None = Field(None, examples=["10m"])
    before_day_open: str | None = Field(None, examples=["10m"])
    after_day_open: str | None = Field(None, examples=["10m"])
    before_day_close: str | None = Field(None, examples=["10m"])
    after_day_close: str | None = Field(None, examples=["5m"])
    at: str | None = Field(None, examples=["20:30"])
    cron: str | None = Field(None, examples=["0 10 * * sat"])
    days: Literal["trading", "all"] = "trading"
    symbol: str | None = Field(None, examples=["au2512"])
    parameters: dict[str, Any] = {}
    deadline: str = Field("10m", examples=["10m"])
    on_end: Literal["keep", "stop", "flatten"] = "keep"
    keep_intents: bool = False
    missed: Literal["run", "skip"] = "run"
    grace: str = Field("30m", examples=["30m"])
    retries: int = Field(0, ge=0, le=10)
    retry_pause: str = Field("10s", examples=["10s"])
    mode: Literal["paper", "live"] = "paper"

    @model_validator(mode="after")
    def _one_rule(self) -> EntryConfig:
        found = [name for name in RULES if getattr(self, name) is not None]
        if len(found) != 1:
            raise ValueError(
                f"found {', '.join(found) or 'no time'}, expected exactly one of {', '.join(RULES)}; "
                "write e.g. after_day_close: 5m"
            )
        return self


class ScheduleConfig(Config):
    schedule: dict[str, EntryConfig] = Field({}, examples=[{}])


@dataclass(frozen=True)
class Entry:
    """An entry that can run."""

    name: str
    config: EntryConfig
    rule: Rule
    sessions: Sessions
    notebook: Path

    @cached_property
    def deadline(self) -> timedelta:
        return span(self.config.deadline)

    @cached_property
    def grace(self) -> timedelta:
        return span(self.config.grace)

    @cached_property
    def retry_pause(self) -> timedelta:
        return span(self.config.retry_pause)


@dataclass(frozen=True)
class Schedule:
    """What the file says now, and what is wrong with it, a line each."""

    entries: Mapping[str, Entry]
    problems: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    """Entries that cannot run, by name, each with its line."""


def load_schedule(settings: Settings, book: InstrumentBook, calendar: TradingCalendar) -> Schedule:
    """Raises SettingsError when nothing of the file can be read."""
    path = settings.config / FILE
    try:
        found = read_yaml(path)
    except FileNotFoundError:
        return Schedule({})
    raw = found.get("schedule", {}) if isinstance(found, dict) else None
    if not isinstance(raw, dict) or set(found) - {"schedule"}:
        validated(found, path, ScheduleConfig)
        raise SettingsError(f"config/{FILE}: schedule: found {type(raw).__name__}, expected names and entries")
    entries: dict[str, Entry] = {}
    refused = []
    for name, values in raw.items():
        try:
            entries[name] = _entry(str(name), values, settings, book, calendar, entries)
        except (SettingsError, ScheduleError) as error:
            line = str(error)
            refused.append((str(name), line if line.startswith("config/") else f"{_place(str(name))}: {line}"))
    return Schedule(entries, tuple(line for _, line in refused), tuple(refused))


def _entry(
    name: str,
    values: Any,
    settings: Settings,
    book: InstrumentBook,
    calendar: TradingCalendar,
    known: Mapping[str, Entry],
) -> Entry:
    path = settings.config / FILE
    config = validated({"schedule": {name: values}}, path, ScheduleConfig).schedule[name]
    _check_name(name, settings, known)
    for words in ("deadline", "grace", "retry_pause"):
        try:
            span(getattr(config, words))
        except ScheduleError as error:
            raise ScheduleError(f"{words}: {error}") from None
    rule = _rule(config)
    symbol = config.symbol or settings.symbols[0]
    try:
        instrument = book.get(symbol)
    except UnknownSymbol as error:
        raise ScheduleError(f"symbol: {error}") from None
    sessions = Sessions(instrument.night_close, calendar)
    if "night" in rule.words.split(":")[0] and instrument.night_close is None:
        raise ScheduleError(f"{rule.words}: {symbol} has no night session; name another contract: symbol: au2512")
    notebook = notebook_of(settings, config.notebook)
    check_parameters(notebook, config.parameters)
    return Entry(name, config, rule, sessions, notebook)


def _rule(config: EntryConfig) -> Rule:
    if config.at is not None:
        return time_of_day(config.at)
    if config.cron is not None:
        return cron(config.cron, config.days == "all")
    name = next(name for name in SESSION_POINTS if getattr(config, name) is not None)
    return session_point(name, getattr(config, name))


def _check_name(name: str, settings: Settings, known: Mapping[str, Entry]) -> None:
    """The name is the run's folder and its own book in the account: nobody else's."""
    if not name.replace("_", "").replace("-", "").isalnum() or not name.isascii() or len(name) > 48:
        raise ScheduleError("found this name, expected letters, digits, _ and -; write e.g. daily_report")
    if twin := next((other for other in known if other.lower() == name.lower()), None):
        raise ScheduleError(f"found the name of {twin} again; give one of them another name")
    if name in strategy_names(settings):
        raise ScheduleError(f"a strategy in config/strategies has this name and its book; call it e.g. {name}_notebook")


def strategy_names(settings: Settings) -> set[str]:
    names = set()
    for path in (settings.config / "strategies").glob("*.y*ml"):
        try:
            found = read_yaml(path)
        except (SettingsError, FileNotFoundError):
            continue
        names.add(str(found.get("strategy_name", path.stem)) if isinstance(found, dict) else path.stem)
    return names


# ---- notebooks


def notebook_of(settings: Settings, words: str) -> Path:
    """The file under notebooks/. Raises ScheduleError."""
    folder = (settings.root / "notebooks").resolve()
    path = (folder / words).with_suffix(".ipynb") if not words.endswith(".ipynb") else folder / words
    if not path.resolve().is_relative_to(folder):
        raise ScheduleError(f"notebook: found {words!r}, expected a file under notebooks/")
    if not path.is_file():
        names = sorted(each.stem for each in folder.glob("*.ipynb"))
        close = difflib.get_close_matches(path.stem, names, n=1)
        hint = f". Did you mean: {close[0]}?" if close else f"; there are: {', '.join(names) or 'none'}"
        raise ScheduleError(f"notebook: notebooks/{path.name} is not there{hint}")
    return path


def check_parameters(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """Every parameter is one of the notebook's own. Raises ScheduleError."""
    shown = f"notebooks/{notebook.name}"
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell.get("metadata", {}).get("tags", ())]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ScheduleError(f"notebook: {shown} is not a notebook; open and save it in JupyterLab") from None
    if not parameters:
        return
    if not tagged:
        raise ScheduleError(
            f"parameters: {shown} has no cell tagged parameters; tag the cell with its defaults, or leave them out"
        )
    known = _assigned("".join(tagged[0]["source"]))
    for name in parameters:
        if known is not None and name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f". Did you mean: {close[0]}?" if close else f"; it has: {', '.join(sorted(known)) or 'none'}"
            raise ScheduleError(f"parameters: {shown} has no parameter {name!r}{hint}")


def _assigned(source: str) -> set[str] | None:
    """Names that the cell gives values; None when it is no plain Python."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return None
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _place(name: str) -> str:
    return f"config/{FILE}: schedule.{name}"
