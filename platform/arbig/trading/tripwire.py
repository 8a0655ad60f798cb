"""Trading: watches the account. A loss beyond its limit counts when it is seen twice, a second apart: one odd tick
moves nothing. Whether it has been acted on that day is asked elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arbig.domain.risk import Day, Denial, Trigger

CONFIRM_SECONDS = 1.0


def day_of(account: Mapping[str, Any], best: float) -> Day:
    """The counter's account as the triggers see it."""
    profit = account["close_profit"] + account["position_profit"] - account["commission"]
    return Day(balance=account["balance"], began=account["pre_balance"], profit=profit, best=best)


class Tripwire:
    def __init__(self, triggers: Sequence[Trigger]) -> None:
        self._triggers = triggers
        self._suspected: dict[str, float] = {}

    def seen(self, day: Day, seconds: float) -> list[Denial]:
        """The limits that are confirmed to be passed, at this reading of the wall's monotonic seconds."""
        found = [breach for trigger in self._triggers if (breach := trigger.breach(day)) is not None]
        self._suspected = {breach.code: self._suspected.get(breach.code, seconds) for breach in found}
        return [breach for breach in found if seconds - self._suspected[breach.code] >= CONFIRM_SECONDS]
