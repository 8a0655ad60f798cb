"""Wording: what has happened, as an alert: its kind, what it is about, one line, in English or Chinese."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from arbig.domain.messages import AlarmCode, EventData, EventType
from arbig.runtime.alerting import Kind
from arbig.store.trail import Row

TITLES: dict[str, tuple[str, str]] = {
    "login": ("log-in", "登录"),
    "halt": ("trading state", "交易状态"),
    "rejects": ("rejects", "连续拒单"),
    "disconnect": ("connection", "连接"),
    "strategy": ("strategy", "策略异常"),
    "mismatch": ("mismatch", "账目不符"),
    "alarm": ("alarm", "警报"),
    "test": ("test", "测试"),
}
WORDS = {
    "lost": ("the line to the counter is lost", "与柜台的连接已断开"),
    "back": ("connected to the counter", "已连接柜台"),
    "state": ("trading is {state}", "交易状态：{state}"),
    "in": ("{who} logged in from {place}", "{who} 从 {place} 登录"),
    "refused": ("log-in refused from {place}", "来自 {place} 的登录被拒绝"),
    "again": ("{count} more times since {since}", "自 {since} 起又发生 {count} 次"),
    "many": ("{count} alerts", "{count} 条警报"),
    "more": ("and {count} more", "另有 {count} 条"),
    "test": ("a test: alerts reach {target}", "测试：警报可以送达 {target}"),
}
BY_CODE: dict[str, Kind] = {
    AlarmCode.REJECTS: "rejects",
    AlarmCode.STRATEGY: "strategy",
    AlarmCode.MISMATCH: "mismatch",
    "POSITION_MISMATCH": "mismatch",
}
"""Of an ALARM's code; any other is the kind `alarm`."""
LOG_INS = {"log in": "in", "log-in refused": "refused"}
"""What Web writes into the audit trail."""
LINES = 20
NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


@dataclass(frozen=True)
class Alert:
    """`subject`: what is the same when the same thing happens again. `event_id`: the same occurrence, said again."""

    kind: Kind
    subject: str
    text: str
    at: datetime
    event_id: str


@dataclass(frozen=True)
class Due:
    """One line of a message: so many occurrences of an alert. `again`: how many since `at` were not told of before."""

    number: int
    kind: str
    text: str
    count: int
    at: datetime
    is_repeat: bool


def word(name: str, language: str, **parts: object) -> str:
    english, chinese = WORDS[name]
    return (chinese if language == "zh" else english).format(**parts)


def title_of(kind: str, language: str) -> str:
    english, chinese = TITLES[kind]
    return chinese if language == "zh" else english


def alert_of_event(event: EventData, entry_id: str, language: str) -> Alert | None:
    """What `stream:event` says to people; None for what is only the services' business."""
    match event.event:
        case EventType.DISCONNECTED:
            kind, said = "disconnect", word("lost", language)
        case EventType.CONNECTED:
            kind, said = "disconnect", word("back", language)
        case EventType.TRADING_STATE:
            kind, said = "halt", word("state", language, state=event.state)
        case EventType.ALARM:
            kind, said = BY_CODE.get(event.code or "", "alarm"), ""
        case _:
            return None
    text = ": ".join(part for part in (said, event.message) if part)
    about = event.strategy_name if kind == "strategy" and event.strategy_name else NUMBER.sub("#", text)
    return Alert(_kind(kind), about[:200], text, event.datetime, event.event_id or entry_id)


def alert_of_row(row: Row, language: str) -> Alert | None:
    """A log-in, or a refused one, of the audit trail."""
    said = LOG_INS.get(row.action)
    if said is None:
        return None
    text = word(said, language, who=row.who, place=row.place)
    return Alert("login", text, text, datetime.fromisoformat(row.at), f"trail:{row.number}:{row.hash[:16]}")


def _kind(name: str) -> Kind:
    return name  # type: ignore[return-value]


def message_of(account: str, dues: Sequence[Due], language: str) -> tuple[str, str]:
    """Title and body: one alert speaks for itself, several are a list."""
    title = title_of(dues[0].kind, language) if len(dues) == 1 else word("many", language, count=len(dues))
    left = len(dues) - LINES
    lines = [line_of(due, language) for due in dues[:LINES]]
    lines += [word("more", language, count=left)] if left > 0 else []
    return f"[ARBIG {account}] {title}", "\n".join(lines)


def line_of(due: Due, language: str) -> str:
    """`14:03:11 mismatch: au2512 LONG ... (3 more times since 14:01:02)`."""
    head = f"{due.at:%m-%d %H:%M:%S} {title_of(due.kind, language)}: {due.text}"
    if due.is_repeat:
        return f"{head} ({word('again', language, count=due.count, since=f'{due.at:%H:%M:%S}')})"
    return f"{head} (×{due.count})" if due.count > 1 else head
