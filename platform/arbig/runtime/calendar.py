"""The trading calendar: a table in the package made from exchange_calendars, and `config/holidays.yaml` beyond it.

`python -m arbig.runtime.calendar` writes the table anew. Services read the table alone: exchange_calendars is slow to
import.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from functools import cache
from pathlib import Path

from pydantic import Field, field_validator

from arbig.domain.sessions import TradingCalendar
from arbig.runtime.files import Config, load_yaml_model
from arbig.runtime.settings import Settings

TABLE = Path(__file__).with_name("calendar_days.txt")
FIRST_DAY = "1999-01-04"
LAST_DAY = "2026-12-31"
HEADER = "# Trading days: XSHG of exchange_calendars; written by `python -m arbig.runtime.calendar`"


class HolidaysConfig(Config):
    """`config/holidays.yaml`: holidays of years the table does not reach, and trading days without a night."""

    years: dict[int, list[str]] = Field({}, examples=[{2027: ["2027-01-01", "2027-02-05..2027-02-12"]}])
    no_night: list[str] = Field([], examples=[["2020-02-03..2020-05-06"]])

    @field_validator("years", "no_night", mode="before")
    @classmethod
    def _dates_as_text(cls, value: object) -> object:
        """YAML makes dates of plain dates; ranges are text."""
        if isinstance(value, dict):
            return {key: cls._dates_as_text(item) for key, item in value.items()}
        return (
            [item.isoformat() if isinstance(item, date) else item for item in value]
            if isinstance(value, list)
            else value
        )

    @field_validator("no_night")
    @classmethod
    def _ranges(cls, value: list[str]) -> list[str]:
        list(_days_of(value))
        return value

    @field_validator("years")
    @classmethod
    def _years(cls, years: dict[int, list[str]]) -> dict[int, list[str]]:
        for year, ranges in years.items():
            outside = [day for day in _days_of(ranges) if day.year != year]
            if outside:
                raise ValueError(f"{year}: found {outside[0]}, expected days of {year}")
        return years


def load_calendar(settings: Settings) -> TradingCalendar:
    """The table and what `config/holidays.yaml` adds. Raises SettingsError, one line."""
    config = load_yaml_model(settings.config / "holidays.yaml", HolidaysConfig)
    known = table()
    added = {
        day for year, holidays in config.years.items() for day in _trading_days(year, frozenset(_days_of(holidays)))
    }
    return TradingCalendar(known | {day for day in added if day > max(known)}, frozenset(_days_of(config.no_night)))


@cache
def table() -> frozenset[date]:
    lines = TABLE.read_text(encoding="ascii").splitlines()
    return frozenset(_dates(line for line in lines if not line.startswith("#")))


def _dates(lines: Iterable[str]) -> Iterator[date]:
    """One line per month: `2025-10 09 10 13 ...`."""
    for line in lines:
        month, *days = line.split()
        yield from (date.fromisoformat(f"{month}-{day}") for day in days)


def _days_of(ranges: Iterable[str]) -> Iterator[date]:
    for text in ranges:
        first, _, last = text.partition("..")
        try:
            day, end = date.fromisoformat(first.strip()), date.fromisoformat((last or first).strip())
        except ValueError:
            raise ValueError(f"found {text!r}, expected a date or a range such as 2020-02-03..2020-05-06") from None
        if end < day:
            raise ValueError(f"found {text!r}, expected the earlier date first")
        while day <= end:
            yield day
            day += timedelta(days=1)


def _trading_days(year: int, holidays: frozenset[date]) -> Iterator[date]:
    day = date(year, 1, 1)
    while day.year == year:
        if day.weekday() < 5 and day not in holidays:
            yield day
        day += timedelta(days=1)


def generated() -> str:
    """The table's text as exchange_calendars gives it now."""
    import exchange_calendars

    sessions = exchange_calendars.get_calendar("XSHG", start=FIRST_DAY, end=LAST_DAY).sessions
    months: dict[str, list[str]] = {}
    for session in sessions:
        months.setdefault(f"{session:%Y-%m}", []).append(f"{session:%d}")
    return "\n".join([HEADER, *(f"{month} {' '.join(days)}" for month, days in months.items()), ""])


def main() -> None:
    TABLE.write_text(generated(), encoding="ascii")
    print(f"{TABLE}: {len(set(_dates(generated().splitlines()[1:])))} trading days, {FIRST_DAY}..{LAST_DAY}")


if __name__ == "__main__":
    main()
