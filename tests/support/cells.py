"""The crash matrix: what is done to whom while an order is where. Each cell has a number that stays."""

from __future__ import annotations

from dataclasses import dataclass

from places import POSTGRESQL

from arbig.runtime.crash import BESIDE, POINTS, STEPS

PROCESSES = ("gateway", "market", "trading", "strategy", "web", "redis", "exchange")
STATES = ("none", "submitting", "working", "partly filled", "cancel on its way", "closing")
ON_REDIS = ("gateway", "market", "trading", "strategy", "web")
NETWORK = ("cut", "slow", "half-open")
LINES = ("stop 10 s", *NETWORK)
STREAMS = ("order", "cmd", "order_status", "trade", "position")
LEAPS = {"an hour ahead": 3600.0, "an hour back": -3600.0}
DISKS = ("db", "exchange", "redis")
_ASIDE = ("tr.flatten_", "tr.intent_", "tr.roll_", "st.roll_", "al.", "paper.")
ELSEWHERE = ("recording.after_file", *(point.name for point in POINTS if point.name.startswith(_ASIDE)))
"""Points that need a day's end, a person's flatten or roll, a notebook's intent or somebody to tell: the tests of those
rooms die there."""

STAND = {
    "request": "tr.after_read",
    "risk": "tr.after_judge",
    "journal": "tr.after_commit",
    "command": "tr.after_publish",
    "reserve": "gw.after_commit",
    "send": "gw.after_send",
    "ack": "gw.before_ack",
    "status": "gw.after_journal",
    "trade": "tr.on_trade",
    "position": "gw.after_position",
}
"""Where the process that carries the order stands still while another one is killed."""


@dataclass(frozen=True)
class Cell:
    """`at` is a crash point, or the state an order is in."""

    number: int
    fault: str
    victim: str
    at: str
    step: str = ""

    @property
    def needs_postgresql(self) -> bool:
        return POSTGRESQL in self.victim

    def __str__(self) -> str:
        return f"{self.number}: {self.fault} {self.victim} at {self.at}"


def _kills_at_points() -> list[tuple[str, str, str, str]]:
    """Every process dies at every point of its own."""
    return [("kill", point.process, point.name, point.step) for point in POINTS if point.name not in ELSEWHERE]


def _kills_at_steps() -> list[tuple[str, str, str, str]]:
    """Every other process dies while the order stands at a step."""
    owners = {(point.step, point.process) for point in POINTS if point.step != BESIDE}
    return [
        ("kill", victim, STAND[step], step) for step in STEPS for victim in PROCESSES if (step, victim) not in owners
    ]


def _in_states() -> list[tuple[str, str, str, str]]:
    return [
        *(("kill", victim, state, "") for victim in PROCESSES for state in STATES),
        *(("stop 10 s", victim, STATES[(n + m * 3) % 6], "") for n, victim in enumerate(PROCESSES) for m in range(2)),
        *(("restart empty", "redis", state, "") for state in STATES),
        *(
            (fault, victim, STATES[(n * 2 + k + m * 3) % 6], "")
            for k, fault in enumerate(NETWORK)
            for n, victim in enumerate(ON_REDIS)
            for m in range(2)
        ),
        *(("replies lost", victim, STATES[1 + n], "") for n, victim in enumerate(ON_REDIS)),
        *(("line cut", "exchange", state, "") for state in STATES),
        *(
            (fault, f"stream:{stream}", STATES[1 + (n + k) % 5], "")
            for k, fault in enumerate(("repeated", "reordered"))
            for n, stream in enumerate(STREAMS)
        ),
        *(("disk full", disk, state, "") for disk in DISKS for state in ("none", "working", "closing")),
    ]


def _of_supervisors() -> list[tuple[str, str, str, str]]:
    return [("kill", "supervisor", state, "") for state in STATES]


def _supervisors_at_steps() -> list[tuple[str, str, str, str]]:
    """Everybody dies with it while the order stands at a step."""
    return [("kill", "supervisor", STAND[step], step) for step in STEPS]


def _schedulers_at_steps() -> list[tuple[str, str, str, str]]:
    """Its own part, intents that a run has begun, is played by the tests of its room."""
    return [("kill", "scheduler", STAND[step], step) for step in STEPS]


def _leaps() -> list[tuple[str, str, str, str]]:
    """The wall's clock leaps while the order is somewhere, and is put right again two seconds later."""
    return [("clock jump", leap, state, "") for leap in LEAPS for state in STATES]


def _of_the_database() -> list[tuple[str, str, str, str]]:
    """Where the books lie in PostgreSQL: the server, or the way to it, while the order stands somewhere and then goes
    on without it. The reply that is lost is a commit's; who dies beside the server has just noticed."""
    return [
        *(("kill", POSTGRESQL, STAND[step], step) for step in STEPS),
        *(("replies lost", POSTGRESQL, STAND[step], step) for step in STEPS),
        *((fault, POSTGRESQL, state, "") for fault in ("kill", "restarted") for state in STATES),
        *((fault, POSTGRESQL, STATES[(n + m * 3) % 6], "") for n, fault in enumerate(LINES) for m in range(2)),
        *(("kill", f"{POSTGRESQL}, trading", STAND[step], step) for step in STEPS),
        *(("kill", f"{POSTGRESQL}, {other}", state, "") for other in ("trading", "strategy") for state in STATES),
        *(("disk full", POSTGRESQL, state, "") for state in ("none", "working", "closing")),
    ]


CELLS = tuple(
    Cell(number, *cell)
    for number, cell in enumerate(
        [
            *_kills_at_points(),
            *_kills_at_steps(),
            *_in_states(),
            *_of_supervisors(),
            *_supervisors_at_steps(),
            *_leaps(),
            *_schedulers_at_steps(),
            *_of_the_database(),
        ],
        start=1,
    )
)
BY_NUMBER = {cell.number: cell for cell in CELLS}
