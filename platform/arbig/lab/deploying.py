"""Deploying: from a class or a file's name to a strategy that runs in the services, and the handle on it.

The handle holds a name and nothing else: whatever it shows was asked a moment ago, and dropping it changes nothing.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from arbig.backtest.plan import PlanError
from arbig.client.answers import Strategy
from arbig.client.client import ClientError
from arbig.domain.template import BaseTemplate
from arbig.lab import handles
from arbig.lab.handles import Flatten, Roll
from arbig.runtime.loader import Misconfigured, find_class, load_file, strategies_of

if TYPE_CHECKING:
    from arbig.lab.desk import Desk

RUN_FOLDER = "ARBIG_RUN_FOLDER"


class Deployed:
    """A strategy in the services."""

    def __init__(self, desk: Desk, strategy_name: str) -> None:
        self._desk = desk
        self.strategy_name = strategy_name

    @property
    def now(self) -> Strategy:
        """Everything the Strategy service says of it. Raises ClientError when it was removed."""
        found = self._desk.live.ask(lambda client: client.strategies()).strategies
        for one in found:
            if one.strategy_name == self.strategy_name:
                return one
        names = ", ".join(one.strategy_name for one in found) or "none"
        raise ClientError(f"{self.strategy_name}: no such strategy is deployed; there are: {names}", 404)

    @property
    def state(self) -> str:
        return self.now.state

    @property
    def pos(self) -> int | dict[str, int]:
        """Net lots."""
        return self.now.pos

    @property
    def variables(self) -> dict[str, Any]:
        return self.now.variables

    def start(self) -> Deployed:
        return self._command("start")

    def pause(self) -> Deployed:
        return self._command("pause")

    def resume(self) -> Deployed:
        return self._command("resume")

    def stop(self) -> Deployed:
        return self._command("stop")

    def _command(self, action: str) -> Deployed:
        self._desk.live.ask(lambda client: client.control_strategy(self.strategy_name, action))
        return self

    def flatten(self, reason: str = "") -> Flatten:
        """Close what it holds; its opens are refused until that is done."""
        return handles.flatten(self._desk, self.strategy_name, None, reason)

    def roll(self, to: str, symbol: str | None = None, reason: str | None = None) -> Roll:
        """To the next contract, with everything it has."""
        return handles.roll(self._desk, self.strategy_name, to, symbol, reason)

    def edit(
        self, params: Mapping[str, Any] | None = None, risk: Mapping[str, Any] | None = None, force: bool = False
    ) -> Deployed:
        change = {"params": dict(params or {}), "risk": dict(risk or {}), "force": force}
        self._desk.live.ask(lambda client: client.edit_strategy(self.strategy_name, change))
        return self

    def remove(self, force: bool = False) -> None:
        self._desk.live.ask(lambda client: client.remove_strategy(self.strategy_name, force))

    def __repr__(self) -> str:
        one = self.now
        said = f"{one.strategy_name} on {one.symbol}: {one.state}, position {one.pos}"
        return f"<{said}, {one.error}>" if one.error else f"<{said}>"

    def _repr_html_(self) -> str:
        one = msgspec.to_builtins(self.now)
        rows = {
            name: one[name] for name in ("class_name", "symbol", "state", "pos", "parameters", "variables", "error")
        }
        left = "style='text-align:left'"
        cells = "".join(
            f"<tr><th {left}>{escape(name)}</th><td {left}>{escape(_shown(value))}</td></tr>"
            for name, value in rows.items()
            if value not in (None, {}, "")
        )
        return f"<b>{escape(self.strategy_name)}</b><table>{cells}</table>"


def deployed(desk: Desk, strategy_name: str) -> Deployed:
    handle = Deployed(desk, strategy_name)
    handle.now  # noqa: B018 - a name nobody has is said at once
    return handle


def deploy(
    desk: Desk,
    strategy: type[BaseTemplate] | str,
    symbol: str | Sequence[str] | None,
    params: Mapping[str, Any] | None,
    risk: Mapping[str, Any] | None,
    mode: str,
    strategy_name: str | None,
    confirm: str,
    replace: bool,
    force: bool,
) -> Deployed:
    """What `Desk.deploy` says."""
    class_name, code_hash = _code(desk, strategy)
    if symbol is None:
        raise PlanError(f"{class_name}: no symbol; write e.g. symbol={desk.settings.symbols[0]!r}")
    wish: dict[str, Any] = {
        "class_name": class_name,
        "params": dict(params or {}),
        "risk": dict(risk or {}),
        "mode": mode,
        "confirm": confirm,
        "code_hash": code_hash,
        "replace": replace,
        "force": force,
        ("symbol" if isinstance(symbol, str) else "symbols"): symbol if isinstance(symbol, str) else list(symbol),
    }
    if strategy_name is not None:
        wish["strategy_name"] = strategy_name
    _noted(strategy_name=strategy_name or class_name)
    told = desk.live.ask(lambda client: client.deploy(wish))
    _noted(strategy_name=told["strategy_name"], attached=bool(told.get("attached")))
    return Deployed(desk, told["strategy_name"])


def _noted(**line: Any) -> None:
    """In a run of the Scheduler: its end decides what becomes of what it deployed."""
    if folder := os.environ.get(RUN_FOLDER):
        with (Path(folder) / "deployed.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def _code(desk: Desk, strategy: type[BaseTemplate] | str) -> tuple[str, str]:
    """The class and the fingerprint of the source the kernel has of it. Raises PlanError."""
    folder = desk.settings.root / "strategies"
    if isinstance(strategy, str):
        path = folder / f"{strategy}.py"
        try:
            class_name = _only_class(path) if path.is_file() else strategy
            return class_name, find_class(folder, class_name).code_hash
        except Misconfigured as fault:
            raise PlanError(fault.reason) from None
    if not (isinstance(strategy, type) and issubclass(strategy, BaseTemplate)):
        raise PlanError(f"strategy: found {strategy!r}, expected a strategy class or the name of a file in strategies/")
    loaded = getattr(sys.modules.get(strategy.__module__), "__code_hash__", None)
    if loaded is None:
        raise PlanError(
            f"{strategy.__name__}: stands in {strategy.__module__}, not in strategies/; begin its cell with "
            f"%%strategy NAME, which saves it there"
        )
    return strategy.__name__, loaded


def _only_class(path: Path) -> str:
    found = list(strategies_of(load_file(path)))
    if len(found) != 1:
        raise PlanError(f"strategies/{path.name}: has {', '.join(found) or 'no strategy'}; name one of its classes")
    return found[0]


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{name}={one:g}" if isinstance(one, float) else f"{name}={one}" for name, one in value.items()
        )
    return str(value)
