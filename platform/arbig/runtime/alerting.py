"""Alerting: `config/alerts.yaml`, who is told of what, where and when. Secrets stand there as references."""

from __future__ import annotations

import re
from datetime import time
from typing import Literal, get_args

from pydantic import Field, field_validator

from arbig.runtime.credentials import variables_of, word_of
from arbig.runtime.files import Config, read_yaml, validated
from arbig.runtime.settings import Settings, SettingsError

FILE = "config/alerts.yaml"
Kind = Literal["login", "halt", "rejects", "disconnect", "strategy", "mismatch", "alarm"]
KINDS: tuple[Kind, ...] = get_args(Kind)
PART = re.compile(r"\$\{(?:env|file|keyring):[^}]+\}")
QUIET = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)$")


class TargetConfig(Config):
    """One receiver: an address in apprise's words, and what it is told."""

    url: str = Field(min_length=1, examples=["${env:ARBIG_ALERT_URL}"], repr=False)
    kinds: list[Kind] = Field(list(KINDS), min_length=1, examples=[["halt", "mismatch"]])
    quiet: str | None = Field(None, examples=["23:00-07:30"])
    urgent: list[Kind] = Field(["halt", "mismatch"], examples=[["halt", "mismatch"]])
    per_minute: float = Field(10, gt=0, le=60)

    @field_validator("quiet")
    @classmethod
    def _span(cls, value: str | None) -> str | None:
        if value is not None and QUIET.match(value) is None:
            raise ValueError(f"found {value!r}, expected hours from-to; write e.g. quiet: '23:00-07:30'")
        return value

    @property
    def quiet_hours(self) -> tuple[time, time] | None:
        if self.quiet is None:
            return None
        start, end = self.quiet.split("-")
        return time.fromisoformat(start), time.fromisoformat(end)


class AlertsConfig(Config):
    """`config/alerts.yaml`. Without targets nobody is told and no process runs for it."""

    language: Literal["en", "zh"] = "en"
    window_seconds: float = Field(300, ge=1, le=86_400)
    targets: dict[str, TargetConfig] = Field({}, examples=[{"phone": {"url": "${env:ARBIG_ALERT_URL}"}}])


def load_alerts(settings: Settings) -> AlertsConfig:
    """The file as it stands, its references not looked up. Raises SettingsError, one line."""
    path = settings.config / "alerts.yaml"
    try:
        values = read_yaml(path)
    except FileNotFoundError:
        values = {}
    return validated(values, path, AlertsConfig)


def wants_alerts(settings: Settings) -> bool:
    """Whether there is somebody to tell; a file that cannot be read is for the process to complain about."""
    try:
        return bool(load_alerts(settings).targets)
    except SettingsError:
        return True


def address_of(name: str, target: TargetConfig) -> tuple[str, tuple[str, ...]]:
    """The address with its references looked up, and the words they led to. Raises SettingsError."""
    words: list[str] = []

    def found(reference: re.Match[str]) -> str:
        words.append(word_of(FILE, f"targets.{name}.url", reference[0]))
        return words[-1]

    return PART.sub(found, target.url), tuple(words)


def alert_variables(settings: Settings) -> tuple[str, ...]:
    """The environment's names that an address refers to: no other process is told them."""
    try:
        targets = load_alerts(settings).targets.values()
    except SettingsError:
        return ()
    references = (reference for target in targets for reference in PART.findall(target.url))
    return tuple(dict.fromkeys(variable for reference in references for variable in variables_of(reference)))


def check_alerts(settings: Settings) -> None:
    """Every address can be looked up. Raises SettingsError, one line."""
    for name, target in load_alerts(settings).targets.items():
        address_of(name, target)
