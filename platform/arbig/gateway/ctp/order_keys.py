"""OrderKeys: under which names a counter knows an order, so that it can be cancelled and its trades found.

Three keys exist: the session's (front, session, reference), the counter's own, and the exchange's (exchange and
number). A number alone says nothing: two exchanges use the same ones, and another terminal the same references.
"""

from __future__ import annotations

from typing import NamedTuple

from arbig.domain.counter import CancelOrder, InsertOrder, OrderReport
from arbig.gateway.ctp.translate import Key, Raw, key_of


class Known(NamedTuple):
    """An order as far as a cancel must name it; `number` is the exchange's, as the exchange wrote it."""

    key: Key
    symbol: str
    exchange: str
    number: str
    memo: str


class OrderKeys:
    def __init__(self) -> None:
        self._known: dict[Key, Known] = {}
        self._by_ref: dict[int, list[Key]] = {}
        self._by_number: dict[str, list[Key]] = {}

    def sent(self, key: Key, wish: InsertOrder) -> None:
        """Before the counter says a word of it."""
        self._keep(Known(key, wish.symbol, str(wish.exchange), "", wish.memo), wish.order_ref)

    def heard(self, raw: Raw, report: OrderReport) -> None:
        known = self._known.get(key_of(raw))
        number = str(raw.get("OrderSysID") or "")
        memo = report.memo or (known.memo if known else "")
        if not number.strip() and known is not None:
            number = known.number
        self._keep(Known(key_of(raw), report.symbol, str(report.exchange), number, memo), report.order_ref)

    def memo(self, key: Key) -> str:
        """What we wrote on the order, for a counter that does not echo it."""
        known = self._known.get(key)
        return known.memo if known else ""

    def find(self, wish: CancelOrder) -> Known | None:
        """The one order a cancel means. None when nobody knows it, or when it could be two: better none than a
        stranger's."""
        found = [self._known[key] for key in self._candidates(wish)]
        if len(found) > 1:
            found = [known for known in found if known.memo]
        return found[0] if len(found) == 1 else None

    def _candidates(self, wish: CancelOrder) -> list[Key]:
        by_ref = self._by_ref.get(wish.order_ref, []) if wish.order_ref else []
        by_number = self._by_number.get(wish.order_sys_id.strip(), []) if wish.order_sys_id.strip() else []
        if by_ref and by_number:
            return [key for key in by_ref if key in by_number] or by_number
        return by_ref or by_number

    def forget(self) -> None:
        """A new trading day: its numbers begin anew."""
        self._known.clear()
        self._by_ref.clear()
        self._by_number.clear()

    def _keep(self, known: Known, order_ref: int) -> None:
        self._known[known.key] = known
        _add(self._by_ref.setdefault(order_ref, []), known.key)
        if known.number.strip():
            _add(self._by_number.setdefault(known.number.strip(), []), known.key)


def _add(keys: list[Key], key: Key) -> None:
    if key not in keys:
        keys.append(key)
