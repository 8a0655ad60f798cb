"""Settings of a CTP account: `config/ctp_config.yaml` with its secrets, which stand nowhere in that file.

The password and the auth code come from `ARBIG_CTP_PASSWORD` and `ARBIG_CTP_AUTH_CODE`, from a file of mode 0600
(`${file:PATH}`), another variable (`${env:NAME}`) or a keyring (`${keyring:SERVICE/NAME}`). What holds them shows
stars.
"""

from __future__ import annotations

import importlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from arbig.runtime.broker import BrokerConfig, load_broker
from arbig.runtime.settings import Settings, SettingsError

REFERENCE = re.compile(r"^\$\{(env|file|keyring):(.+)\}$")
SIMNOW = "9999"
FILE = "config/ctp_config.yaml"


class Secret:
    """A word that shows itself only to who asks for it."""

    __slots__ = ("_word",)

    def __init__(self, word: str) -> None:
        self._word = word

    def reveal(self) -> str:
        return self._word

    def __repr__(self) -> str:
        return "'***'"

    def __bool__(self) -> bool:
        return bool(self._word)

    def __reduce__(self) -> str:
        raise TypeError("a secret is not written down")


@dataclass(frozen=True)
class CtpSettings:
    """What a connector needs to know of the account."""

    broker_id: str
    user_id: str
    td_address: str
    md_address: str
    app_id: str
    product_name: str
    is_production: bool
    password: Secret
    auth_code: Secret

    @property
    def is_practice(self) -> bool:
        """A counter whose clock may stand anywhere; SimNow is one, though it speaks as production does."""
        return not self.is_production or self.broker_id == SIMNOW

    @property
    def needs_authentication(self) -> bool:
        return bool(self.auth_code)


def load_ctp(settings: Settings) -> CtpSettings:
    """Raises SettingsError, one line that never shows a secret."""
    config = load_broker(settings)
    return CtpSettings(
        broker_id=config.broker_id,
        user_id=_word("user_id", config.user_id),
        td_address=config.td_address,
        md_address=config.md_address,
        app_id=config.app_id,
        product_name=config.product_name,
        is_production=config.is_production,
        password=Secret(_secret("password", config.password, "ARBIG_CTP_PASSWORD")),
        auth_code=Secret(_auth_code(config)),
    )


def _auth_code(config: BrokerConfig) -> str:
    """None is needed where no AppID is asked for."""
    return _secret("auth_code", config.auth_code, "ARBIG_CTP_AUTH_CODE") if config.app_id else ""


def _secret(key: str, written: str, variable: str) -> str:
    given = os.environ.get(variable)
    if given:
        return given
    if not written:
        raise SettingsError(f"{FILE}: {key}: not given; write e.g. export {variable}=...")
    if REFERENCE.match(written) is None:
        raise SettingsError(f"{FILE}: {key}: a secret must not stand in this file; remove it and export {variable}=...")
    return _word(key, written)


def _word(key: str, written: str) -> str:
    """The word itself, or what it refers to."""
    found = REFERENCE.match(written)
    if found is None:
        return written
    kind, name = found.groups()
    if kind == "env":
        word = os.environ.get(name, "")
    elif kind == "file":
        word = _from_file(key, Path(name).expanduser())
    else:
        word = _from_keyring(key, name)
    if not word:
        raise SettingsError(f"{FILE}: {key}: {written}: nothing is there; write e.g. export {name}=...")
    return word


def _from_file(key: str, path: Path) -> str:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise SettingsError(f"{FILE}: {key}: {path} may be read by others ({mode:04o}); chmod 600 {path}")
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{FILE}: {key}: {path}: {error.strerror}; write the secret into {path}") from None


def _from_keyring(key: str, name: str) -> str:
    try:
        keyring = importlib.import_module("keyring")
    except ImportError:
        raise SettingsError(f"{FILE}: {key}: no keyring is installed; pip install keyring") from None
    service, _, user = name.partition("/")
    word = keyring.get_password(service, user)
    if not word:
        raise SettingsError(f"{FILE}: {key}: the keyring has nothing for {name}; keyring set {service} {user}")
    return str(word)
