"""Web's door: who may come in. Single-use tickets, signed sessions, and a brake on guessing.

A session is a signed cookie; because cookies do not know ports, the console and JupyterLab read the same one. Tickets
and ended sessions are kept in `data/db/web.db`, so a restart neither revives a used link nor a closed session.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import sqlite3
from pathlib import Path

from itsdangerous import BadSignature, URLSafeSerializer

from arbig.runtime.clock import Clock
from arbig.runtime.settings import Settings

TICKET_SECONDS = 600.0
SESSION_SECONDS = 12 * 3600.0
FREE_FAILURES = 5
FIRST_DELAY_SECONDS = 30.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS tickets (digest TEXT PRIMARY KEY, until REAL NOT NULL);
CREATE TABLE IF NOT EXISTS ended_sessions (session_id TEXT PRIMARY KEY, until REAL NOT NULL);
"""


def cookie_name(settings: Settings) -> str:
    """Named after Web's port: two copies on one machine share the browser's cookies but not their sessions."""
    return f"arbig_session_{settings.port('web')}"


def same(left: str, right: str) -> bool:
    """Equality in constant time."""
    return hmac.compare_digest(left.encode(), right.encode())


def digest_of(ticket: str) -> str:
    return hashlib.sha256(ticket.encode()).hexdigest()


class Sessions:
    """Reads a session cookie: its signature, its end, and whether somebody logged out. Console and JupyterLab hold one
    of these; only Web writes the file."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._signer = URLSafeSerializer(settings.secret, salt="arbig session")
        self._path = settings.data / "db" / "web.db"
        self._clock = clock

    def is_open(self, cookie: str | None) -> bool:
        return self.id_of(cookie) is not None

    def id_of(self, cookie: str | None) -> str | None:
        session = self._read(cookie)
        if session is None or session[1] <= self._clock.now().timestamp() or self._is_ended(session[0]):
            return None
        return session[0]

    def make(self) -> str:
        until = self._clock.now().timestamp() + SESSION_SECONDS
        signed: str = self._signer.dumps([secrets.token_urlsafe(18), until])
        return signed

    def _read(self, cookie: str | None) -> tuple[str, float] | None:
        if not cookie:
            return None
        try:
            session_id, until = self._signer.loads(cookie)
        except (BadSignature, ValueError, TypeError):
            return None
        return str(session_id), float(until)

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
        self._token = settings.token
        self.brake = Brake(clock)

    def is_token(self, token: str) -> bool:
        return same(token, self._token)

    def give_ticket(self) -> str:
        now = self._clock.now().timestamp()
        ticket = secrets.token_urlsafe(32)
        self._database.execute("DELETE FROM tickets WHERE until <= ?", (now,))
        self._database.execute("INSERT INTO tickets VALUES (?, ?)", (digest_of(ticket), now + TICKET_SECONDS))
        return ticket

    def take_ticket(self, ticket: str) -> bool:
        """True once, and only within ten minutes."""
        now = self._clock.now().timestamp()
        taken = self._database.execute(
            "DELETE FROM tickets WHERE digest = ? AND until > ?", (digest_of(ticket), now)
        ).rowcount
        return taken == 1

    def end(self, cookie: str | None) -> None:
        session = self._read(cookie)
        if session is None:
            return
        self._database.execute("DELETE FROM ended_sessions WHERE until <= ?", (self._clock.now().timestamp(),))
        self._database.execute("INSERT OR IGNORE INTO ended_sessions VALUES (?, ?)", session)

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
