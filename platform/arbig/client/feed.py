"""Feed: Web's WebSocket as an endless iterator. It reconnects by itself and reads streams on from where it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from itertools import chain, repeat
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from arbig.client.client import ClientError, no_stack
from arbig.domain.messages import (
    BarData,
    EventData,
    Message,
    MessageError,
    OrderData,
    PositionData,
    TickData,
    TradeData,
    decode,
)

PAUSES = (0.2, 0.5, 1.0, 2.0)
SILENCE_SECONDS = 5.0
KINDS: Mapping[str, type[Message]] = {
    "tick": TickData,
    "bar": BarData,
    "trade": TradeData,
    "order_status": OrderData,
    "position": PositionData,
    "event": EventData,
}


class News(msgspec.Struct, frozen=True):
    """One message. `data` is still JSON: `message()` for ticks, bars and streams, `read(kind)` for the rest.
    `topic` is "connected" after each (re)connection, "lost" with the reason when it breaks, and "missed" before what is
    told anew from SQL, because a stream no longer keeps it (`docs/api.md`)."""

    topic: str
    data: msgspec.Raw
    stream: str | None = None
    id: str | None = None

    def message(self) -> Message:
        kind = KINDS.get(self.topic.partition(":")[0])
        if kind is None:
            raise MessageError(f"{self.topic}: what comes there is no message of a channel or stream")
        return decode(kind, bytes(self.data))

    def read(self, kind: Any) -> Any:
        return msgspec.json.decode(self.data, type=kind)


class _Dated(msgspec.Struct, frozen=True):
    datetime: str


_read = msgspec.json.Decoder(News)


class Feed:
    """One connection for a whole process."""

    def __init__(self, base_url: str, token: str) -> None:
        self._base_url = base_url
        self._url = base_url.replace("http", "ws", 1) + "/ws"
        self._token = token
        self._topics: frozenset[str] = frozenset()
        self._places: dict[str, str] = {}
        self._times: dict[str, str] = {}
        self._socket: ClientConnection | None = None

    async def subscribe(self, topics: Iterable[str], after: Mapping[str, str] | None = None) -> None:
        """From now on these topics; `after`: the `as_of` of the snapshots that were taken."""
        self._topics = frozenset(topics)
        self._places |= after or {}
        if self._socket is not None:
            try:
                await self._ask(self._socket)
            except ConnectionClosed:
                return

    async def news(self) -> AsyncGenerator[News, None]:
        """Everything, for ever. Raises ClientError only when the token is refused."""
        pauses = chain(PAUSES, repeat(PAUSES[-1]))
        while True:
            try:
                async with connect(
                    self._url,
                    additional_headers={"Authorization": f"Bearer {self._token}"},
                    compression=None,
                    proxy=None,
                    open_timeout=SILENCE_SECONDS,
                ) as socket:
                    pauses = chain(PAUSES, repeat(PAUSES[-1]))
                    self._socket = socket
                    await self._ask(socket)
                    yield News("connected", msgspec.Raw(b"null"))
                    async for item in self._items(socket):
                        yield item
            except InvalidStatus as error:
                if error.response.status_code in (401, 403):
                    raise ClientError(f"{self._base_url} refuses the token of the run folder", 403) from None
                reason = f"Web answers {error.response.status_code}"
            except ConnectionClosed as error:
                reason = error.rcvd.reason if error.rcvd and error.rcvd.reason else "Web closed the connection"
            except TimeoutError:
                reason = f"Web was silent for {SILENCE_SECONDS:g} s"
            except (OSError, WebSocketException):
                reason = str(no_stack(self._base_url))
            finally:
                self._socket = None
            yield News("lost", msgspec.Raw(msgspec.json.encode(reason)))
            await asyncio.sleep(next(pauses))

    async def _items(self, socket: ClientConnection) -> AsyncIterator[News]:
        while True:
            async with asyncio.timeout(SILENCE_SECONDS):
                text = await socket.recv()
            item = _read.decode(text)
            if item.stream and item.id:
                self._places[item.stream] = item.id
                if item.topic == "trade":
                    self._times[item.stream] = item.read(_Dated).datetime
            yield item

    async def _ask(self, socket: ClientConnection) -> None:
        request = {"subscribe": sorted(self._topics), "after": self._places, "since": self._times}
        await socket.send(msgspec.json.encode(request).decode())
