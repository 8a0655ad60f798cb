"""Credentials: words that stand in no file of ours, looked up where a reference says, and shown to nobody.

`${env:NAME}`, `${file:PATH}` (mode 0600) and `${keyring:SERVICE/NAME}` are references. What holds a word shows stars.
"""

from __future__ import annotations

import importlib
import os
import re
import stat
from pathlib import Path

from arbig.runtime.settings import SettingsError

REFERENCE = re.compile(r"^\$\{(env|file|keyring):(.+)\}$")


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


def secret_of(file: str, key: str, written: str, variable: str) -> Secret:
    """What `variable` holds, else what the file refers to. Raises SettingsError, one line that never shows a secret."""
    given = os.environ.get(variable)
    if given:
        return Secret(given)
    if not written:
        raise SettingsError(f"{file}: {key}: not given; write e.g. export {variable}=...")
    if REFERENCE.match(written) is None:
        raise SettingsError(f"{file}: {key}: a secret must not stand in this file; remove it and export {variable}=...")
    return Secret(word_of(file, key, written))


def word_of(file: str, key: str, written: str) -> str:
    """The word itself, or what it refers to."""
    found = REFERENCE.match(written)
    if found is None:
        return written
    kind, name = found.groups()
    if kind == "env":
        word = os.environ.get(name, "")
    elif kind == "file":
        word = _from_file(file, key, Path(name).expanduser())
    else:
        word = _from_keyring(file, key, name)
    if not word:
        raise SettingsError(f"{file}: {key}: {written}: nothing is there; write e.g. export {name}=...")
    return word


def variables_of(written: str) -> tuple[str, ...]:
    """The environment's names a reference reads."""
    found = REFERENCE.match(written)
    return (found.group(2),) if found is not None and found.group(1) == "env" else ()


def _from_file(file: str, key: str, path: Path) -> str:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise SettingsError(f"{file}: {key}: {path} may be read by others ({mode:04o}); chmod 600 {path}")
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{file}: {key}: {path}: {error.strerror}; write the secret into {path}") from None


def _from_keyring(file: str, key: str, name: str) -> str:
    try:
        keyring = importlib.import_module("keyring")
    except ImportError:
        raise SettingsError(f"{file}: {key}: no keyring is installed; pip install keyring") from None
    service, _, user = name.partition("/")
    word = keyring.get_password(service, user)
    if not word:
        raise SettingsError(f"{file}: {key}: the keyring has nothing for {name}; keyring set {service} {user}")
    return str(word)
