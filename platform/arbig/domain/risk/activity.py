"""Risk: what an order adds to the counts of its day, to the lots that are opening, and to the margin they will need.

Each is a function of the order's state alone, so that counters kept up to date state by state are what a recount from
the tables would find.
"""

from __future__ import annotations

from string import digits

from arbig.domain.messages import Offset, OrderType, Status
from arbig.domain.orders import OrderState
from arbig.domain.risk.rule import Counts

NOTHING = Counts()
_WORKING, _LARGE_WORKING = Counts(working=1), Counts(working=1, large_working=1)
_CANCEL, _LARGE_CANCEL = Counts(cancels=1), Counts(cancels=1, large_cancels=1)


def counts_of(order: OrderState, large_lots: int) -> Counts:
    """A working order may become a cancel, a cancelled one is one. Lots that have traded were not cancelled. What the
    exchange itself cancels at the close cannot be told apart and is counted: nothing is opened after it."""
    if order.order_type is not OrderType.LIMIT:
        return NOTHING
    is_large = order.volume - max(order.traded, order.announced) >= large_lots
    if order.is_active:
        return _LARGE_WORKING if is_large else _WORKING
    if order.status is Status.CANCELLED:
        return _LARGE_CANCEL if is_large else _CANCEL
    return NOTHING


def opening_of(order: OrderState) -> int:
    """Lots that may still be opened by it."""
    return order.working if order.offset is Offset.OPEN else 0


def product_of(symbol: str) -> str:
    """`au2512` -> au: its limits are one product's, whatever the delivery month."""
    return symbol.rstrip(digits)
