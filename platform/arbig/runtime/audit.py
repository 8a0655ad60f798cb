"""Audit: what somebody did in this house, written where it cannot be changed unseen (`store/trail.py`)."""

from __future__ import annotations

import getpass
import hashlib
import logging
from pathlib import Path

from arbig.runtime.clock import WallClock
from arbig.runtime.logs import redacted
from arbig.runtime.settings import Settings
from arbig.store.sqlite import StoreError
from arbig.store.trail import Trail

log = logging.getLogger(__name__)
LIMITS = "limits"


def trail_of(settings: Settings) -> Trail:
    return Trail(settings.data / "db" / "audit.db")


def note(settings: Settings, who: str, place: str, action: str, what: str) -> None:
    """A row of the trail. A halt is never held up by a disk that takes nothing: then the log alone has it."""
    at = WallClock().now().isoformat(timespec="milliseconds")
    try:
        row = trail_of(settings).write(at, who, place, action, redacted(what))
    except StoreError as error:
        log.error("not in the audit trail: %s: %s %s %s %s", error, who, place, action, what)
        return
    log.info("audit %d (%s): %s %s %s %s", row.number, row.hash[:16], who, place, action, what)


def by_hand(settings: Settings, action: str, what: str) -> None:
    """Somebody typed it at this machine."""
    note(settings, getpass.getuser(), "arbig", action, what)


def note_limits(settings: Settings, path: Path) -> None:
    """A row when the limits are others than at the last start."""
    text = path.read_bytes() if path.exists() else b""
    what = f"{path.name} sha256 {hashlib.sha256(text).hexdigest()}"
    try:
        last = trail_of(settings).last(LIMITS)
    except StoreError:
        last = None
    if last is None or last.what != what:
        note(settings, getpass.getuser(), str(path), LIMITS, what)
