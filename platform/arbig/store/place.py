"""Store: where a book lies: a SQLite file, or a schema of a PostgreSQL database. What the house's URL may say."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

SCHEMES = ("postgresql", "postgres")
OPTIONS = ("host", "sslmode", "sslrootcert", "sslcert", "sslkey")
PROVEN = ("verify-ca", "verify-full")
EXAMPLE = "postgresql://arbig@127.0.0.1:5432/arbig"


@dataclass(frozen=True)
class PostgresAddress:
    """A schema of a database, and as whom to enter. Shows itself without the password."""

    host: str
    port: int
    database: str
    user: str
    schema: str
    password: str = field(default="", repr=False)
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"PostgreSQL {self.host}:{self.port}/{self.database} ({self.schema})"


Place = Path | PostgresAddress


def parsed(url: str) -> PostgresAddress:
    """The address of no schema yet, without a password. Raises ValueError: found, expected, what mends it."""
    try:
        found = urlsplit(url)
        port = found.port or 5432
    except ValueError:
        raise ValueError(f"found {url!r}, expected a URL; write e.g. database: {EXAMPLE}") from None
    if found.scheme not in SCHEMES:
        raise ValueError(f"found {found.scheme or url!r}, expected postgresql://; write e.g. database: {EXAMPLE}")
    if found.password is not None:
        raise ValueError(
            "a password must not stand in this file; remove it and export ARBIG_DATABASE_PASSWORD=..., "
            "or name a file of mode 0600: database_password_file: /path"
        )
    options = dict(parse_qsl(found.query, keep_blank_values=True))
    if unknown := options.keys() - set(OPTIONS):
        raise ValueError(f"{min(unknown)}: unknown option of the URL; expected one of: {', '.join(OPTIONS)}")
    host = options.pop("host", "") or unquote(found.hostname or "")
    name = unquote(found.path.removeprefix("/"))
    if not (host and name and found.username):
        raise ValueError(f"found {url!r}, expected user, host and database; write e.g. database: {EXAMPLE}")
    return PostgresAddress(host, port, name, unquote(found.username), "", options=tuple(sorted(options.items())))


def unguarded(address: PostgresAddress) -> str | None:
    """What a database beyond this machine still lacks: who reads its line reads the book, who writes it trades."""
    options = dict(address.options)
    if is_near(address.host):
        return None
    if options.get("sslmode") not in PROVEN:
        return (
            f"found host {address.host} without TLS that proves the server, expected it for a database beyond this "
            "machine; write ?sslmode=verify-full&sslrootcert=/path/to/ca.pem behind the URL"
        )
    if not (address.password or options.get("sslcert")):
        return (
            f"found host {address.host} without a password, expected one for a database beyond this machine; "
            "export ARBIG_DATABASE_PASSWORD=..., or name a file of mode 0600: database_password_file: /path"
        )
    return None


def is_near(host: str) -> bool:
    """Only this machine can be meant: loopback, or a folder of unix sockets."""
    if host == "localhost" or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
