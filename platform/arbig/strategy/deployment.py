"""Deployment: a strategy comes into the house, is changed, or leaves it, while the house runs.

What is deployed is a file of `config/strategies/`, written here and read again at every start. It is written when the
new version has been made once in a process of its own: a refusal changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import yaml

from arbig.runtime.crash import crash_point
from arbig.runtime.deployment import REPLACED, Binding, Deployment, Edit
from arbig.runtime.files import SettingsError, lay_aside, validated, write_whole
from arbig.runtime.loader import StrategyFault, find_class
from arbig.strategy.configuration import StrategyConfig, StrategyFile
from arbig.strategy.engine import StrategyEngine
from arbig.strategy.live import LiveStrategy, State

log = structlog.get_logger()

CANCELLED_WITHIN_SECONDS = 10.0
LOOK_SECONDS = 0.05
IDLE = (State.STOPPED, State.FAILED, State.ERROR)
THEN = {"RUNNING": "start", "PAUSED": "begin paused", "STOPPED": "release"}


class Refused(Exception):
    """Why nothing was done, one line; `status` is HTTP's."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Deployed:
    live: LiveStrategy
    is_new: bool = False
    attached: bool = False


class Deployer:
    """One change at a time."""

    def __init__(self, engine: StrategyEngine, adopt: Callable[[LiveStrategy], None]) -> None:
        self._engine = engine
        self._settings = engine.house.settings
        self._adopt = adopt
        self._turn = asyncio.Lock()

    # ---- come in

    async def deploy(self, wish: Deployment) -> Deployed:
        """Raises Refused. The same wish twice is one deployment: the second attaches to the run of the first."""
        async with self._turn:
            self._check_mode(wish)
            config = self._config_of(wish)
            there = self._engine.strategies.get(wish.name)
            _refuse_on_its_way(there)
            self._check_code(wish)
            if there is not None and self._is_same(there, config):
                return Deployed(there, attached=True)
            if there is not None and not wish.replace and there.state not in IDLE:
                raise Refused(
                    409,
                    f"{wish.name}: is {there.state} with {self._difference(there, config)}; "
                    f"say replace=True to put this version in its place, or strategy_name= for a second one",
                )
            return await self._put(there, config, wish.force)

    async def edit(self, live: LiveStrategy, edit: Edit) -> Deployed:
        """The same strategy with other parameters: a new run with the position and variables it has. Raises Refused."""
        async with self._turn:
            _refuse_on_its_way(live)
            if live.config is None:
                raise Refused(409, f"{live.name}: its file is bad: {live.error}")
            params = {**live.config.params, **edit.params}
            risk = {**live.config.risk.model_dump(exclude_none=True), **edit.risk}
            config = self._checked(live.config.model_dump(exclude_none=True) | {"params": params, "risk": risk})
            if self._is_same(live, config):
                return Deployed(live, attached=True)
            is_paused = live.state is State.PAUSED and live.desk.user_paused
            return await self._put(live, config, edit.force, THEN["PAUSED" if is_paused else "RUNNING"])

    async def remove(self, live: LiveStrategy, force: bool) -> Path:
        """Its file is laid aside, not lost; returned is where. Raises Refused while it holds lots, unless forced."""
        async with self._turn:
            _refuse_on_its_way(live)
            held = {symbol: self._engine.house.lots(live.name, symbol).volume for symbol in live.legs}
            shown = ", ".join(f"{volume:+d} {symbol}" for symbol, volume in held.items() if volume)
            if shown and not force:
                raise Refused(
                    409, f"{live.name}: holds {shown}; flatten it first, or say force=True to leave them to you"
                )
            await self._quiet(live, force)
            await live.command("stop")
            target = self._lay_aside(live.file.path)
            live.file.path.unlink(missing_ok=True)
            await self._engine.remove(live)
            log.info("removed", strategy_name=live.name, file=str(target))
            return target

    # ---- to the next contract, as Trading's roll asks

    async def hold(self, live: LiveStrategy) -> None:
        """At rest until it is bound; the same again changes nothing."""
        async with self._turn:
            if live.config is None:
                raise Refused(409, f"{live.name}: its file is bad: {live.error}")
            await live.command("hold")

    async def bind(self, live: LiveStrategy, wish: Binding) -> None:
        """One contract takes the other's place, and a new run begins with the parameters, variables and lots it has.
        The same again changes nothing. Raises Refused."""
        async with self._turn:
            if live.config is None:
                raise Refused(409, f"{live.name}: its file is bad: {live.error}")
            legs = live.config.legs
            if wish.symbol not in legs and wish.to not in legs:
                raise Refused(409, f"{live.name}: trades {', '.join(legs)}, neither {wish.symbol} nor {wish.to}")
            is_bound = wish.to in legs
            if is_bound and live.state is not State.ROLLING:
                return
            if not is_bound:
                config = self._checked(_rebound(live.config, wish.symbol, wish.to))
                await self._rehearse(live.file.path, config)
                await live.command("hold")
                self._write(live.file.path, config)
            crash_point("st.roll_written")
            await live.command(THEN[wish.then])
            log.info("bound", strategy_name=live.name, symbol=wish.to, run_id=live.desk.run_id)

    # ---- how

    def _write(self, path: Path, config: StrategyConfig) -> None:
        """A person may go on editing it, and finds what stood there before laid aside."""
        values = config.model_dump(mode="json", exclude_none=True, exclude_defaults=True) | {"enabled": True}
        self._lay_aside(path)
        write_whole(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))

    def _lay_aside(self, path: Path) -> Path:
        return lay_aside(path, self._settings.data / REPLACED, self._engine.house.clock.now())

    async def _put(
        self, there: LiveStrategy | None, config: StrategyConfig, force: bool, begin: str = "start"
    ) -> Deployed:
        name = config.strategy_name
        path = there.file.path if there else self._settings.config / "strategies" / f"{name}.yaml"
        await self._rehearse(path, config)
        if there is not None:
            await self._quiet(there, force)
            await there.command("stop")
        self._write(path, config)
        live = there or LiveStrategy(StrategyFile(path, name, config), self._engine.house)
        if there is None:
            self._adopt(live)
        await live.command(begin)
        log.info("deployed", strategy_name=name, run_id=live.desk.run_id, code_hash=live.desk.code_hash)
        return Deployed(live, is_new=there is None)

    async def _rehearse(self, path: Path, config: StrategyConfig) -> None:
        trial = LiveStrategy(StrategyFile(path, config.strategy_name, config), self._engine.house)
        try:
            await trial.rehearse(config)
        except StrategyFault as fault:
            raise Refused(422, "\n".join(filter(None, (fault.reason, fault.traceback)))) from None

    async def _quiet(self, live: LiveStrategy, force: bool) -> None:
        """No order of it works any more. Raises Refused while one does; forced, they are cancelled and waited for."""
        if live.desk.orders and not force:
            raise Refused(
                409,
                f"{live.name}: {len(live.desk.orders)} of its orders work; cancel them, or say force=True "
                f"to have them cancelled first",
            )
        if not live.desk.orders:
            return
        await live.command("stop")  # cancels what works
        clock = self._engine.house.clock
        end = clock.monotonic() + CANCELLED_WITHIN_SECONDS
        while live.desk.orders:
            if clock.monotonic() >= end:
                raise Refused(
                    409,
                    f"{live.name}: is stopped, but {len(live.desk.orders)} of its orders still work after "
                    f"{CANCELLED_WITHIN_SECONDS:g} s (a break, or the exchange is away); try again later",
                )
            await clock.sleep(LOOK_SECONDS)

    def _check_mode(self, wish: Deployment) -> None:
        file = "config/arbig.yaml"
        if self._settings.gateway == "sim":
            if wish.mode == "live":
                raise Refused(403, "mode='live': on the simulated exchange everything is paper; say mode='paper'")
        elif wish.mode != self._settings.mode:
            raise Refused(
                403,
                f"mode={wish.mode!r}: {file} says mode: {self._settings.mode}; say mode={self._settings.mode!r}, or "
                f"write mode: {wish.mode} there and restart",
            )
        elif wish.mode == "live" and wish.confirm != wish.name:
            raise Refused(403, f"mode='live': real money; type the strategy's name: confirm={wish.name!r}")

    def _config_of(self, wish: Deployment) -> StrategyConfig:
        values = wish.model_dump(include={"params", "risk"}, exclude_none=True)
        if wish.symbol is not None:
            values["symbol"] = wish.symbol.partition(".")[0]
        if wish.symbols is not None:
            values["symbols"] = [symbol.partition(".")[0] for symbol in wish.symbols]
        values["strategy_name"] = wish.name
        if wish.class_name != wish.name:
            values["class_name"] = wish.class_name
        return self._checked(values)

    def _checked(self, values: dict[str, Any]) -> StrategyConfig:
        name = values["strategy_name"]
        try:
            return validated(values, Path(f"{name}.yaml"), StrategyConfig)
        except SettingsError as error:
            raise Refused(422, str(error)) from None

    def _check_code(self, wish: Deployment) -> None:
        try:
            source = find_class(self._settings.root / "strategies", wish.class_name)
        except StrategyFault as fault:
            raise Refused(404, fault.reason) from None
        if wish.code_hash is not None and wish.code_hash != source.code_hash:
            raise Refused(
                409,
                f"{wish.class_name}: strategies/{source.path.name} is not the code you have; save the cell again, "
                f"or import the file anew",
            )

    def _is_same(self, live: LiveStrategy, config: StrategyConfig) -> bool:
        """The run there is, is this very version."""
        return live.is_live and not self._difference(live, config)

    def _difference(self, live: LiveStrategy, config: StrategyConfig) -> str:
        """In words what is other than asked for; empty when nothing is."""
        running = live.config
        if running is None:
            return "a bad file"
        found = [
            what
            for what, is_other in (
                ("another class", running.kind != config.kind),
                ("other contracts", running.legs != config.legs),
                ("other parameters", running.params != config.params),
                ("another risk block", running.risk != config.risk),
                ("other code", live.has_other_code(live.desk.code_hash)),
            )
            if is_other
        ]
        return " and ".join(found)


def _refuse_on_its_way(live: LiveStrategy | None) -> None:
    if live is not None and live.state is State.ROLLING:
        raise Refused(409, f"{live.name}: its lots move to the next contract; wait, or stop that (arbig roll --stop)")


def _rebound(config: StrategyConfig, symbol: str, to: str) -> dict[str, Any]:
    values = config.model_dump(exclude_none=True)
    if config.symbols is not None:
        return values | {"symbols": [to if leg == symbol else leg for leg in config.symbols]}
    return values | {"symbol": to}
