"""Latch: a refused password or address is remembered over restarts, so that a supervisor cannot try it again and again.

It holds until the credentials or the front change, or until a person opens it (`arbig doctor --ctp --again`). What is
written down tells whether the credentials are the same, never what they are.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from datetime import datetime
from pathlib import Path

import msgspec

from arbig.gateway.ctp.settings import CtpSettings
from arbig.runtime.settings import Settings

AGAIN = "mend config/ctp_config.yaml or the password, or try the same again: arbig doctor --ctp --again"


class Refusal(msgspec.Struct, frozen=True):
    words: str
    at: str
    salt: str
    fingerprint: str


def latch_file(settings: Settings) -> Path:
    return settings.data / "db" / f"ctp_refused_{settings.account_id}.json"


class Latch:
    """One refusal for each of `trading` and `market_data`. Without a path nothing outlives the process."""

    def __init__(self, account: CtpSettings, path: Path | None = None) -> None:
        self._account = account
        self._path = path
        self._refusals: dict[str, Refusal] = _read(path)

    def refusal(self, lamp: str) -> str | None:
        """Why these same credentials must not be tried again."""
        found = self._refusals.get(lamp)
        if found is None or not hmac.compare_digest(found.fingerprint, self._fingerprint(found.salt)):
            return None
        return f"refused at {found.at[:19].replace('T', ' ')}, not tried again: {found.words}; {AGAIN}"

    def close(self, lamp: str, words: str, when: datetime) -> None:
        salt = secrets.token_hex(16)
        self._refusals[lamp] = Refusal(words, when.isoformat(), salt, self._fingerprint(salt))
        self._write()

    def open(self) -> None:
        self._refusals.clear()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _fingerprint(self, salt: str) -> str:
        one = self._account
        words = (one.broker_id, one.user_id, one.password.reveal(), one.app_id, one.auth_code.reveal(),
                 one.td_address, one.md_address)  # fmt: skip
        return hashlib.scrypt("\0".join(words).encode(), salt=bytes.fromhex(salt), n=2**14, r=8, p=1).hex()

    def _write(self) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(self._refusals))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)


def _read(path: Path | None) -> dict[str, Refusal]:
    """A file that cannot be read forbids nothing it can name; who wrote into it knew what he did."""
    try:
        return {} if path is None else msgspec.json.decode(path.read_bytes(), type=dict[str, Refusal])
    except (FileNotFoundError, msgspec.DecodeError):
        return {}
