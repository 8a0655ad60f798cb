"""Risk: a service that is far behind its stream acts on what was, not on what is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge

from arbig.domain.risk.rule import STRICT, Breach, Level, Readings


@dataclass(frozen=True)
class StreamLag:
    __pydantic_config__: ClassVar[dict[str, str]] = STRICT

    entries: Annotated[int, Ge(1)] = 2000
    level: Level = Level.REDUCING

    def breach(self, found: Readings) -> Breach | None:
        far = {name: waiting for name, waiting in found.behind.items() if waiting >= self.entries}
        if not far:
            return None
        words = ", ".join(f"{name} by {waiting} entries" for name, waiting in sorted(far.items()))
        return Breach(
            "STREAM_LAG",
            f"behind their streams: {words}, limit {self.entries} (stream_lag.entries in risk.yaml)",
            self.level,
        )
