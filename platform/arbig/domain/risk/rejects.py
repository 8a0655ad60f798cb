"""Risk: a strategy whose orders the counter keeps rejecting is paused until a person resumes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt

from arbig.domain.risk.rule import STRICT


@dataclass(frozen=True)
class Rejects:
    __pydantic_config__: ClassVar[dict[str, str]] = STRICT

    orders: Annotated[int, Ge(1)] = 5
    within_seconds: Annotated[float, Gt(0)] = 60.0

    def words(self, strategy_name: str, last: str) -> str:
        return (
            f"{strategy_name} is paused: the counter has rejected {self.orders} of its orders within "
            f"{self.within_seconds:g} s, the last one: {last or 'without a reason'} (rejects in risk.yaml)"
        )
