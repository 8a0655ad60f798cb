"""Worker: the process of one strategy. It runs the strategy's code and nothing else: no bus, no database, no clock.

`python -m arbig.strategy.worker FD` serves the Strategy service on the inherited socket FD and ends when that closes.
"""

from __future__ import annotations

import contextlib
import io
import signal
import socket
import sys
import time
import traceback
from collections.abc import Iterator

from arbig.runtime.child import die_with_parent
from arbig.runtime.loader import Misconfigured
from arbig.runtime.talib_light import import_talib
from arbig.strategy.frames import (
    Call,
    Done,
    Down,
    Fault,
    Fetch,
    Frame,
    History,
    Load,
    Progress,
    Ready,
    Splitter,
    WriteLog,
    framed,
    unpack_down,
)
from arbig.strategy.stage import Stage

PROGRESS_SECONDS = 0.1


class Line:
    """The socket, frame by frame, blocking."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._frames = self._read()

    def _read(self) -> Iterator[Down]:
        splitter = Splitter()
        while data := self._end.recv(1 << 18):
            for body in splitter.feed(data):
                yield unpack_down(body)

    def receive(self) -> Down | None:
        """The next frame, None when the service is gone."""
        return next(self._frames, None)

    def send(self, frame: Frame) -> None:
        self._end.sendall(framed(frame))


class Worker:
    def __init__(self, line: Line) -> None:
        self.line = line
        self.stage: Stage | None = None
        self.printed = io.StringIO()
        self._last_progress = 0.0

    def serve(self) -> None:
        self.line.send(Ready())
        while (frame := self.line.receive()) is not None:
            self.line.send(self._answer(frame))

    def _answer(self, frame: Down) -> Frame:
        self._last_progress = time.monotonic()
        try:
            with contextlib.redirect_stdout(self.printed):
                done = self._do(frame)
        except Misconfigured as error:
            return Fault(error.reason)
        except BaseException as error:
            return Fault(f"{type(error).__name__}: {error}", own_traceback())
        return self._with_prints(done)

    def _do(self, frame: Down) -> Done:
        if isinstance(frame, Load):
            self.stage = Stage(frame, self._fetch, self._progressed)
            return self.stage.loaded()
        assert self.stage is not None and isinstance(frame, Call)
        return self.stage.handle(frame)

    def _with_prints(self, done: Done) -> Done:
        """What the strategy printed becomes log lines."""
        text = self.printed.getvalue()
        if not text:
            return done
        self.printed.seek(0)
        self.printed.truncate()
        lines = tuple(WriteLog(line) for line in text.splitlines() if line.strip())
        return Done(lines + done.actions, *(getattr(done, name) for name in Done.__struct_fields__[1:]))

    def _fetch(self, wish: Fetch) -> tuple[bytes, ...]:
        self.line.send(wish)
        answer = self.line.receive()
        if not isinstance(answer, History):
            raise SystemExit("the Strategy service is gone")
        return answer.payloads

    def _progressed(self) -> None:
        now = time.monotonic()
        if now - self._last_progress >= PROGRESS_SECONDS:
            self._last_progress = now
            self.line.send(Progress())


def own_traceback() -> str:
    """The traceback from the strategy's own frames on; ours above them say nothing to its author."""
    lines = traceback.format_exc().splitlines(keepends=True)
    own = next((i for i, line in enumerate(lines) if "/arbig/" not in line and line.startswith('  File "')), 1)
    return "".join([lines[0], *lines[own:]])


def main() -> None:
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)  # the service decides when a strategy ends
    die_with_parent(signal.SIGKILL)
    import_talib()
    with socket.socket(fileno=int(sys.argv[1])) as end:
        Worker(Line(end)).serve()


if __name__ == "__main__":
    main()
