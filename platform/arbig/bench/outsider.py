"""Outsider: a subscriber like any other. Counts every tick, keeps every bar, says so on its standard output.

`python -m arbig.bench.outsider FILE`: bars go to FILE as they came, one line each.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop

from arbig.bus.redis import RedisBus
from arbig.bus.topics import BAR, TICK
from arbig.runtime.child import die_with_parent
from arbig.runtime.settings import load_settings

TELL_SECONDS = 0.05
PREFIX = TICK.of("")


async def main(path: Path) -> None:
    bus = await RedisBus.connect(load_settings().redis_for("reader"))
    ticks = bars = 0
    due = 0.0
    loop = asyncio.get_running_loop()
    with path.open("wb", buffering=0) as file:
        async for batch in bus.listen(TICK.name, BAR.name):
            found = [payload for channel, payload in batch if not channel.startswith(PREFIX)]
            ticks += len(batch) - len(found)
            bars += len(found)
            file.write(b"".join(payload + b"\n" for payload in found))
            if loop.time() >= due or found:
                due = loop.time() + TELL_SECONDS
                print(ticks, bars, flush=True)


if __name__ == "__main__":
    die_with_parent()
    uvloop.run(main(Path(sys.argv[1])))
