"""Frames: what the Strategy service and the process of one strategy say to each other over their socket.

Down go `Load`, then one `Call` at a time; up comes one `Done` or `Fault` for each, with `Fetch` (answered by `History`)
and `Progress` in between. Ticks, bars, orders and trades travel as the JSON they came in.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any

import msgspec

from arbig.domain.messages import Direction, Interval, Offset
from arbig.domain.template import StopOrder


class Frame(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Anything said on the socket."""


class Contract(msgspec.Struct, frozen=True, array_like=True):
    price_tick: float
    size: int
    night_close: time | None = None


class Calendar(msgspec.Struct, frozen=True, array_like=True):
    """The trading days, and those whose night was suspended: for windows that follow the sessions."""

    days: tuple[date, ...] = ()
    no_night: tuple[date, ...] = ()


class Holding(msgspec.Struct, frozen=True, array_like=True):
    """What a strategy may know of its position in one contract: its net lots, how many of them its working orders
    already close, and yesterday's lots of the account that are free to close, by side."""

    net: int = 0
    closing: int = 0
    yesterday_long: int = 0
    yesterday_short: int = 0


# ---- down ---------------------------------------------------------------------------------------------------------


class Models(msgspec.Struct, frozen=True, array_like=True):
    """Where the model server is. Port 0: there is none."""

    port: int = 0
    token: str = ""


class Load(Frame, frozen=True):
    """Which class to make, and with what."""

    file: str
    class_name: str
    strategy_name: str
    vt_symbols: tuple[str, ...]
    params: dict[str, Any]
    contracts: dict[str, Contract]
    run_id: str
    calendar: Calendar = Calendar()
    models: Models = Models()


class Call(Frame, frozen=True):
    """One callback. `holdings` and `numbers` come along when they have changed."""

    kind: str
    payloads: tuple[bytes, ...] = ()
    paused: bool = False
    holdings: dict[str, Holding] | None = None
    numbers: tuple[int, int] | None = None
    variables: dict[str, Any] | None = None


class History(Frame, frozen=True):
    """The answer to `Fetch`: bars or ticks, oldest first."""

    payloads: tuple[bytes, ...]


# ---- up -----------------------------------------------------------------------------------------------------------


class Ready(Frame, frozen=True):
    """The process stands and listens."""


class Fetch(Frame, frozen=True):
    """History, please: bars of an interval, or ticks."""

    vt_symbol: str
    days: int
    interval: Interval | None


class Progress(Frame, frozen=True):
    """Still busy with history, not hung."""


class SendOrder(Frame, frozen=True):
    vt_orderid: str
    vt_symbol: str
    direction: Direction
    offset: Offset
    price: float
    volume: int


class PlaceStop(Frame, frozen=True):
    stop_order: StopOrder


class CancelOrder(Frame, frozen=True):
    vt_orderid: str


class CancelAll(Frame, frozen=True):
    """Every working order and stop order of the strategy."""


class Predicted(Frame, frozen=True):
    """What a model was asked, and what it said. Without a version it is the fallback, for the `reason`."""

    model: str
    version: str
    value: float
    reason: str
    vt_symbol: str
    features_at: datetime
    milliseconds: float


class WriteLog(Frame, frozen=True):
    message: str


class SendMail(Frame, frozen=True):
    message: str


class SyncData(Frame, frozen=True):
    """Keep the variables now."""


Action = SendOrder | PlaceStop | CancelOrder | CancelAll | Predicted | WriteLog | SendMail | SyncData


class Done(Frame, frozen=True):
    """The callback returned. `variables` as shown to people, when they may have changed; those in `unsaved` are shown
    only, since they are not plain values."""

    actions: tuple[Action, ...] = ()
    variables: dict[str, Any] | None = None
    unsaved: tuple[str, ...] = ()
    parameters: dict[str, Any] | None = None
    several: bool = False
    numbers_used: int = 0


class Fault(Frame, frozen=True):
    """The callback raised, or (`traceback` empty) the configuration does not fit the class."""

    reason: str
    traceback: str = ""


Down = Load | Call | History
Up = Ready | Fetch | Progress | Done | Fault

_SIZE = struct.Struct(">I")
_pack = msgspec.msgpack.Encoder().encode
unpack_down = msgspec.msgpack.Decoder(Down).decode
unpack_up = msgspec.msgpack.Decoder(Up).decode


def framed(frame: Frame) -> bytes:
    """The frame with its length before it."""
    body = _pack(frame)
    return _SIZE.pack(len(body)) + body


class Splitter:
    """Bytes in as they come, whole frames out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _SIZE.size:
            end = _SIZE.size + _SIZE.unpack_from(buffer)[0]
            if len(buffer) < end:
                return
            body = bytes(buffer[_SIZE.size : end])
            del buffer[:end]
            yield body
