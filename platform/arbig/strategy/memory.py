"""Memory: the twin of `process.py`: a strategy in this process, for flows on the memory bus with a virtual clock.

Same calls, same answers; only that nobody can watch over it.
"""

from __future__ import annotations

import asyncio

from arbig.runtime.loader import Misconfigured
from arbig.strategy.frames import Call, Done, Fetch, Load
from arbig.strategy.port import Historian, Raised
from arbig.strategy.stage import Stage
from arbig.strategy.worker import own_traceback


class MemoryRunner:
    def __init__(self, historian: Historian) -> None:
        self._historian = historian
        self._stage: Stage | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def load(self, load: Load) -> Done:
        self._loop = asyncio.get_running_loop()
        try:
            self._stage = Stage(load, self._fetch, lambda: None)
            return self._stage.loaded()
        except Misconfigured:
            raise
        except Exception as error:
            raise Raised(f"{type(error).__name__}: {error}", own_traceback()) from None

    async def call(self, call: Call) -> Done:
        assert self._stage is not None
        try:
            if call.kind == "init":  # waits for history, which this loop must fetch meanwhile
                return await asyncio.to_thread(self._stage.handle, call)
            return self._stage.handle(call)
        except Exception as error:
            raise Raised(f"{type(error).__name__}: {error}", own_traceback()) from None

    async def close(self) -> None:
        self._stage = None

    def _fetch(self, wish: Fetch) -> tuple[bytes, ...]:
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(self._wished(wish), self._loop).result(timeout=60)

    async def _wished(self, wish: Fetch) -> tuple[bytes, ...]:
        return await self._historian(wish)
