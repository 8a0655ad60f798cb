"""Words: every text of the console, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from arbig.domain.messages import Direction, Offset

Language = Literal["en", "zh"]

WORDS: Mapping[str, tuple[str, str]] = {
    "overview": ("Overview", "总览"),
    "chart": ("Chart", "行情"),
    "trade": ("Trade", "交易"),
    "research": ("Research", "研究"),
    "notebooks": ("Notebooks", "笔记本"),
    "halt": ("HALT", "急停"),
    "halt_ask": (
        "Halt trading? Every working order is cancelled and nothing is sent until somebody resumes.",
        "停止交易？撤销全部当前委托，恢复之前不再发出任何委托。",
    ),
    "halt_do": ("Halt now", "立即停止"),
    "resume": ("Resume", "恢复交易"),
    "resume_ask": (
        "Resume trading? Orders of strategies and people are sent again.",
        "恢复交易？策略和人工的委托将重新发出。",
    ),
    "resume_do": ("Resume", "恢复"),
    "reason": ("Reason", "原因"),
    "cancel_it": ("Back", "返回"),
    "viewer": ("View only", "只读"),
    "viewer_only": ("You are logged in to look only", "当前登录为只读"),
    "more": ("more", "条"),
    "colours_cn": ("Red up", "红涨"),
    "colours_west": ("Green up", "绿涨"),
    "dark": ("Dark", "深色"),
    "light": ("Light", "浅色"),
    "live": ("Live", "实时"),
    "no_web": ("No data", "无数据"),
    "disconnected": ("Exchange disconnected", "交易所断开"),
    "silent": ("Gateway silent", "网关无响应"),
    "age": ("age", "延迟"),
    "session_time": ("Exchange time", "交易所时间"),
    "trading_day": ("Trading day", "交易日"),
    "trading_state": ("Trading", "交易状态"),
    "balance": ("Equity", "权益"),
    "available": ("Available", "可用"),
    "margin": ("Margin", "保证金"),
    "close_profit": ("Closed PnL", "平仓盈亏"),
    "position_profit": ("Open PnL", "持仓盈亏"),
    "commission": ("Fees", "手续费"),
    "log_out": ("Log out", "退出"),
    "positions": ("Positions", "持仓"),
    "working_orders": ("Working orders", "当前委托"),
    "trades": ("Trades", "成交"),
    "strategies": ("Strategies", "策略"),
    "services": ("Services", "服务"),
    "symbol": ("Contract", "合约"),
    "side": ("Side", "方向"),
    "volume": ("Lots", "手数"),
    "yesterday": ("Yd", "昨仓"),
    "frozen": ("Frozen", "冻结"),
    "price": ("Price", "价格"),
    "average": ("Average", "均价"),
    "pnl": ("PnL", "盈亏"),
    "offset": ("Offset", "开平"),
    "traded": ("Done", "已成"),
    "status": ("Status", "状态"),
    "time": ("Time", "时间"),
    "strategy": ("Strategy", "策略"),
    "state": ("State", "状态"),
    "position": ("Pos", "仓位"),
    "service": ("Service", "服务"),
    "uptime": ("Uptime", "运行"),
    "lag": ("Lag", "积压"),
    "port": ("Port", "端口"),
    "cancel": ("Cancel", "撤单"),
    "restart": ("Restart", "重启"),
    "start": ("Start", "启动"),
    "stop": ("Stop", "停止"),
    "sure": ("Sure?", "确认?"),
    "none": ("none", "无"),
    "open": ("O", "开"),
    "high": ("H", "高"),
    "low": ("L", "低"),
    "close": ("C", "收"),
    "turnover": ("Vol", "量"),
    "LONG": ("Long", "多"),
    "SHORT": ("Short", "空"),
    "BUY": ("Buy", "买"),
    "SELL": ("Sell", "卖"),
    "OPEN": ("Open", "开"),
    "CLOSE": ("Close", "平"),
    "CLOSETODAY": ("Close td", "平今"),
    "CLOSEYESTERDAY": ("Close yd", "平昨"),
    "SUBMITTING": ("Submitting", "提交中"),
    "NOTTRADED": ("Working", "未成交"),
    "PARTTRADED": ("Partly", "部分成交"),
    "ACTIVE": ("Active", "正常"),
    "REDUCING": ("Reducing", "只平不开"),
    "HALTED": ("Halted", "已停止"),
    "RECONCILING": ("Reconciling", "对账中"),
    "running": ("running", "运行中"),
    "paused": ("paused", "已暂停"),
    "stopped": ("stopped", "已停止"),
    "starting": ("starting", "启动中"),
    "error": ("error", "出错"),
    "failed": ("failed", "失败"),
    "ready": ("ready", "就绪"),
    "up": ("up", "正常"),
    "down": ("down", "停止"),
}


@dataclass(frozen=True, slots=True)
class Words:
    """The texts in one language: `word("cancel")`. What has no entry (a service's own word) is shown as it is."""

    language: Language
    own: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def __call__(self, key: str) -> str:
        pair = self.own.get(key) or WORDS.get(key)
        return key if pair is None else pair[self.language == "zh"]


def side_word(direction: Direction, offset: Offset, word: Words) -> str:
    """Buy open, sell close today, ... as a trader says it."""
    deed = word("BUY" if direction is Direction.LONG else "SELL")
    return f"{deed}{' ' if word.language == 'en' else ''}{word(offset).lower()}"
