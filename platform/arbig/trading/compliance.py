"""Trading: the report for programmatic trading filing. What this program sent in a trading day, from the requests it
has answered; what the exchange counts, from the orders and trades of the account.

A message is an order or a cancel passed on to the Gateway. Seconds are whole ones of the wall clock.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import date
from typing import Any

from arbig.domain.messages import CommandType
from arbig.domain.risk import Counts, RiskSettings
from arbig.store.orders import OrderStore, Received
from arbig.trading.activity import Activity

BUSY = 10
"""So many messages in a second are one of the occasions of which ten a day must be reported beforehand."""


def report(store: OrderStore, day: date, settings: RiskSettings) -> dict[str, Any]:
    """One account's day. Reads the tables: not for the loop's own thread."""
    received = store.received(day)
    of_symbol: defaultdict[str, list[Received]] = defaultdict(list)
    for each in received:
        if each.messages and each.symbol:
            of_symbol[each.symbol].append(each)
    counts = recount(store, day, settings).counts
    symbols = sorted(of_symbol.keys() | {symbol for symbol, found in counts.items() if found != Counts()})
    return {
        "account_id": store.account_id,
        "trading_day": day.isoformat(),
        **_messages(received),
        "contracts": [{"symbol": each} | _messages(of_symbol[each]) | _counted(counts[each]) for each in symbols],
        "denials": dict(Counter(each.code for each in received if each.code)),
    }


def recount(store: OrderStore, day: date, settings: RiskSettings) -> Activity:
    """The day's counters from the tables alone."""
    activity = Activity(settings, lambda order: 0.0)
    activity.load(day, store.load(day)[0], store.trade_sides(day))
    return activity


def _messages(received: Iterable[Received]) -> dict[str, int]:
    kinds: Counter[str] = Counter()
    seconds: Counter[Any] = Counter()
    for each in received:
        messages = each.messages or 0
        kinds[each.kind] += messages
        seconds[each.received_at.replace(microsecond=0)] += messages
    return {
        "orders": kinds[CommandType.SEND_ORDER],
        "cancels": kinds[CommandType.CANCEL_ORDER],
        "most_messages_per_second": max(seconds.values(), default=0),
        "busy_seconds": sum(1 for messages in seconds.values() if messages >= BUSY),
    }


def _counted(counts: Counts) -> dict[str, int]:
    return {
        "cancelled_orders": counts.cancels,
        "large_cancels": counts.large_cancels,
        "self_trades": counts.self_trades,
    }
