"""Trading: watches the house. A limit that is passed counts when it is seen twice, a second apart: one odd reading
moves nothing. What has been acted on is not acted on again that day, unless it has been over for a while and comes
anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from arbig.domain.risk import Breach, Day, Readings, Trigger

CONFIRM_SECONDS = 1.0
OVER_SECONDS = 60.0


def day_of(account: Mapping[str, Any], best: float) -> Day:
    """The counter's account as the triggers see it."""
    profit = account["close_profit"] + account["position_profit"] - account["commission"]
    return Day(balance=account["balance"], began=account["pre_balance"], profit=profit, best=best)


class Tripwire:
    def __init__(self, triggers: Sequence[Trigger]) -> None:
        self._triggers = triggers
        self._suspected: dict[str, float] = {}
        self._over: dict[str, float] = {}
        self._acted: set[str] = set()

    def begin(self, acted: Iterable[str]) -> None:
        """A trading day, or a life in it: what a former life has acted on."""
        self._acted, self._over = set(acted), {}

    def acted(self, code: str) -> None:
        self._acted.add(code)

    def seen(self, found: Readings) -> list[Breach]:
        """The limits that are confirmed to be passed, and have not been acted on."""
        breaches = [breach for trigger in self._triggers if (breach := trigger.breach(found)) is not None]
        self._suspected = {breach.code: self._suspected.get(breach.code, found.now) for breach in breaches}
        self._forget_what_is_over(found.now)
        return [each for each in breaches if each.code not in self._acted and self._is_confirmed(each.code, found.now)]

    def _is_confirmed(self, code: str, now: float) -> bool:
        return now - self._suspected[code] >= CONFIRM_SECONDS

    def _forget_what_is_over(self, now: float) -> None:
        self._over = {code: self._over.get(code, now) for code in self._acted if code not in self._suspected}
        self._acted = {code for code in self._acted if now - self._over.get(code, now) < OVER_SECONDS}
