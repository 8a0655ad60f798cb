"""Risk: the account trades on until its balance has fallen by a share below the best settled one. A withdrawal counts
as a fall; who made it sets ACTIVE again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Gt, Le

from arbig.domain.risk.rule import STRICT, Breach, Level, Readings


@dataclass(frozen=True)
class Drawdown:
    __pydantic_config__: ClassVar[dict[str, str]] = STRICT

    max_percent: Annotated[float, Gt(0), Le(100)] = 20.0
    level: Level = Level.REDUCING

    def breach(self, found: Readings) -> Breach | None:
        day = found.day
        if day is None:
            return None
        best = max(day.best, day.began)
        fall = best - day.balance
        if best <= 0 or fall < best * self.max_percent / 100:
            return None
        return Breach(
            "DRAWDOWN",
            f"balance {day.balance:,.0f} yuan is {fall / best:.1%} below the best settled one, {best:,.0f}, limit "
            f"{self.max_percent:g} % (drawdown.max_percent in risk.yaml); set ACTIVE to go on",
            self.level,
        )
