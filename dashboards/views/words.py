"""Words: every text of the console, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Language = Literal["en", "zh"]

WORDS: Mapping[str, tuple[str, str]] = {
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
    "error": ("error", "出错"),
    "colours_cn": ("Red up", "红涨"),
    "colours_west": ("Green up", "绿涨"),
}


def word(key: str, language: Language) -> str:
    """The text of a key; what has no entry (a service's own word) is shown as it is."""
    pair = WORDS.get(key)
    return key if pair is None else pair[language == "zh"]
