"""Fees and margin: what the counter takes for a fill and holds for a position. A rate is of the notional value."""

from __future__ import annotations

import msgspec

from arbig.domain.messages import Offset


class FeeSchedule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Commission of one product: yuan a lot plus a share of the notional; both may be set, one is usually zero."""

    open_by_lot: float = 0.0
    open_by_rate: float = 0.0
    close_by_lot: float = 0.0
    close_by_rate: float = 0.0
    close_today_by_lot: float = 0.0
    close_today_by_rate: float = 0.0

    def of(self, offset: Offset) -> tuple[float, float]:
        """(yuan a lot, rate) for an offset; plain CLOSE pays what closing yesterday's lots pays."""
        return getattr(self, f"{_KIND[offset]}_by_lot"), getattr(self, f"{_KIND[offset]}_by_rate")


_KIND = {
    Offset.OPEN: "open",
    Offset.CLOSE: "close",
    Offset.CLOSEYESTERDAY: "close",
    Offset.CLOSETODAY: "close_today",
}
