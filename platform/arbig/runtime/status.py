"""Status: what runs and how it fares, gathered from the supervisor and from every service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from arbig.bus.port import BusError
from arbig.runtime.control import Control, ControlError, Process
from arbig.runtime.http import CallError, ask
from arbig.runtime.programs import Program, elsewhere, programs_of
from arbig.runtime.ready import accepts, is_open, is_ready
from arbig.runtime.redis_server import ask as ask_redis
from arbig.runtime.settings import LOOPBACK, Settings, SettingsError

BEYOND = ("uptime", "heartbeat", "ticks_per_s", "waits_for")
COUNTED = ("trading_state", "trading_reason", "trading_since", "orders_today", "trades_today")
STRICTER = ("REDUCING", "HALTED")
CLOCK = ("session_time", "trading_day")


@dataclass(frozen=True)
class ServiceStatus:
    """One line of the table."""

    name: str
    state: str
    healthy: bool
    pid: int | None
    port: int | None
    own: Mapping[str, Any]

    @property
    def lag(self) -> int | None:
        return self.own.get("lag")

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "healthy": self.healthy,
            "pid": self.pid,
            "port": self.port,
            "lag": self.lag,
            "state": self.state,
            **{name: self.own[name] for name in BEYOND if name in self.own},
        }


def house_status(settings: Settings, services: Sequence[ServiceStatus] | None = None) -> dict[str, Any]:
    """The one object of `arbig status --json`: services, connection, trading_state, orders_today, trades_today, the
    exchange's clock, and what a person must look at."""
    services = services_of(settings) if services is None else services
    own = {service.name: service.own for service in services}
    trading, gateway = own.get("trading", {}), own.get("gateway", {})
    connected = gateway.get("connected")
    lamps = {} if settings.gateway == "sim" else gateway.get("lamps", {})  # a broker's two fronts
    return {
        "services": [service.as_json() for service in services],
        "connection": "UNKNOWN" if connected is None else "CONNECTED" if connected else "DISCONNECTED",
        "lamps": lamps,
        **{name: trading.get(name) for name in COUNTED},
        **{name: gateway.get(name) for name in CLOCK},
        "flattens": [
            *(f"flatten of {line}" for line in trading.get("flattens", ())),
            *trading.get("rolls", ()),
            *trading.get("cancels", ()),
        ],
        "alarms": [
            *_stricter(trading),
            *_dark(lamps),
            *_alarms(own.values()),
            *(_dead_letters(settings) if trading else ()),
        ],
    }


def _stricter(trading: Mapping[str, Any]) -> list[str]:
    """Trading that does not open, or sends nothing: since when, and why."""
    if trading.get("trading_state") not in STRICTER:
        return []
    since = str(trading["trading_since"])[:19].replace("T", " ")
    return [f"trading is {trading['trading_state']} since {since}: {trading['trading_reason']}"]


def _dark(lamps: Mapping[str, Mapping[str, Any]]) -> list[str]:
    return [f"{name.replace('_', ' ')}: off, {lamp['reason']}" for name, lamp in lamps.items() if not lamp["on"]]


def _alarms(owns: Iterable[Mapping[str, Any]]) -> list[str]:
    """What any service says: streams whose readers are far behind, a database that cannot be written."""
    return [str(line) for own in owns for line in (*own.get("alarms", ()), own.get("fault")) if line]


def _dead_letters(settings: Settings) -> list[str]:
    try:
        count = ask_redis(settings, ("XLEN", "stream:dead"))
    except (BusError, SettingsError):
        return []
    if not count:
        return []
    letters = "1 dead letter" if count == 1 else f"{count} dead letters"
    return [f"{letters}; read: arbig redis --json XREVRANGE stream:dead + - COUNT 5"]


def services_of(settings: Settings) -> list[ServiceStatus]:
    """Every program of this copy, those that do not run too; asked all at once."""
    try:
        processes = {process.name: process for process in Control(settings).processes()}
    except ControlError:
        processes = {}
    programs = (*programs_of(settings), *elsewhere(settings))
    with ThreadPoolExecutor(len(programs)) as pool:
        return list(pool.map(lambda program: _status(settings, program, processes.get(program.name)), programs))


def _status(settings: Settings, program: Program, process: Process | None) -> ServiceStatus:
    alive = process.alive if process is not None else bool(settings.only)
    own = _own(settings, program) if alive and program.probe == "ready" else {}
    if alive and process is not None and "uptime" not in own:
        own = {**own, "uptime": process.uptime}
    healthy = alive and (bool(own.get("ready")) if program.probe == "ready" else is_up(settings, program))
    return ServiceStatus(
        name=program.name,
        state=str(own.get("state") or (process.state.lower() if process else "ready" if healthy else "stopped")),
        healthy=healthy,
        pid=process.pid if process else None,
        port=port_of(settings, program),
        own=own,
    )


def port_of(settings: Settings, program: Program) -> int | None:
    try:
        return None if program.probe == "socket" else settings.port(program.name)
    except SettingsError:
        return None


def is_up(settings: Settings, program: Program) -> bool:
    """Whether the program does what it is there for."""
    if program.probe == "socket":
        return accepts(settings.socket(program.name))
    port = port_of(settings, program)
    if port is None:
        return False
    if program.probe == "port":
        return is_open(port)
    if program.probe == "ready":
        return _answers(settings, program.name)
    return is_ready(port, settings.token, program.page)


def _answers(settings: Settings, service: str) -> bool:
    if settings.host(service) == LOOPBACK:
        return is_ready(settings.port(service), settings.token)
    try:
        return bool(ask(settings, service, "GET", "/ready", timeout=2.0)["ready"])
    except CallError:
        return False


def _own(settings: Settings, program: Program) -> dict[str, Any]:
    try:
        own: dict[str, Any] = ask(settings, program.name, "GET", "/status", timeout=2.0)
    except CallError:
        return {}
    return own
