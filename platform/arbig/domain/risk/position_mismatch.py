"""Risk: the counter holds what nobody here can explain. Found by reconciliation, which has looked twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from arbig.domain.risk.rule import STRICT, Breach, Level, Readings


@dataclass(frozen=True)
class PositionMismatch:
    __pydantic_config__: ClassVar[dict[str, str]] = STRICT

    level: Level = Level.REDUCING

    def breach(self, found: Readings) -> Breach | None:
        if found.mismatch is None:
            return None
        return Breach("POSITION_MISMATCH", f"{found.mismatch} (position_mismatch in risk.yaml)", self.level)
