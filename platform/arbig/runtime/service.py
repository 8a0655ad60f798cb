"""Services: the life every one of them leads. In: settings, a bus, a clock. Out: `hb:{name}`, /health /ready /status
/metrics.

HTTP stands first, then Redis is awaited, then the predecessor, then the service starts; it is ready when `start`
returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import structlog
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.types import Receive, Scope, Send

from arbig.bus.port import Bus, BusError
from arbig.bus.topics import HEARTBEAT, group_of
from arbig.domain.faults import StartAnew
from arbig.domain.messages import Heartbeat, encode
from arbig.runtime import logs
from arbig.runtime.child import die_with_parent
from arbig.runtime.clock import Clock, WallClock
from arbig.runtime.http import PART_HEADER, is_ready
from arbig.runtime.memory import settle_memory
from arbig.runtime.ready import accepts
from arbig.runtime.settings import EXIT_CONFIG, PORTS, Settings, SettingsError, load_settings
from arbig.runtime.witness import STRANGER, Witness
from arbig.store.faults import Away, StoreError
from arbig.store.place import Place

BACKOFF = (*(0.1,) * 30, 0.5, 1.0, 2.0, 5.0)
LAG_BEATS = 3
MAX_FRAME_BYTES = 64 * 1024
OWN_LINES = frozenset({"arbig", "gateway", "market", "trading", "strategy", "web"})
HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
log = structlog.get_logger()
T = TypeVar("T")


class Service:
    """What a room fills in: `start` opens and resynchronises, `stop` closes, `routes` adds its queries."""

    name: ClassVar[str]
    needs: ClassVar[str | None] = None
    websockets: ClassVar[bool] = False
    early_paths: ClassVar[frozenset[str]] = frozenset()
    """Its own paths that are answered before it is ready."""
    waits_for: str | None = None
    """What `start` cannot go on without, for people."""

    def __init__(self, settings: Settings, bus: Bus, clock: Clock) -> None:
        self.settings = settings
        self.bus = bus
        self.clock = clock
        self._tasks: set[asyncio.Task[Any]] = set()
        self._died: asyncio.Queue[BaseException] = asyncio.Queue()

    async def start(self) -> None:
        """Open stores, resynchronise, subscribe; return when ready."""

    async def stop(self) -> None:
        """Close what `start` opened. Background tasks are cancelled here."""
        await self.cancel_tasks()

    def routes(self, app: FastAPI) -> None:
        """Add the service's queries."""

    def status(self) -> dict[str, object]:
        """Extra fields for /status: lag, ticks_per_s, ..."""
        return {}

    def heartbeat(self, state: str) -> Heartbeat:
        return Heartbeat(service=self.name, datetime=self.clock.now(), pid=os.getpid(), state=state)

    def admits(self, connection: HTTPConnection) -> bool:
        """Whether a request beyond /health may enter: the services' own token. Web decides for itself."""
        return has_token(connection, self.settings)

    def who(self, scope: Scope) -> str | None:
        """Who acts here, for the audit trail; None for a part of the house that writes a line of its own, or acts by
        itself."""
        headers = Headers(scope=scope)
        part = headers.get(PART_HEADER)
        if not has_token(HTTPConnection(scope), self.settings):
            return STRANGER
        return None if part in OWN_LINES else f"{part or 'somebody'} with the services' token"

    async def opened(self, place: Place, opening: Callable[[Place], T]) -> T:
        """A book, as soon as its server can be entered; a fault that no waiting mends ends the service."""
        for attempt in count():
            try:
                return opening(place) if isinstance(place, Path) else await asyncio.to_thread(opening, place)
            except Away as error:
                if self.waits_for is None:
                    log.error(f"waiting for the database: {error}")
                self.waits_for = str(error)
            except StoreError as error:
                raise SettingsError(str(error)) from None
            await self.clock.sleep(BACKOFF[min(attempt, len(BACKOFF) - 2)])
        raise AssertionError

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str | None = None) -> asyncio.Task[Any]:
        """A background task; if it dies of an error, the service ends loudly and the supervisor starts it again."""
        task = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.end(error)

    def end(self, error: BaseException) -> None:
        """This life is over, whoever has found out."""
        self._died.put_nowait(error)

    async def failure(self) -> BaseException:
        """Waits for what ends this life: a background task that died, or somebody who said so."""
        return await self._died.get()

    async def cancel_tasks(self) -> None:
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def run(kind: type[Service]) -> None:
    """The main of `python -m arbig.market`."""
    die_with_parent()
    try:
        settings = load_settings()
        logs.configure(kind.name, settings.logs)
        own = (settings.token, settings.viewer_token, settings.secret)
        logs.hide((*own, settings.redis.password, settings.database_password))
    except SettingsError as error:
        sys.exit(_refuse(kind.name, error))
    sys.exit(_loop(_live(kind, settings)))


def _loop(life: Coroutine[Any, Any, int]) -> int:
    import uvloop

    return int(uvloop.run(life))


def _refuse(name: str, error: SettingsError) -> int:
    print(f"arbig {name}: {error}", file=sys.stderr)
    return EXIT_CONFIG


