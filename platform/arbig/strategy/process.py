"""Process: a strategy in a process of its own, watched. A callback that does not return in time ends the process."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import cast

from arbig.runtime.loader import Misconfigured, StrategyFault
from arbig.strategy.frames import (
    Call,
    Done,
    Fault,
    Fetch,
    Frame,
    History,
    Load,
    Progress,
    Ready,
    Splitter,
    framed,
    unpack_up,
)
from arbig.strategy.port import (
    CALL_SECONDS,
    INIT_SECONDS,
    LOAD_SECONDS,
    Died,
    Historian,
    Hung,
    Raised,
)

LOOK_SECONDS = 0.1  # between two looks at a process that may only be starved
STARVED_SECONDS = 2.0
BUSY_SHARE = 0.25
RUNNABLE = ("R", "D")  # running or waiting for the processor; waiting for the disk


class ProcessRunner(asyncio.Protocol):
    """One child process and the conversation with it."""

    def __init__(self, historian: Historian) -> None:
        self._historian = historian
        self._splitter = Splitter()
        self._transport: asyncio.Transport | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._answer: asyncio.Future[Done] | None = None
        self._deadline = 0.0
        self._limit = CALL_SECONDS
        self._busy_seconds = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._gone = False

    # ---- Runner

    async def load(self, load: Load) -> Done:
        """Start the process and make the strategy in it."""
        ready = self._expect(LOAD_SECONDS)
        await self._start()
        await ready
        return await self._say(load, LOAD_SECONDS)

    async def call(self, call: Call) -> Done:
        self._busy_seconds = INIT_SECONDS - CALL_SECONDS if call.kind == "init" else 0.0
        return await self._say(call, CALL_SECONDS)

    async def close(self) -> None:
        self._end(Died("its process was ended"))
        if self._process is not None:
            await self._process.wait()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    # ---- the conversation

    async def _start(self) -> None:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "arbig.strategy.worker",
                str(theirs.fileno()),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
            )
        await loop.create_unix_connection(lambda: self, sock=ours)

    def _expect(self, seconds: float) -> asyncio.Future[Done]:
        loop = asyncio.get_running_loop()
        self._answer = answer = loop.create_future()
        self._limit = seconds
        self._deadline = loop.time() + seconds
        if self._watch is not None and self._watch.when() > self._deadline:
            self._watch.cancel()
            self._watch = None
        if self._watch is None:
            self._watch = loop.call_later(seconds, self._on_watch)
        return answer

    async def _say(self, frame: Frame, seconds: float) -> Done:
        if self._gone or self._transport is None:
            raise Died("its process is gone")
        answer = self._expect(seconds)
        self._transport.write(framed(frame))
        return await answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by behaviour, not by descent

    def data_received(self, data: bytes) -> None:
        for body in self._splitter.feed(data):
            self._on_frame(unpack_up(body))

    def connection_lost(self, error: Exception | None) -> None:
        self._end(Died("its process died"))

    def _on_frame(self, frame: object) -> None:
        if isinstance(frame, Done):
            self._resolve(frame)
        elif isinstance(frame, Ready):
            self._resolve(Done())
        elif isinstance(frame, Progress):
            self._deadline = asyncio.get_running_loop().time() + self._limit
        elif isinstance(frame, Fetch):
            self._fetching = asyncio.get_running_loop().create_task(self._fetch(frame))
        elif isinstance(frame, Fault):
            fault = Raised if frame.traceback else Misconfigured
            self._refuse(fault(frame.reason, frame.traceback))

    async def _fetch(self, wish: Fetch) -> None:
        """Our own slowness is not the strategy's: the watch stands still meanwhile."""
        self._deadline = float("inf")
        try:
            payloads = await self._historian(wish)
        except Exception as error:
            self._end(Raised(f"no history for {wish.vt_symbol}: {error}", str(error)))
            return
        self._deadline = asyncio.get_running_loop().time() + self._limit
        if self._transport is not None and not self._gone:
            self._transport.write(framed(History(payloads)))

    def _resolve(self, done: Done) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(done)

    def _refuse(self, fault: StrategyFault) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(fault)

    # ---- the watch

    def _on_watch(self) -> None:
        """One timer for all calls: it looks again when the newest deadline has come."""
        loop = asyncio.get_running_loop()
        self._watch = None
        if self._gone or self._answer is None or self._answer.done():
            return
        if loop.time() < self._deadline:
            pause = min(self._deadline - loop.time(), self._limit)
            self._watch = loop.call_later(pause, self._on_watch)
            return
        self._fetching = loop.create_task(self._judge(self._answer, self._deadline))

    async def _judge(self, answer: asyncio.Future[Done], deadline: float) -> None:
        """Late. Sleeping or looping: end it. Runnable without getting the processor: give it time."""
        loop = asyncio.get_running_loop()
        before = _looked_at(self.pid)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if answer.done() or self._deadline != deadline:
                break
            now = _looked_at(self.pid)
            busy = (now[1] - before[1]) / LOOK_SECONDS > BUSY_SHARE and loop.time() > deadline + self._busy_seconds
            if now[0] not in RUNNABLE or busy or loop.time() > deadline + self._busy_seconds + STARVED_SECONDS:
                self._end(Hung(f"did not return within {self._limit:g} s{_what(now[0])}"))
                return
            before = now
        if self._watch is None and not self._gone:
            self._watch = loop.call_later(self._limit, self._on_watch)

    def _end(self, fault: StrategyFault) -> None:
        self._refuse(fault)
        if self._gone:
            return
        self._gone = True
        if self._watch is not None:
            self._watch.cancel()
        if self._transport is not None:
            self._transport.close()
        if self._process is not None and self._process.returncode is None:
            try:
                self._process.kill()
            except ProcessLookupError:
                pass


def _looked_at(pid: int | None) -> tuple[str, float]:
    """The process's state letter and the processor seconds it has used; a system without /proc tells neither."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "", 0.0
    return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _what(state: str) -> str:
    return {"S": ": it sleeps or waits", "R": ": it never comes back"}.get(state, "")
