"""Risk: the account trades on until it has lost a share of what the day began with. By the counter's own profits and
fees, so that a withdrawal is no loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Gt, Le

from arbig.domain.risk.rule import STRICT, Day, Denial


@dataclass(frozen=True)
class DailyLoss:
    __pydantic_config__: ClassVar[dict[str, str]] = STRICT

    max_percent: Annotated[float, Gt(0), Le(100)] = 5.0

    def breach(self, day: Day) -> Denial | None:
        limit = day.began * self.max_percent / 100
        if day.began <= 0 or -day.profit < limit:
            return None
        return Denial(
            "DAILY_LOSS",
            f"daily loss {-day.profit:,.0f} yuan, {-day.profit / day.began:.1%} of {day.began:,.0f} at the day's "
            f"start, limit {self.max_percent:g} % (daily_loss.max_percent in risk.yaml); only closing orders are sent, "
            "set ACTIVE to go on",
        )