async def _live(kind: type[Service], settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    life = Life(kind, settings, WallClock())
    living = asyncio.ensure_future(life.lead())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait((living, stopping), return_when=asyncio.FIRST_COMPLETED)
    living.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        return await living
    return 0


class Life:
    """One service from its birth to its end, and the HTTP face that can say at any time how far it has come."""

    def __init__(self, kind: type[Service], settings: Settings, clock: Clock) -> None:
        self.kind = kind
        self.settings = settings
        self.clock = clock
        self.service: Service | None = None
        self.state = "starting"
        self.waits_for: str | None = None
        self.born = clock.now()
        self.heartbeat_at: datetime | None = None
        self.lag: int | None = None
        self.bus_down = False
        self.app = self._face()

    async def lead(self) -> int:
        """Returns the exit code of the process."""
        server = _Server(self)
        vital: list[asyncio.Future[None]] = [asyncio.ensure_future(server.serve())]
        try:
            service = await _while_alive(vital, self._bear())
            vital.append(asyncio.ensure_future(self._beat(service)))
            await _while_alive(vital, self._rise(service))
            raise await _while_alive(vital, service.failure())
        except SettingsError as error:
            log.error(str(error))
            return EXIT_CONFIG
        except BusError as error:
            log.error(f"Redis: {error}")
            return 1
        except StartAnew as error:
            log.error(f"starting again to resynchronise: {error}")
            return 1
        except Exception:
            log.exception("died")
            return 1
        finally:
            await self._fall()
            server.should_exit = True
            for task in vital[1:]:
                task.cancel()
            await asyncio.gather(*vital, return_exceptions=True)
            if self.service is not None:
                await self.service.bus.close()

    async def _bear(self) -> Service:
        service = self.service = self.kind(self.settings, await self._bus(), self.clock)
        app = self._face()
        service.routes(app)
        self.app = app
        return service

    async def _rise(self, service: Service) -> None:
        if self.kind.needs:
            await self._predecessor(self.kind.needs)
        self.waits_for = None
        await service.start()
        settle_memory()
        self.state = "ready"
        log.info("ready", seconds=round((self.clock.now() - self.born).total_seconds(), 2))

    async def _fall(self) -> None:
        self.state = "stopping"
        if self.service is not None:
            try:
                await self.service.stop()
            except Exception:
                log.exception("stopping")
            await self.service.cancel_tasks()

    async def _bus(self) -> Bus:
        from arbig.bus.redis import RedisBus

        self.waits_for = "redis"
        patience = len(BACKOFF) if self.settings.redis.embedded else 0
        attempt = 0
        while True:
            try:
                address = self.settings.redis_for(self.kind.name)
                logs.hide((address.password,))
                return await RedisBus.connect(address)
            except (BusError, SettingsError) as error:
                if attempt == patience:
                    log.warning(f"waiting for Redis: {error}")
            await self.clock.sleep(BACKOFF[min(attempt, len(BACKOFF) - 1)])
            attempt += 1

    async def _predecessor(self, name: str) -> None:
        self.waits_for = name
        began, told = self.clock.monotonic(), False
        while not await self._stands(name):
            if not told and self.clock.monotonic() - began > 10:
                told = True
                log.warning(f"waiting for {name} to be ready")
            await self.clock.sleep(0.1)

    async def _stands(self, name: str) -> bool:
        if name in PORTS:
            return await is_ready(self.settings, name)
        return accepts(self.settings.socket(name))

    async def _beat(self, service: Service) -> None:
        channel = HEARTBEAT.of(service.name)
        for beat in count():
            try:
                await service.bus.publish([(channel, encode(service.heartbeat(self.state)))])
                self.heartbeat_at = self.clock.now()
                await service.bus.epoch()
                if beat % LAG_BEATS == 0:
                    self.lag = await self._lag_of(service)
                self._bus_is(up=True)
            except BusError as error:
                self._bus_is(up=False, why=str(error))
            await self.clock.sleep(1.0)

    async def _lag_of(self, service: Service) -> int | None:
        """Stream entries that wait for this service, delivered or not; None for one that consumes none."""
        own = [group for group in await service.bus.groups() if group.group == group_of(service.name)]
        return sum(group.lag + group.pending for group in own) if own else None

    def _bus_is(self, up: bool, why: str = "") -> None:
        if self.bus_down and up:
            log.info("Redis is back")
        elif not self.bus_down and not up:
            log.error(f"Redis is gone, waiting for it: {why}")
        self.bus_down = not up

    def status(self) -> dict[str, object]:
        now = self.clock.now()
        return {
            "service": self.kind.name,
            "pid": os.getpid(),
            "state": self.state,
            "ready": self.ready,
            "waits_for": self.waiting,
            "redis": "down" if self.bus_down else "up",
            "uptime": round((now - self.born).total_seconds(), 1),
            "heartbeat": self.heartbeat_at.isoformat(timespec="milliseconds") if self.heartbeat_at else None,
            "lag": self.lag,
            **(self.service.status() if self.service is not None and self.state == "ready" else {}),
        }

    @property
    def ready(self) -> bool:
        return self.state == "ready" and not self.bus_down

    @property
    def waiting(self) -> str | None:
        return self.waits_for or (None if self.ready or self.service is None else self.service.waits_for)

    def admits(self, connection: HTTPConnection) -> bool:
        if self.service is not None:
            return self.service.admits(connection)
        return has_token(connection, self.settings)

    def who(self, scope: Scope) -> str | None:
        return self.service.who(scope) if self.service is not None else STRANGER

    def _face(self) -> FastAPI:
        """What every service answers. The service adds to a fresh one, before its first request."""
        app = FastAPI(title=f"ARBIG {self.kind.name}", docs_url=None, redoc_url=None, openapi_url=None)

        @app.exception_handler(StoreError)
        async def unwritten(_: Request, error: StoreError) -> JSONResponse:
            return JSONResponse({"detail": str(error)}, 503)

        @app.exception_handler(StartAnew)
        async def doubtful(_: Request, error: StartAnew) -> JSONResponse:
            if self.service is not None:
                self.service.end(error)
            return JSONResponse({"detail": str(error)}, 503)

        @app.get("/health")
        async def health() -> JSONResponse:
            return JSONResponse({"alive": True})

        @app.get("/ready")
        async def ready() -> JSONResponse:
            answer = {"ready": self.ready, "state": self.state, "waits_for": self.waiting}
            return JSONResponse(answer, status_code=200 if self.ready else 503)

        @app.get("/status")
        async def status() -> JSONResponse:
            return JSONResponse(self.status())

        @app.get("/metrics")
        async def metrics() -> PlainTextResponse:
            from arbig.runtime.metrics import exposition

            return PlainTextResponse(exposition(self.status()), media_type="text/plain; version=0.0.4")

        return app


async def _while_alive(vital: Sequence[asyncio.Future[None]], step: Coroutine[Any, Any, T]) -> T:
    """The step's result, unless something vital ends before it: then what ended it is raised."""
    doing: asyncio.Future[T] = asyncio.ensure_future(step)
    everything: set[asyncio.Future[Any]] = {doing, *vital}
    try:
        await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
        ended = next((task for task in vital if task.done()), None)
        if ended is None or doing.done():
            return await doing
        raise ended.exception() or RuntimeError("the HTTP server ended")
    finally:
        doing.cancel()


OWN_PATHS = frozenset({"/health", "/ready", "/status", "/metrics"})


class Door:
    """Who may enter: our own host name only; /health for everybody, the rest by what the service admits."""

    def __init__(self, life: Life) -> None:
        self.life = life

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.life.app(scope, receive, send)
            return
        refusal = self._refusal(HTTPConnection(scope))
        if refusal is None:
            await self.life.app(scope, receive, send)
        else:  # a WebSocket too is told the status: who only has to wait must not take it for a wrong token
            await refusal(scope, receive, send)

    def _refusal(self, connection: HTTPConnection) -> JSONResponse | None:
        host = connection.headers.get("host", "").rsplit(":", 1)[0]
        path = connection.scope["path"]
        if host not in HOSTS and host != self.life.settings.host(self.life.kind.name):
            return JSONResponse({"detail": f"host {host!r} is not this machine; use http://127.0.0.1"}, 421)
        if path == "/health":
            return None
        if not (has_token(connection, self.life.settings) if path in OWN_PATHS else self.life.admits(connection)):
            return JSONResponse({"detail": "a bearer token is needed"}, 401, {"WWW-Authenticate": "Bearer"})
        if self.life.state != "ready" and path not in OWN_PATHS | self.life.kind.early_paths:
            waits = f", it waits for {self.life.waiting}" if self.life.waiting else ""
            return JSONResponse({"detail": f"{self.life.kind.name} is {self.life.state}{waits}"}, 503)
        return None


def has_token(connection: HTTPConnection, settings: Settings) -> bool:
    given = connection.headers.get("authorization", "")
    return hmac.compare_digest(given.encode("utf-8", "replace"), f"Bearer {settings.token}".encode())


class _Server(uvicorn.Server):
    """uvicorn in our loop; signals are ours."""

    def __init__(self, life: Life) -> None:
        tls = life.settings.hosts.tls if life.settings.speaks_tls(life.kind.name) else None
        super().__init__(
            uvicorn.Config(
                Witness(Door(life), life.settings, life.clock, life.who),
                host=life.settings.host(life.kind.name),
                ssl_certfile=None if tls is None else tls.certificate,
                ssl_keyfile=None if tls is None else tls.key,
                port=life.settings.port(life.kind.name),
                log_config=None,
                access_log=False,
                lifespan="off",
                ws_max_size=MAX_FRAME_BYTES,
                ws="auto" if life.kind.websockets else "none",
                timeout_graceful_shutdown=2,
                server_header=False,
            )
        )
        self._port = life.settings.port(life.kind.name)

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield

    async def serve(self, sockets: Any = None) -> None:
        try:
            await super().serve(sockets)
        except SystemExit:
            raise SettingsError(
                f"port {self._port} is in use; stop what holds it, or run: arbig up --port-offset 100"
            ) from None
