"""Scheduler: what to do about what is due. Pure: the schedule, what was looked at and the session's clock go in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from arbig.domain.schedules import Due, ScheduleError, due_between, trading_time
from arbig.domain.sessions import CalendarError
from arbig.scheduler.configuration import Entry


@dataclass(frozen=True)
class Planned:
    """A due, to be run, or left out with the reason: MISSED, or SKIPPED when nothing was lost."""

    name: str
    due: Due
    missed: str | None = None
    state: str = "DUE"


def plan(entries: Iterable[Entry], looked: datetime, now: datetime, was_away: bool) -> list[Planned]:
    """What became due after `looked`, up to `now`. `was_away`: nobody looked meanwhile (a restart, a sleeping machine);
    a clock that goes back makes nothing due."""
    found = [each for entry in entries if entry.config.enabled for each in _of_entry(entry, looked, now, was_away)]
    return sorted(found, key=lambda each: (each.due.moment, each.name))


def _of_entry(entry: Entry, looked: datetime, now: datetime, was_away: bool) -> list[Planned]:
    """Of several that came due together only the last runs: the earlier ones would do the same."""
    dues: list[Due] = []
    try:
        dues.extend(due_between(entry.rule, looked, now, entry.sessions))
    except (CalendarError, ScheduleError):
        pass  # a day beyond the calendar: its line stands in the schedule's problems
    earlier = [Planned(entry.name, due, "it came due together with the next one", "SKIPPED") for due in dues[:-1]]
    return [*earlier, *(_judged(entry, due, now, was_away) for due in dues[-1:])]


def _judged(entry: Entry, due: Due, now: datetime, was_away: bool) -> Planned:
    missed = _missed(entry, due, now, was_away)
    return Planned(entry.name, due, missed, "DUE" if missed is None else "MISSED")


def _missed(entry: Entry, due: Due, now: datetime, was_away: bool) -> str | None:
    if was_away and entry.config.missed == "skip":
        return "the scheduler was away (missed: skip)"
    if is_late(entry, due, now):
        return f"trading has gone on for more than {entry.config.grace} since (grace: {entry.config.grace})"
    return None


def is_late(entry: Entry, due: Due, now: datetime) -> bool:
    """Closed hours make nothing late: the exchange has done nothing in them."""
    try:
        return trading_time(due.moment, now, entry.sessions, entry.grace) > entry.grace
    except CalendarError:
        return False


def next_due(entry: Entry, now: datetime) -> tuple[Due | None, str | None]:
    """When it is due next, or why nobody can say."""
    try:
        return entry.rule.after(now, entry.sessions), None
    except (CalendarError, ScheduleError) as error:
        return None, str(error)
