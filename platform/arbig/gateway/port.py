"""Port: a counter as the Gateway sees it, real or simulated. Translate, never decide.

A connector speaks the words of `domain/counter.py`: it takes wishes and hands facts, in the order in which the counter
said them, to its `Listener`. It reconnects by itself and never repeats a wish. Twins: `sim.py` and `ctp/connector.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from arbig.domain.counter import Answer, CancelOrder, Fact, InsertOrder, LoggedIn, Subject
from arbig.domain.fees import FeeSchedule


class NotConnected(ConnectionError):
    """The wish certainly did not go out."""


class Lamp(NamedTuple):
    """Whether a part of the connection stands; when it does not, why."""

    on: bool
    reason: str | None = None


class ContractRates(NamedTuple):
    """What the counter itself charges for a contract; None where it has said nothing usable."""

    symbol: str
    margin_rate: float | None
    fees: FeeSchedule | None


TRADING, MARKET_DATA = "trading", "market_data"
"""The two lamps: one may be on while the other is off."""


class Listener(Protocol):
    """Who hears the facts. Called on the event loop; returns when they are safe."""

    def on_login(self, greeting: LoggedIn) -> None:
        """A session stands. The private flow is replayed next."""

    def on_facts(self, facts: Sequence[Fact]) -> None:
        """What the counter said, in order; as many as came together."""

    def on_answer(self, answer: Answer) -> None:
        """The answer to a query, in order with the facts; whoever asked gets it afterwards."""

    def on_lost(self, reason: str) -> None:
        """The session is over. What was being sent is in doubt."""

    def on_alarm(self, message: str) -> None:
        """Something a person has to mend."""


class Connector(Protocol):
    @property
    def connected(self) -> bool:
        """Logged in; not yet a promise that the replay has ended."""

    @property
    def lamps(self) -> Mapping[str, Lamp]:
        """`trading` and `market_data`. `trading` is on when an order can be sent."""

    @property
    def refusal(self) -> str | None:
        """Why there will be no further attempt to log in until a person has done something."""

    async def run(self, listener: Listener, since: Callable[[], int]) -> None:
        """Connect, log in, hand on facts; after a loss again, with growing pauses. Until cancelled. `since` tells the
        last number of the private flow that is safe."""

    def turn_in(self) -> float:
        """Seconds until the counter's rate lets the next order go out; 0 is now."""

    def rates(self) -> Sequence[ContractRates]:
        """Margin and fees as the counter has told them this trading day; empty where ours are its own."""

    def insert(self, wish: InsertOrder) -> None:
        """Hand the order to the counter, once. Raises NotConnected."""

    def cancel(self, wish: CancelOrder) -> None:
        """Raises NotConnected."""

    def subscribe(self, symbols: Sequence[str]) -> None:
        """These contracts' ticks, also after a reconnect."""

    def start(self) -> None:
        """Everybody who listens is there (simulated exchange: let the clock run). Raises NotConnected."""

    def cut_line(self, seconds: float) -> None:
        """Disconnect on demand (simulated exchange only). Raises NotConnected."""

    async def query(self, subject: Subject) -> Answer:
        """Answered in order with the facts. Raises NotConnected."""

    async def history(self, symbol: str, start: datetime, end: datetime) -> Answer:
        """One-minute bars, none where the counter has none. Raises NotConnected."""
