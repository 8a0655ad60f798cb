"""Web's door: who may come in, and as what. Single-use tickets, signed sessions, and a brake on guessing.

A trader may do everything, a viewer may look. A session is a signed cookie; because cookies do not know ports, the
console and JupyterLab read the same one. Tickets and ended sessions are kept in `data/db/web.db`, so a restart neither
revives a used link nor a closed session.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from itsdangerous import BadSignature, URLSafeSerializer

from arbig.runtime.clock import Clock
from arbig.runtime.settings import Settings

TICKET_SECONDS = 600.0
SESSION_SECONDS = 12 * 3600.0
FREE_FAILURES = 5
FIRST_DELAY_SECONDS = 30.0

Role = Literal["trader", "viewer"]
TRADER: Role = "trader"
VIEWER: Role = "viewer"

SCHEMA = """
DROP TABLE IF EXISTS tickets;
CREATE TABLE IF NOT EXISTS role_tickets (digest TEXT PRIMARY KEY, until REAL NOT NULL, role TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS ended_sessions (session_id TEXT PRIMARY KEY, until REAL NOT NULL);
"""


def cookie_name(settings: Settings) -> str:
    """Named after Web's port: two copies on one machine share the browser's cookies but not their sessions."""
    return f"arbig_session_{settings.port('web')}"


def same(left: str, right: str) -> bool:
    """Equality in constant time."""
    return hmac.compare_digest(left.encode("utf-8", "replace"), right.encode("utf-8", "replace"))


class Session(NamedTuple):
    """Who is logged in."""

    session_id: str
    until: float
    role: Role

    @property
    def name(self) -> str:
        """What the audit trail calls it: enough to tell two apart, too little to come in with."""
        return self.session_id[:6]


def digest_of(ticket: str) -> str:
    return hashlib.sha256(ticket.encode()).hexdigest()


class Sessions:
    """Reads a session cookie: its signature, its end, and whether somebody logged out. Console and JupyterLab hold one
    of these; only Web writes the file."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._signer = URLSafeSerializer(settings.secret, salt="arbig session with a role")
        self._path = settings.data / "db" / "web.db"
        self._clock = clock

    def is_open(self, cookie: str | None) -> bool:
        return self.session_of(cookie) is not None

    def session_of(self, cookie: str | None) -> Session | None:
        """The session, while it is open."""
        session = self._read(cookie)
        if session is None or session.until <= self._clock.now().timestamp() or self._is_ended(session.session_id):
            return None
        return session

    def name_of(self, cookie: str | None) -> str:
        session = self._read(cookie)
        return session.name if session else ""

    def make(self, role: Role) -> str:
        until = self._clock.now().timestamp() + SESSION_SECONDS
        signed: str = self._signer.dumps([secrets.token_urlsafe(18), until, role])
        return signed

    def _read(self, cookie: str | None) -> Session | None:
        if not cookie:
            return None
        try:
            session_id, until, role = self._signer.loads(cookie)
        except (BadSignature, ValueError, TypeError):
            return None
        return Session(str(session_id), float(until), role) if role in get_args(Role) else None

    def _is_ended(self, session_id: str) -> bool:
        if not self._path.exists():
            return False
        with _reading(self._path) as database:
            row = database.execute("SELECT 1 FROM ended_sessions WHERE session_id = ?", (session_id,)).fetchone()
        return row is not None


class Door(Sessions):
    """The writing side, Web's own: gives tickets, takes them once, ends sessions."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        super().__init__(settings, clock)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(self._path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.executescript(SCHEMA)
        self._tokens: tuple[tuple[Role, str], ...] = ((TRADER, settings.token), (VIEWER, settings.viewer_token))
        self.brake = Brake(clock)

    def role_of(self, token: str) -> Role | None:
        """Whose token it is. Each is compared, whichever fits: the time says nothing."""
        fits = [role for role, own in self._tokens if same(token, own)]
        return fits[0] if fits else None

    def give_ticket(self, role: Role) -> str:
        now = self._clock.now().timestamp()
        ticket = secrets.token_urlsafe(32)
        self._database.execute("DELETE FROM role_tickets WHERE until <= ?", (now,))
        self._database.execute(
            "INSERT INTO role_tickets VALUES (?, ?, ?)", (digest_of(ticket), now + TICKET_SECONDS, role)
        )
        return ticket

    def take_ticket(self, ticket: str) -> Role | None:
        """What it opens the door as: once, and only within ten minutes."""
        taken = self._database.execute(
            "DELETE FROM role_tickets WHERE digest = ? AND until > ? RETURNING role",
            (digest_of(ticket), self._clock.now().timestamp()),
        ).fetchone()
        return None if taken is None else TRADER if taken[0] == TRADER else VIEWER

    def end(self, cookie: str | None) -> None:
        session = self._read(cookie)
        if session is None:
            return
        self._database.execute("DELETE FROM ended_sessions WHERE until <= ?", (self._clock.now().timestamp(),))
        self._database.execute("INSERT OR IGNORE INTO ended_sessions VALUES (?, ?)", session[:2])

    def close(self) -> None:
        self._database.close()


class Brake:
    """Five wrong log-ins are free; then the form waits 30 s, and twice as long after each further failure."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._until = 0.0

    def seconds_left(self) -> float:
        return max(0.0, self._until - self._clock.monotonic())

    def failed(self) -> None:
        self._failures += 1
        if self._failures >= FREE_FAILURES:
            delay = FIRST_DELAY_SECONDS * 2 ** (self._failures - FREE_FAILURES)
            self._until = self._clock.monotonic() + min(delay, SESSION_SECONDS)

    def succeeded(self) -> None:
        self._failures = 0
        self._until = 0.0


class _reading:
    """A short read of Web's file by another process."""

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=1.0)

    def __enter__(self) -> sqlite3.Connection:
        return self._database

    def __exit__(self, *_: object) -> None:
        self._database.close()
