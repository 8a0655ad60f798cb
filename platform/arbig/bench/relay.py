"""Relay: the bare way from tick to order over the same Redis. Publish, XADD, XADD; one process a hop, acknowledged in
batches, nothing else: no checks, no database, no strategy.

`python -m arbig.bench.relay quote|order` is one hop; the first one, which also hears the end, is the bench itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Awaitable, Callable

import uvloop

from arbig.bus.line import Command, Line, RedisAddress
from arbig.runtime.child import die_with_parent
from arbig.runtime.settings import Settings, load_settings
from arbig.runtime.supervisor import environment_of

CHANNEL, ORDER, COMMAND = "bench:tick", "bench:order", "bench:cmd"
GROUP = "bench"
ACKNOWLEDGE_EVERY = 10


async def forward(address: RedisAddress) -> None:
    """Hop two: every tick that asks for an order makes one."""
    line, out = await Line.open(address, "bench:quote"), await Line.open(address, "bench:quote:out")
    line.write([("SUBSCRIBE", CHANNEL)])
    while True:
        for item in await line.received():
            if item[0] == b"message" and item[2][:1] == b"!":
                await out.call([("XADD", ORDER, "*", "data", item[2])])


async def command(address: RedisAddress) -> None:
    """Hop three: every order makes a command."""
    out = await Line.open(address, "bench:order:out")

    async def pass_on(payload: bytes) -> None:
        await out.call([("XADD", COMMAND, "*", "data", payload)])

    await consume(address, ORDER, pass_on)


async def consume(address: RedisAddress, stream: str, handle: Callable[[bytes], Awaitable[None]]) -> None:
    line = await Line.open(address, f"bench:{stream}")
    await line.call([("XGROUP", "CREATE", stream, GROUP, "0", "MKSTREAM")])
    reading: Command = ("XREADGROUP", "GROUP", GROUP, "1", "COUNT", "100", "BLOCK", "2000", "STREAMS", stream, ">")
    done: list[bytes] = []
    while True:
        acknowledging: list[Command] = [("XACK", stream, GROUP, *done)] if len(done) >= ACKNOWLEDGE_EVERY else []
        replies = await line.call([*acknowledging, reading], 5.0)
        if acknowledging:
            done = []
        for _, entries in replies[-1] or ():
            for entry_id, fields in entries:
                await handle(fields[1])
                done.append(entry_id)


def start(settings: Settings) -> list[subprocess.Popen[bytes]]:
    environment = {**os.environ, **environment_of(settings)}
    words = [sys.executable, "-m", "arbig.bench.relay"]
    return [subprocess.Popen([*words, hop], env=environment) for hop in HOPS]


HOPS = {"quote": forward, "order": command}


if __name__ == "__main__":
    die_with_parent()
    uvloop.run(HOPS[sys.argv[1]](load_settings().redis_for("admin")))
