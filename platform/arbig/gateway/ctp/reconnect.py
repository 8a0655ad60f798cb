"""Reconnect: which refusals of a log-in may be tried again, and when. The library reconnects its socket by itself."""

from __future__ import annotations

from collections.abc import Sequence

from arbig.domain.counter import error_message

PAUSES = (5.0, 10.0, 30.0, 60.0)
FATAL = frozenset({3, 63, 64, 75, 131, 140, 141, 143, 144})
"""Wrong password or code, locked, banned: each further attempt makes it worse."""
TRANSIENT = frozenset({7, 8, 35, 60})
"""Not initialised yet, front not active, too many sessions: it passes."""
UNKNOWN_TRIES = 2
"""An error that is in neither table may still be about the credentials: a second time is the last."""

REASONS = {
    0x1001: "reading from the network failed; at connect often another API version than the counter's",
    0x1002: "writing to the network failed",
    0x2001: "no heartbeat came",
    0x2002: "sending the heartbeat failed",
    0x2003: "a broken packet came; often too many subscriptions",
}
WORDS = {
    7: "CTP:还没有初始化 (the counter is not initialised yet)",
    35: "CTP:还没有登录 (not ready for a log-in)",
    60: "CTP:会话数超出限制 (too many sessions)",
    42: "CTP:结算结果未确认 (the settlement is not confirmed)",
    63: "CTP:客户端认证失败 (AppID or AuthCode are refused)",
    64: "CTP:客户端未认证 (not authenticated)",
    75: "CTP:连续登录失败次数超限，登录被禁止 (too many failed log-ins, forbidden)",
    131: "CTP:密码弱 (the password must be changed)",
    140: "CTP:首次登录必须修改密码 (the first log-in must change the password)",
    141: "CTP:密码过期 (the password has expired)",
    143: "CTP:IP受限 (this address is banned)",
    144: "CTP:IP受限 (this address is banned)",
}


class Refused(Exception):
    """A step of the log-in was refused. The line names the step, the number and the words, never a secret."""

    def __init__(self, step: str, error_id: int, words: str) -> None:
        super().__init__(f"{step}: {error_id}, {words or WORDS.get(error_id) or error_message(error_id)}")
        self.step = step
        self.error_id = error_id


class NoAnswer(Exception):
    """The counter did not answer a step in time, or the line did not take it."""


class Attempts:
    """Counts the failures in a row; says after each whether and when to try again."""

    def __init__(self, pauses: Sequence[float] = PAUSES) -> None:
        self._pauses = tuple(pauses)
        self._failures = 0
        self._unknown = 0

    def succeeded(self) -> None:
        self._failures = self._unknown = 0

    def pause_after(self, error: Refused | NoAnswer) -> float | None:
        """Seconds until the next attempt; None when there must be none."""
        if isinstance(error, Refused):
            if error.error_id in FATAL:
                return None
            if error.error_id not in TRANSIENT:
                self._unknown += 1
                if self._unknown >= UNKNOWN_TRIES:
                    return None
        pause = self._pauses[min(self._failures, len(self._pauses) - 1)]
        self._failures += 1
        return pause


def reason_of(number: int) -> str:
    """Why the front is gone, in words."""
    return f"front disconnected ({number:#06x}: {REASONS.get(number, 'reason unknown')})"
