"""Delivery: what both buses do with one stream entry, and when they give it up as a dead letter."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from arbig.bus.port import BusError, Entry, Handler
from arbig.domain.faults import StartAnew
from arbig.domain.messages import DeadLetter, MessageError, encode

TRIES = 3


async def deliver(entry: Entry, handler: Handler, pauses: Sequence[float]) -> str | None:
    """Hand an entry to its handler, up to three times in place so that the stream's order holds.

    Returns None when the effect is durable, else the reason why the entry is dead. BusError and
    StartAnew say nothing against the entry and are passed on."""
    reason = ""
    for attempt in range(TRIES):
        try:
            await handler(Entry(entry.stream, entry.id, entry.payload, entry.deliveries + attempt))
            return None
        except (BusError, StartAnew):
            raise
        except MessageError as error:
            return str(error)
        except Exception as error:
            reason = f"failed {attempt + 1} times, last with {type(error).__name__}: {error}"
        if attempt < TRIES - 1:
            await asyncio.sleep(pauses[attempt])
    return reason


def dead_letter(entry: Entry, group: str, reason: str, at: datetime) -> bytes:
    """The entry whole, with the reason, as `stream:dead` carries it."""
    payload = entry.payload.decode("utf-8", "backslashreplace")
    return encode(
        DeadLetter(stream=entry.stream, entry_id=entry.id, group=group, reason=reason, payload=payload, datetime=at)
    )
