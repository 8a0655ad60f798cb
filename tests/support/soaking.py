"""The soak: five strategies on four contracts trade without pause while faults are drawn from a seed; then a calm, in
which memory and file handles must stay where they are. The books are checked on the way and at the end."""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import sqlite3
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from books import disagreements, exchange_truth
from rig import ON_REDIS, Rig

from arbig.bus.port import BusError
from arbig.bus.topics import MAX_ENTRIES, STREAMS
from arbig.runtime.http import CallError
from arbig.runtime.settings import SettingsError

SWARM = Path(__file__).with_name("strategies") / "swarm.py"
SYMBOLS = ("au2512", "ag2512", "cu2512", "rb2601")
STRATEGIES = 5
SPEED = 30
PACE = 60
CALM_SHARE = 0.4
"""Of the whole time; kills before it, so that every process has a long life to be measured."""
LONGEST = 1.5
WARM_UP_SECONDS = 45.0
SAMPLE_SECONDS = 5.0
RSS_SHARE, RSS_FLOOR = 0.05, 3.0
"""Flat: over the calm the fitted line rises by less than this share of the process, or so many megabytes."""
ORDER_KILOBYTES = 12.0
"""What a process may keep of an order of the day: a Trading just born with 2,181 of them measured 10 kB for each."""
HANDLES = 3 + len(SYMBOLS)
"""A day's turn opens each contract's next bar file; Market keeps a bounded number of them open."""
AWAY = (CallError, BusError, SettingsError, OSError, EOFError, sqlite3.Error, KeyError, psutil.Error)


@dataclass(frozen=True)
class Sample:
    at: float
    process: str
    pid: int
    rss: float
    handles: int
    threads: int


