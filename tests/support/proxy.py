"""A bad network between a service and Redis: cut, slow, half-open, replies lost.

It lives in a thread of its own, so it serves asyncio tests and real processes alike; every method may be called from
anywhere and returns when it has taken effect:

    with Proxy("127.0.0.1", redis_port) as proxy:
        bus = await RedisBus.connect(replace(address, port=proxy.port))
        proxy.freeze()
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType

_CHUNK = 65536
_RESET = struct.pack("ii", 1, 0)


class _Link:
    """One connection through the proxy. While `clear` is not set it carries nothing and closes nothing."""

    def __init__(self, near: asyncio.StreamWriter) -> None:
        self.ends = [near]
        self.clear = asyncio.Event()
        self.clear.set()

    def reset(self) -> None:
        for end in self.ends:
            with contextlib.suppress(OSError):
                end.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            end.transport.abort()


class Proxy:
    """TCP from `port` to `target`; a target that is not there shows as a reset."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.port = 0
        self.dropped = 0
        self._slow = 0.0
        self._drops = 0
        self._holding = b""
        self._down = self._frozen = False
        self._links: dict[_Link, asyncio.Task[None]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def connections(self) -> int:
        return len(self._links)

    def cut(self) -> None:
        """Every connection is reset; new ones work."""
        self._do(self._cut)

    def down(self) -> None:
        """Every connection is reset, and so is each new one until `heal`."""
        self._do(self._go_down)

    def slow(self, seconds: float) -> None:
        """Each packet waits that long, in both directions."""
        self._do(lambda: setattr(self, "_slow", seconds))

    def freeze(self, also_new: bool = True) -> None:
        """Half-open: nothing passes and nothing closes. What was on its way arrives after `heal`. Without `also_new`
        connections made from now on work: so a firewall forgets the old ones."""
        self._do(lambda: self._freeze(also_new))

    def drop_replies(self, count: int = 1, holding: bytes = b"") -> None:
        """The next replies (those that hold these bytes) are lost on the way, each with its connection."""
        self._do(lambda: self._drop(count, holding))

    def heal(self) -> None:
        self._do(self._heal)

    def _do(self, act: Callable[[], None]) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (act(), done.set()))
        assert done.wait(10), "the proxy's thread hangs"

    def _cut(self) -> None:
        for link in list(self._links):
            link.reset()
            link.clear.set()

    def _go_down(self) -> None:
        self._down = True
        self._cut()

    def _freeze(self, also_new: bool) -> None:
        self._frozen = also_new
        for link in self._links:
            link.clear.clear()

    def _drop(self, count: int, holding: bytes) -> None:
        self._drops, self._holding = count, holding

    def _heal(self) -> None:
        self._slow, self._drops, self._down, self._frozen = 0.0, 0, False, False
        for link in self._links:
            link.clear.set()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def _close(self) -> None:
        self._server.close()
        self._go_down()
        tasks = list(self._links.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link, me = _Link(writer), asyncio.current_task()
        assert me is not None
        self._links[link] = me
        if self._frozen:
            link.clear.clear()
        try:
            await link.clear.wait()
            if not self._down:
                await self._carry(link, reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            link.reset()
            del self._links[link]

    async def _carry(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self.target)
        link.ends.append(far_writer)
        ways = [
            asyncio.ensure_future(self._pass(link, reader, far_writer, replies=False)),
            asyncio.ensure_future(self._pass(link, far_reader, writer, replies=True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _pass(self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter, replies: bool) -> None:
        """Until one side hangs up; while frozen not even that is told to the other."""
        data = b"-"
        while data:
            try:
                data = await source.read(_CHUNK)
            except OSError:
                data = b""
            await link.clear.wait()
            await asyncio.sleep(self._slow)
            if replies and self._drops and self._holding in data:
                self._drops -= 1
                self.dropped += 1
                return
            sink.write(data)
            await sink.drain()
