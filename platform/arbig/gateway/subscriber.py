"""CommandSubscriber: `stream:cmd` to journal and sender. Journal first, then sent once; a repeat is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from arbig.bus.port import Entry
from arbig.bus.topics import ORDER_STATUS
from arbig.domain.counter import CancelOrder
from arbig.domain.messages import SHANGHAI, CommandData, CommandType, MessageError, decode, encode
from arbig.domain.orders import OrderState
from arbig.gateway.port import Connector, NotConnected
from arbig.gateway.publisher import EventPublisher
from arbig.gateway.sender import Sender
from arbig.runtime.clock import Clock
from arbig.runtime.crash import crash_point
from arbig.store.journal import CancelTarget, Journal

log = structlog.get_logger()
LIFETIME = timedelta(seconds=3)
"""How long a command without `expires_at` is good, from its entry into the stream."""
FIRST_REDIS_TIME = 10**12


class CommandSubscriber:
    """`now` is the session time that answers carry."""

    def __init__(
        self,
        journal: Journal,
        connector: Connector,
        publisher: EventPublisher,
        sender: Sender,
        now: Callable[[], datetime],
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._clock = clock
        self._read_at = clock.now()
        self._connector = connector
        self._publisher = publisher
        self._sender = sender
        self._now = now
        self._handlers: dict[CommandType, Callable[[CommandData, Entry], Awaitable[None]]] = {
            CommandType.SEND_ORDER: self._on_send,
            CommandType.CANCEL_ORDER: self._on_cancel,
        }
        self.commands = 0

    async def on_entry(self, entry: Entry) -> None:
        """Returns when the command's effect is durable. Raises MessageError for what is no command."""
        command = decode(CommandData, entry.payload)
        if command.account_id not in (None, self._journal.account_id):
            raise MessageError(
                f"a command for account {command.account_id}, this Gateway serves {self._journal.account_id}"
            )
        crash_point("gw.after_read")
        self.commands += 1
        self._read_at = self._clock.now()
        await self._handlers[command.cmd_type](command, entry)
        crash_point("gw.before_ack")

    async def _on_send(self, command: CommandData, entry: Entry) -> None:
        expires_at = command.expires_at or _default_expiry(entry)
        waits = not self._sender.is_free
        refused = self._sender.refusal(OrderState.from_command(command), expires_at)
        if refused is not None:
            admission = self._journal.refuse(command, refused.detail, refused.reason, self._now())
        else:
            admission = self._journal.admit(command, waits)
        if admission.is_new:
            self._publisher.hops.admitted(admission.row.order_id, self._read_at, command.cause)
        crash_point("gw.after_commit")
        if not admission.is_new and admission.stored is not None:
            await self._publisher.say_again(ORDER_STATUS.name, encode(admission.stored))
        elif admission.is_to_be_sent:
            self._sender.take(admission.row, expires_at, waits)
        self._publisher.wake()

    async def _on_cancel(self, command: CommandData, entry: Entry) -> None:
        target = self._journal.cancel(command)
        if target is not None:
            self.cancel(target)
        self._publisher.wake()

    def cancel(self, target: CancelTarget) -> None:
        """A cancel that cannot go out now is asked again after the reconnect."""
        try:
            self._connector.cancel(CancelOrder(order_ref=target.order_ref, order_sys_id=target.order_sys_id))
        except NotConnected as error:
            log.warning(f"cancel waits: {error}", order_ref=target.order_ref)


def _default_expiry(entry: Entry) -> datetime | None:
    """Redis ids begin with the wall's milliseconds; those of the bus in memory only count."""
    milliseconds = int(entry.id.partition("-")[0])
    if milliseconds < FIRST_REDIS_TIME:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, SHANGHAI) + LIFETIME
