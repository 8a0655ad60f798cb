"""Settlement: the day's account by our own ledger beside the counter's statement, row by row, in yuan.

Both mark what is held at the day's settlement prices, yesterday's lots counted from their pre-settlement price, today's
from their opening price. What may lie between two honest sums is `tolerance`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import msgspec

from arbig.domain.counter import Statement
from arbig.domain.instruments import Instrument
from arbig.domain.ledger import Account
from arbig.trading.differences import Difference, What, tolerance

ROWS = (What.PRE_BALANCE, What.COMMISSION, What.CLOSE_PROFIT, What.POSITION_PROFIT, What.BALANCE, What.MARGIN)
UNKNOWN = "our side cannot be said: lots taken over during the day, or a price from before the first look, are missing"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One amount of the day."""

    amount: What
    ours: float
    theirs: float
    allowed: float

    @property
    def agrees(self) -> bool:
        return abs(self.ours - self.theirs) <= self.allowed + 1e-9


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """A day's statement, checked. Without rows: `remark` says why our side cannot be said."""

    trading_day: date
    rows: tuple[Row, ...] = ()
    remark: str = ""
    prices: dict[str, float] = {}

    @property
    def agrees(self) -> bool:
        return bool(self.rows) and all(row.agrees for row in self.rows)

    def differences(self) -> list[Difference]:
        done = f"the counter's statement of {self.trading_day} counts; more than {{:.2f}} yuan between honest sums"
        return [
            Difference(what=row.amount, ours=row.ours, theirs=row.theirs, done=done.format(row.allowed))
            for row in self.rows
            if not row.agrees
        ]

    def shown(self) -> dict[str, Any]:
        rows = [
            msgspec.to_builtins(row) | {"difference": round(row.theirs - row.ours, 2), "agrees": row.agrees}
            for row in self.rows
        ]
        return {"trading_day": self.trading_day, "agrees": self.agrees, "rows": rows, "remark": self.remark}


def checked(
    statement: Statement, account: Account | None, instrument_of: Callable[[str], Instrument], trades: int
) -> Checked:
    """`account`: our ledger after the day's last fill, None when it cannot be said."""
    day, prices = statement.trading_day, statement.prices
    if account is None or not set(_held(account)) <= prices.keys():
        return Checked(trading_day=day, remark=UNKNOWN, prices=prices)
    ours = _ours(account, prices, instrument_of, day)
    allowed = tolerance(trades)
    rows = tuple(
        Row(amount=what, ours=round(ours[what], 2), theirs=getattr(statement, what), allowed=allowed) for what in ROWS
    )
    return Checked(trading_day=day, rows=rows, prices=prices)


def _held(account: Account) -> list[str]:
    return [symbol for symbol, held in account.holdings.items() if held.long.lots or held.short.lots]


def _ours(
    account: Account, prices: Mapping[str, float], instrument_of: Callable[[str], Instrument], day: date
) -> dict[What, float]:
    """The margin is what the next day begins with: everything held is marked at the settlement price from then on."""
    instruments = {symbol: instrument_of(symbol) for symbol in account.holdings}
    worth = account.worth(instruments, prices)
    return {
        What.PRE_BALANCE: worth.pre_balance,
        What.COMMISSION: worth.commission,
        What.CLOSE_PROFIT: worth.close_profit,
        What.POSITION_PROFIT: worth.position_profit,
        What.BALANCE: worth.balance,
        What.MARGIN: account.settled(instruments, prices, day).worth(instruments, prices).margin,
    }
