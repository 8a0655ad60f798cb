"""Risk: a program gone wild asks for more orders and cancels than anybody means. Refused ones count as well: all is
halted until a person has looked at it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt

from arbig.domain.risk.rule import STRICT, Breach, Level, Readings


@dataclass(frozen=True)
class Runaway:
    __pydantic_config__: ClassVar[dict[str, str]] = STRICT

    requests: Annotated[int, Ge(1)] = 200
    within_seconds: Annotated[float, Gt(0)] = 10.0
    level: Level = Level.HALTED

    def breach(self, found: Readings) -> Breach | None:
        recent = sum(found.now - at < self.within_seconds for at in found.requests)
        if recent < self.requests:
            return None
        return Breach(
            "RUNAWAY",
            f"{recent} orders and cancels were asked for in {self.within_seconds:g} s, limit {self.requests} "
            "(runaway.requests in risk.yaml); stop the strategy that does it",
            self.level,
        )