@dataclass
class Soak:
    rig: Rig
    seed: int
    minutes: float
    faults_wanted: int
    orders_wanted: int
    began: float = 0.0
    faults: list[dict[str, Any]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    orders_by_minute: list[int] = field(default_factory=list)
    streams: list[dict[str, int]] = field(default_factory=list)
    recoveries: list[float] = field(default_factory=list)
    restarted: Counter[str] = field(default_factory=Counter)
    halts: list[str] = field(default_factory=list)
    check_points: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        self.began = time.monotonic()
        self._draw = random.Random(self.seed)
        watch = threading.Thread(target=self._watch, daemon=True)
        watch.start()
        try:
            self._until(lambda: exchange_truth(self.rig).trades_made > 5, 90, "the first trades")
            self._storm()
            self.calm_began = self._now()
            while self._goes_on():
                self.restarted.update(self.rig.revive())
                time.sleep(1.0)
            self.calm_ended = self._now()
            self._check("the end", stop=True)
        finally:
            self._over.set()
            watch.join()

    def _goes_on(self) -> bool:
        """On a busy machine the orders take longer than the minutes."""
        over = self._now() / (self.minutes * 60)
        return over < 1.0 or (over < LONGEST and exchange_truth(self.rig).orders_asked < self.orders_wanted)

    # ---- the storm ----

    def _storm(self) -> None:
        storm = self.minutes * 60 * (1 - CALM_SHARE)
        pause = max(0.0, (storm - self._now()) / self.faults_wanted)
        start = self._now()
        for number in range(1, self.faults_wanted + 1):
            self._fault()
            if number % max(10, self.faults_wanted // 5) == 0:
                self._check(f"check-point after {number} faults")
            while self._now() < start + number * pause:
                self.restarted.update(self.rig.revive())
                time.sleep(0.2)

    def _fault(self) -> None:
        kind = self._draw.choice(sorted(FAULTS))
        victim = self._draw.choice(FAULTS[kind])
        seconds = round(self._draw.uniform(0.3, 4.0), 2)
        at = round(self._now(), 1)
        rig = self.rig
        with contextlib.suppress(CallError):
            match kind:
                case "kill":
                    rig.kill(victim)
                case "stop":
                    rig.signal(victim, signal.SIGSTOP)
                    time.sleep(seconds)
                    rig.signal(victim, signal.SIGCONT)
                case "line cut":
                    rig.ask("gateway", "POST", "/disconnect", {"seconds": seconds})
                case "cut":
                    rig.proxies[victim].cut()
                case "slow":
                    rig.proxies[victim].slow(0.1)
                    time.sleep(seconds)
                case "half-open":
                    rig.proxies[victim].freeze()
                    time.sleep(seconds)
                case "replies lost":
                    rig.proxies[victim].drop_replies(2)
                    time.sleep(0.3)
        if victim in rig.proxies:
            rig.proxies[victim].heal()
        over = time.monotonic()
        if self._draw.random() < 0.7:  # the others come while the last one's victim is still unwell
            self._until(self._is_well, 90, f"well after {kind} {victim}")
            self.recoveries.append(round(time.monotonic() - over, 2))
        self.faults.append({"at": at, "fault": kind, "victim": victim, "seconds": seconds})

    def _is_well(self) -> bool:
        rig = self.rig
        self.restarted.update(rig.revive())
        if not all(rig.stands(service) for service in rig.processes):
            return False
        state, clock = rig.asked("trading", "/state"), rig.asked("gateway", "/clock")
        if state is not None and state["wanted"] != "ACTIVE":
            self.halts.append(f"{state['wanted']}: {state['reason']}")
            rig.ask("trading", "POST", "/state", {"state": "ACTIVE", "reason": "looked at it"})
        return state is not None and state["state"] == "ACTIVE" and clock is not None and bool(clock["connected"])

    # ---- the checks ----

    def _check(self, when: str, stop: bool = False) -> None:
        """The strategies hold still, so that books can be compared at all."""
        self._until(self._is_well, 90, f"well at {when}")
        self._tell_strategies("stop" if stop else "pause")
        wrong: list[str] = []

        def agree() -> bool:
            self.restarted.update(self.rig.revive())
            wrong[:] = disagreements(self.rig)
            return not wrong

        self._until(agree, 60, lambda: f"the books agree at {when}: {wrong}")
        if stop:
            self._until(lambda: not self.rig.ask("trading", "GET", "/orders")["orders"], 30, "nothing works")
            self._until(agree, 30, lambda: f"the books agree at {when}: {wrong}")
        else:
            self._tell_strategies("resume")
        self.check_points += 1

    def _tell_strategies(self, word: str) -> None:
        wanted = {"stop": "STOPPED", "pause": "PAUSED", "resume": "RUNNING"}[word]

        def told() -> bool:
            rows = self.rig.ask("strategy", "GET", "/strategies")["strategies"]
            for row in rows:
                if row["state"] != wanted:
                    self.rig.ask("strategy", "POST", f"/strategies/{row['strategy_name']}/{word}", seconds=15)
            return all(row["state"] == wanted for row in rows)

        self._until(told, 60, f"every strategy {wanted}")

    def _until(self, question: Callable[[], Any], seconds: float, what: str | Callable[[], str]) -> None:
        deadline = time.monotonic() + seconds
        while True:
            wrong = ""
            try:
                if question():
                    return
            except AWAY as error:
                wrong = f" ({type(error).__name__}: {error})"
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:g} s: {what if isinstance(what, str) else what()}{wrong}")
            time.sleep(0.1)

    # ---- the watch ----

    def _now(self) -> float:
        return time.monotonic() - self.began

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_SECONDS):
            for name, process in list(self.rig.processes.items()):
                with contextlib.suppress(psutil.Error):
                    self._sample(name, psutil.Process(process.pid))
            with contextlib.suppress(psutil.Error):
                strategy = psutil.Process(self.rig.processes["strategy"].pid)
                for number, child in enumerate(sorted(strategy.children(), key=lambda child: child.pid)):
                    self._sample(f"worker {number}", child)
            if self._now() >= 60 * (len(self.orders_by_minute) + 1):
                with contextlib.suppress(*AWAY):
                    self._minute()

    def _sample(self, name: str, process: psutil.Process) -> None:
        with process.oneshot():
            at, rss = round(self._now(), 1), round(process.memory_info().rss / 2**20, 2)
            self.samples.append(Sample(at, name, process.pid, rss, process.num_fds(), process.num_threads()))

    def _minute(self) -> None:
        truth = exchange_truth(self.rig)
        self.orders_by_minute.append(truth.orders_asked)
        lengths = {topic.name: int(self.rig.redis("XLEN", topic.name)) for topic in STREAMS}
        self.streams.append(lengths)
        newest = {sample.process: sample.rss for sample in self.samples[-14:]}
        sizes = " ".join(f"{name} {newest[name]:.0f}" for name in ("gateway", "trading", "strategy") if name in newest)
        print(
            f"minute {len(self.orders_by_minute)}: {truth.orders_asked} orders, {truth.trades_made} trades, "
            f"{len(self.faults)} faults, {self.check_points} check-points, MB {sizes}, "
            f"longest stream {max(lengths.values())}, session {truth.session_time:%m-%d %H:%M}",
            flush=True,
        )

    # ---- the verdict ----

    def growth(self) -> list[dict[str, Any]]:
        """Per process, its last life in the calm: the fitted line's rise, and the most handles and threads beyond the
        first."""
        found = []
        first = self.calm_began + WARM_UP_SECONDS
        calm = [sample for sample in self.samples if first <= sample.at <= self.calm_ended]
        for name in sorted({sample.process for sample in calm}):
            own = [sample for sample in calm if sample.process == name]
            own = [sample for sample in own if sample.pid == own[-1].pid]
            if len(own) < 5:
                continue
            slope = statistics.linear_regression([s.at for s in own], [s.rss for s in own]).slope
            found.append(
                {
                    "process": name,
                    "seconds": round(own[-1].at - own[0].at),
                    "rss": own[-1].rss,
                    "rise": round(slope * (own[-1].at - own[0].at), 2),
                    "megabytes_an_hour": round(slope * 3600, 1),
                    "handles": [own[0].handles, own[-1].handles],
                    "threads": [own[0].threads, own[-1].threads],
                }
            )
        return found

    def leaks(self) -> list[str]:
        """What is not flat."""
        orders = self._orders_in_the_calm()
        wrong = []
        for row in self.growth():
            allowed = max(RSS_FLOOR, row["rss"] * RSS_SHARE) + orders * ORDER_KILOBYTES / 1024
            if row["rise"] > allowed:
                wrong.append(f"{row['process']}: {row['rise']} MB more in {row['seconds']} s, allowed {allowed:.1f}")
            if row["handles"][1] - row["handles"][0] > HANDLES:
                wrong.append(f"{row['process']}: file handles {row['handles']}")
        return wrong

    def _orders_in_the_calm(self) -> int:
        first = int(self.calm_began // 60)
        counted = self.orders_by_minute[first:]
        return counted[-1] - counted[0] if len(counted) > 1 else 0

    def unbounded(self) -> list[str]:
        """Streams beyond what the janitor leaves between two sweeps."""
        lengths = {topic.name: int(self.rig.redis("XLEN", topic.name)) for topic in STREAMS}
        return [f"{name}: {length} entries" for name, length in lengths.items() if length > MAX_ENTRIES * 1.3]

    def report(self) -> dict[str, Any]:
        curves: dict[str, list[list[float]]] = {}
        for sample in self.samples:
            row = [sample.at, sample.pid, sample.rss, sample.handles, sample.threads]
            curves.setdefault(sample.process, []).append(row)
        return {
            "seed": self.seed,
            "minutes": round(self._now() / 60, 1),
            "orders": exchange_truth(self.rig).orders_asked,
            "trades": exchange_truth(self.rig).trades_made,
            "orders_by_minute": self.orders_by_minute,
            "check_points": self.check_points,
            "faults": self.faults,
            "restarts": dict(self.restarted),
            "seconds_to_well": {
                "count": len(self.recoveries),
                "p50": statistics.median(self.recoveries) if self.recoveries else None,
                "max": max(self.recoveries, default=None),
            },
            "halts": self.halts,
            "growth": self.growth(),
            "streams": self.streams,
            "curves": {"columns": ["seconds", "pid", "rss MB", "handles", "threads"], **curves},
        }


FAULTS: dict[str, tuple[str, ...]] = {
    "kill": ("gateway", "market", "trading", "strategy", "web", "redis", "exchange"),
    "stop": ("gateway", "market", "trading", "strategy", "web", "redis", "exchange"),
    "line cut": ("exchange",),
    "cut": ON_REDIS,
    "slow": ON_REDIS,
    "half-open": ON_REDIS,
    "replies lost": ON_REDIS,
}


def swarm_rig(home: Path, port_offset: int) -> Rig:
    """Five strategies of four contracts each."""
    rig = Rig(home, port_offset)
    shutil.copy(SWARM, home / "strategies")
    for number in range(STRATEGIES):
        rig.edit(
            f"strategies/swarm_{number}.yaml",
            strategy_name=f"Swarm-{number}",
            class_name="SwarmStrategy",
            symbols=list(SYMBOLS),
            params={"pace": PACE + 7 * number, "shift": number},
        )
    rig.edit("arbig.yaml", symbols=list(SYMBOLS))
    rig.edit("simulation.yaml", speed=SPEED)
    return rig
