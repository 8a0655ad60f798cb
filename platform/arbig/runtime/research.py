"""Research: what was worked out and saved. Two files each in `data/research/`, the page and its figures; nothing in it
is ever written over."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import msgspec

from arbig.runtime.clock import WallClock
from arbig.runtime.files import write_whole

Kind = Literal["tearsheet", "comparison", "sweep", "heatmap", "walk-forward"]

ID = re.compile(r"^\d{8}-\d{6}-[\w.-]{1,80}$")
MOST_ITEMS = 1000


class Item(msgspec.Struct, frozen=True):
    """What is known of a page without opening it. `figures`: None where one cannot be known."""

    id: str
    kind: str
    title: str
    saved: datetime
    figures: dict[str, Any] = {}
    bytes: int = 0


@dataclass(frozen=True)
class Archive:
    """The folder of one copy of the house."""

    folder: Path

    @classmethod
    def of(cls, data: Path) -> Archive:
        return cls(data / "research")

    def keep(self, kind: Kind, name: str, title: str, figures: Mapping[str, Any], html: str) -> Path:
        """Where the page is from now on. Raises OSError."""
        now = WallClock().now().replace(tzinfo=None, microsecond=0)
        item = self._free(f"{now:%Y%m%d-%H%M%S}-{_slug(name)}")
        page = self.folder / f"{item}.html"
        write_whole(page, html)
        words = Item(item, kind, title, now, {key: _plain(value) for key, value in figures.items()})
        write_whole(page.with_suffix(".json"), msgspec.json.encode(words).decode())
        return page

    def items(self, limit: int = MOST_ITEMS) -> list[Item]:
        """Newest first. A page that was put there without its figures is shown with its name."""
        pages = sorted((page for page in self.folder.glob("*.html") if ID.match(page.stem)), reverse=True)
        return [_item_of(page) for page in pages[:limit]]

    def page(self, item: str) -> Path | None:
        """Its file; None when there is no such page here."""
        path = self.folder / f"{item}.html"
        return path if ID.match(item) and path.is_file() else None

    def _free(self, wanted: str) -> str:
        """Two saved within a second are two."""
        names = (wanted if n == 1 else f"{wanted}-{n}" for n in count(1))
        return next(name for name in names if not (self.folder / f"{name}.html").exists())


def _item_of(page: Path) -> Item:
    size = page.stat().st_size
    try:
        found = msgspec.json.decode(page.with_suffix(".json").read_bytes(), type=Item)
    except (OSError, msgspec.DecodeError):
        day, clock, name = page.stem.split("-", 2)
        found = Item(page.stem, "page", name, _moment(day + clock))
    return msgspec.structs.replace(found, id=page.stem, bytes=size)


def _moment(digits: str) -> datetime:
    try:
        return datetime.strptime(digits, "%Y%m%d%H%M%S")
    except ValueError:
        return datetime(1970, 1, 1)


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:60] or "page"


def _plain(value: Any) -> Any:
    """As JSON can say it."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value
