"""Risk: the account trades on until it has lost a share of what the day began with. By the counter's own profits and
fees, so that a withdrawal is no loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Gt, Le

from arbig.domain.risk.rule import STRICT, Breach, Level, Readings


@dataclass(frozen=True)
class DailyLoss:
    """Two steps: first only closing orders are sent, then none."""

    __pydantic_config__: ClassVar[dict[str, str]] = STRICT

    reduce_percent: Annotated[float, Gt(0), Le(100)] = 2.0
    halt_percent: Annotated[float, Gt(0), Le(100)] = 4.0

    def breach(self, found: Readings) -> Breach | None:
        day = found.day
        if day is None or day.began <= 0:
            return None
        percent = -day.profit / day.began * 100
        if percent >= self.halt_percent:
            return self._breach(day.began, percent, "DAILY_LOSS_HALT", "halt_percent", Level.HALTED)
        if percent >= self.reduce_percent:
            return self._breach(day.began, percent, "DAILY_LOSS", "reduce_percent", Level.REDUCING)
        return None

    def _breach(self, began: float, percent: float, code: str, key: str, level: Level) -> Breach:
        return Breach(
            code,
            f"daily loss {began * percent / 100:,.0f} yuan, {percent:.1f}% of {began:,.0f} at the day's start, "
            f"limit {getattr(self, key):g} % (daily_loss.{key} in risk.yaml); set ACTIVE to go on",
            level,
        )
