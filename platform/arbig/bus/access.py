"""Access: what each Redis user may do, made from the topics.

Every user but the administrator gets a list of commands, nothing by category: no scripting, no administration. A
service writes the streams of which it is a writer or a required reader (acknowledging is writing) and looks at all.
Readers (console, notebooks, the command line) write nothing and publish nothing. Watchers read and beat.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from arbig.bus.topics import CHANNELS, EPOCH, HEARTBEAT, SERVICES, STREAMS

READERS = ("console", "reader")
WATCHERS = ("alerts",)
ADMIN = "admin"
USERS = (*SERVICES, *READERS, *WATCHERS, ADMIN)

_EVERYONE = (
    "auth hello ping select time client|setname client|id info config|get "
    "subscribe psubscribe unsubscribe punsubscribe xinfo xlen xrange xrevrange xread xpending"
)
_SERVICE = f"{_EVERYONE} publish xadd xreadgroup xack xgroup|create xgroup|setid get setnx"
_READER = (
    f"{_EVERYONE} type exists ttl dbsize keys scan pubsub|channels pubsub|numsub pubsub|numpat client|list client|info "
    "memory|usage acl|whoami command command|count lastsave"
)


def acl_file(passwords: Mapping[str, str]) -> str:
    """The server's ACL file: one line per user, passwords as their SHA-256."""
    lines = ["user default off resetchannels -@all", *(_line(user, passwords[user]) for user in USERS)]
    return "\n".join(lines) + "\n"


def _line(user: str, password: str) -> str:
    digest = hashlib.sha256(password.encode()).hexdigest()
    return f"user {user} on #{digest} resetchannels {rights(user)}"


def rights(user: str) -> str:
    """Commands, keys and channels of one user, in the words of ACL SETUSER."""
    if user == ADMIN:
        return "+@all -@scripting ~* &*"
    commands, keys = (_READER, ("%R~*",)) if user in READERS else (_SERVICE, _keys(user))
    if user in WATCHERS:
        commands, keys = f"{_READER} publish get setnx", ("%R~*", f"%RW~{EPOCH}")
    channels = (f"&{topic.name}" for topic in CHANNELS if user not in WATCHERS or topic is HEARTBEAT)
    return " ".join(("-@all", *(f"+{command}" for command in commands.split()), *keys, *channels))


def _keys(service: str) -> tuple[str, ...]:
    """XADD, XACK and XGROUP need the write half of a key, looking needs the read half."""
    written = (f"%W~{topic.name}" for topic in STREAMS if service in topic.writers + topic.readers)
    return ("%R~stream:*", *written, f"%RW~{EPOCH}")
