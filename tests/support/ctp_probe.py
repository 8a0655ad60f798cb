"""The real binding behind the connector: a front that hangs up, and a closed port. Writes what was heard."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from arbig.domain.counter import InsertOrder
from arbig.domain.messages import Direction, Exchange, Offset, OrderType
from arbig.gateway.ctp.api import Apis, real_apis
from arbig.gateway.ctp.connector import CtpConnector
from arbig.gateway.ctp.settings import CtpSettings
from arbig.gateway.port import NotConnected
from arbig.runtime.calendar import load_calendar
from arbig.runtime.clock import WallClock
from arbig.runtime.credentials import Secret
from arbig.runtime.instruments import load_instruments
from arbig.runtime.settings import SettingsError, load_settings

ROOT = Path(__file__).parents[2]


class Deaf:
    """Nothing is to be heard."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        raise AssertionError(name)


def connector(apis: Apis, port: int, flow: Path) -> CtpConnector:
    settings = load_settings(root=ROOT)
    address = f"tcp://127.0.0.1:{port}"
    account = CtpSettings("9999", "nobody", address, address, "app", "", True, Secret("password"), Secret("code"))
    return CtpConnector(
        account, apis, WallClock(), load_calendar(settings), load_instruments(settings), ["au2512"], "main", flow
    )


async def until_gone(one: CtpConnector) -> None:
    while not one.counts["disconnects"]:  # noqa: ASYNC110 - the connector has no event for a front that never stood
        await asyncio.sleep(0.05)


async def probe(flow: Path) -> str:
    apis = real_apis()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    listener.setblocking(False)
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    answered = connector(apis, listener.getsockname()[1], flow / "answered")
    unanswered = connector(apis, closed.getsockname()[1], flow / "unanswered")
    deaf: Any = Deaf()
    running = [asyncio.ensure_future(one.run(deaf, lambda: 0)) for one in (answered, unanswered)]
    for _ in range(2):
        line, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(listener), 30)
        line.close()
    async with asyncio.timeout(30):
        await until_gone(answered)
    refused = "no order"
    with suppress(NotConnected):
        answered.insert(InsertOrder(
            order_ref=1, memo="", symbol="au2512", exchange=Exchange.SHFE, direction=Direction.LONG,
            offset=Offset.OPEN, order_type=OrderType.LIMIT, price=1.0, volume=1,
        ))  # fmt: skip
        refused = "an order went out"
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    closed_port = "nothing" if not unanswered.counts["disconnects"] else "something"
    state = f"connected: {answered.connected}; refused: {refused}"
    return f"heard: a front that hangs up 0x1001, a closed port {closed_port}; {state}"


def heard(flow: Path) -> str:
    try:
        return asyncio.run(probe(flow))
    except SettingsError as error:
        return f"missing: {error}"


if __name__ == "__main__":
    # To a file: the library prints on stdout too, from threads of its own and as late as the process's end.
    Path(sys.argv[2]).write_text(heard(Path(sys.argv[1])))
