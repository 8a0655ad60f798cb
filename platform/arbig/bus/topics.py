"""Topics: every channel and stream of the house, who writes it, who must read it.

The names are the specification's (section 2.2). The message table in ARCHITECTURE.md and the Redis ACL are made
from this page.
"""

from __future__ import annotations

from dataclasses import dataclass

from arbig.domain.messages import (
    BarData,
    CommandData,
    DeadLetter,
    EventData,
    Heartbeat,
    Message,
    OrderData,
    OrderRequest,
    PositionData,
    TickData,
    TradeData,
)

GATEWAY, MARKET, TRADING, STRATEGY, WEB = "gateway", "market", "trading", "strategy", "web"
SCHEDULER = "scheduler"
SERVICES = (GATEWAY, MARKET, TRADING, STRATEGY, WEB, SCHEDULER)


@dataclass(frozen=True)
class Topic:
    """A channel (Pub/Sub, may be lost) or a stream (must not be lost)."""

    name: str
    message: type[Message]
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    about: str

    @property
    def is_stream(self) -> bool:
        return self.name.startswith("stream:")

    def of(self, key: str) -> str:
        """The concrete channel of a pattern: `tick:*` of au2512 -> `tick:au2512`."""
        return self.name.replace("*", key)


TICK = Topic("tick:*", TickData, (GATEWAY,), (MARKET, STRATEGY), "行情 tick, lossy")
BAR = Topic("bar:*", BarData, (MARKET,), (STRATEGY,), "1分钟K线, numbered, back-filled over HTTP")
HEARTBEAT = Topic("hb:*", Heartbeat, SERVICES, SERVICES, "heartbeat, once a second; the Gateway's carries session time")

TRADE = Topic("stream:trade", TradeData, (GATEWAY,), (TRADING, STRATEGY), "成交回报")
POSITION = Topic("stream:position", PositionData, (GATEWAY,), (TRADING, STRATEGY), "持仓变化, snapshots")
ORDER_STATUS = Topic("stream:order_status", OrderData, (GATEWAY, TRADING), (TRADING, STRATEGY), "订单状态（含拒单）")
ORDER = Topic("stream:order", OrderRequest, (STRATEGY, TRADING), (TRADING,), "订单请求")
CMD = Topic("stream:cmd", CommandData, (TRADING,), (GATEWAY,), "报单指令")
EVENT = Topic(
    "stream:event",
    EventData,
    (GATEWAY, TRADING, STRATEGY, MARKET, SCHEDULER),
    (MARKET, TRADING, STRATEGY),
    "connection, reconcile, trading state, alarms",
)
DEAD = Topic("stream:dead", DeadLetter, SERVICES, (), "entries that could not be used, with the reason")

CHANNELS = (TICK, BAR, HEARTBEAT)
STREAMS = (TRADE, POSITION, ORDER_STATUS, ORDER, CMD, EVENT, DEAD)
TOPICS = CHANNELS + STREAMS
BY_NAME = {topic.name: topic for topic in TOPICS}

EPOCH = "arbig:epoch"
"""The key whose random value tells an emptied Redis from the one before."""

MAX_ENTRIES = 10_000
ALARM_ENTRIES = 1_000_000


def group_of(service: str) -> str:
    """`group:trading`: one consumer group per service (specification 2.2)."""
    return f"group:{service}"


def required_groups(stream: str) -> tuple[str, ...]:
    """The groups that must have read a stream's entry before it may be trimmed; none for a channel."""
    topic = BY_NAME[stream]
    return tuple(group_of(service) for service in topic.readers) if topic.is_stream else ()
