"""Targets: who is told, through apprise: webhooks, mail, DingTalk, WeCom, Telegram. An address shows no secret."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from datetime import time
from typing import Any

from apprise import Apprise, AppriseAsset, NotifyType, PersistentStoreMode

from arbig.runtime import logs
from arbig.runtime.alerting import FILE, AlertsConfig, Kind, TargetConfig, address_of
from arbig.runtime.settings import SettingsError

STARS = "***"


class TargetError(RuntimeError):
    """It could not be told: why, in one line without a secret."""


class Target:
    """One receiver. `send` blocks and raises TargetError."""

    def __init__(self, name: str, config: TargetConfig) -> None:
        self.name = name
        self.kinds: tuple[Kind, ...] = tuple(config.kinds)
        self.urgent: tuple[Kind, ...] = tuple(config.urgent)
        self.quiet_hours: tuple[time, time] | None = config.quiet_hours
        self.pause_seconds = 60 / config.per_minute
        address, self._words = address_of(name, config)
        logs.hide(self._words)
        self._plugin = _plugin_of(name, address)
        self.service = str(self._plugin.service_name)
        self.masked = self._masked(config.url)

    def _masked(self, written: str) -> str:
        """Whatever a reference led to is stars; the rest as apprise shows it."""
        shown = str(self._plugin.url(privacy=True)).partition("?")[0]
        if self._words:
            return f"{shown.partition('://')[0]}://{STARS}"
        if shown != str(self._plugin.url(privacy=False)).partition("?")[0]:
            raise SettingsError(
                f"{FILE}: targets.{self.name}.url: a secret must not stand in this file; export it and write e.g. "
                "url: ${env:ARBIG_ALERT_URL}"
            )
        return shown

    def send(self, title: str, body: str) -> None:
        with _Complaints() as complaints:
            try:
                reached = self._plugin.notify(title=title, body=body, notify_type=NotifyType.WARNING)
            except Exception as error:  # a plug-in's own fault is no more than a target that cannot be reached
                raise TargetError(self._without_secrets(f"{type(error).__name__}: {error}")) from None
        if not reached:
            raise TargetError(self._without_secrets(complaints.last or f"{self.service} did not take it"))

    def _without_secrets(self, line: str) -> str:
        for word in self._words:
            line = line.replace(word, STARS)
        return line[:300]


def targets_of(config: AlertsConfig) -> dict[str, Target]:
    """Raises SettingsError, one line that never shows a secret."""
    return {name: Target(name, target) for name, target in config.targets.items()}


def by_kind(targets: Mapping[str, Target]) -> dict[str, list[str]]:
    """kind -> the targets that are told of it."""
    kinds = {kind for target in targets.values() for kind in target.kinds}
    return {kind: [name for name, target in targets.items() if kind in target.kinds] for kind in kinds}


def _plugin_of(name: str, address: str) -> Any:
    """apprise's notifier for an address; it keeps nothing on disk."""
    asset = AppriseAsset(
        app_id="ARBIG", app_desc="ARBIG", storage_mode=PersistentStoreMode.MEMORY, async_mode=False, secure_logging=True
    )
    with _Complaints():
        plugin = Apprise.instantiate(address, asset=asset)
    if plugin is None:
        raise SettingsError(
            f"{FILE}: targets.{name}.url: not an address that apprise knows; write e.g. "
            "json://host/path, mailto://..., dingtalk://..., wecombot://... or tgram://..."
        )
    return plugin


class _Complaints(logging.Handler):
    """What apprise logs in this thread meanwhile: its last warning says why a send failed. It goes no further."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""
        self._thread = threading.get_ident()
        self._logger = logging.getLogger("apprise")

    def __enter__(self) -> _Complaints:
        self._logger.propagate = False
        self._logger.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self._thread:
            self.last = record.getMessage()
