"""Strategies: what is deployed, its parameters, variables, orders, log and code; start, pause, stop, edit, flatten,
remove; and the way in for another one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import panel as pn
import param
from theme import asset
from views.parts import Scripted
from views.tables import signed
from views.visit import Changes, Visit
from views.words import side_word

from arbig.client.answers import Strategy
from arbig.client.client import ClientError
from arbig.runtime.clock import WallClock

LOOK_SECONDS = 2.0
LOG_LINES = 60
LAMPS = {"running": "ok", "paused": "wait", "starting": "wait", "error": "ill", "failed": "ill"}
KINDS = {bool: "flag", int: "integer", float: "number", str: "text"}
RISKS = ("stop_loss_pct", "take_profit_pct", "max_position")
STEPS = ("start", "pause", "resume", "stop")
TEXTS = {
    "deploy": ("Deploy a strategy", "部署策略"),
    "deploy_do": ("Deploy", "部署"),
    "deploy_sure": ("Press again to deploy", "再按一次确认部署"),
    "class": ("Class", "策略类"),
    "instance": ("Name", "实例名"),
    "parameters": ("Parameters", "参数"),
    "variables": ("Variables", "变量"),
    "orders": ("Orders", "委托"),
    "log": ("Log", "日志"),
    "code": ("Code", "代码"),
    "risk": ("Risk block", "风控"),
    "mode": ("Mode", "模式"),
    "paper": ("paper", "模拟"),
    "live": ("live", "实盘"),
    "confirm": ("Confirm", "确认"),
    "confirm_note": ("Real money: type the name", "实盘：请输入实例名确认"),
    "replace": ("Replace", "替换"),
    "replace_note": ("the version of this name that runs", "替换正在运行的同名版本"),
    "stop_loss_pct": ("Stop loss %", "止损 %"),
    "take_profit_pct": ("Take profit %", "止盈 %"),
    "max_position": ("Most lots", "最大持仓"),
    "save": ("Save", "保存"),
    "edit_note": ("A new run with the position it has", "以现有持仓开始新的运行"),
    "pause": ("Pause", "暂停"),
    "resume": ("Resume", "恢复"),
    "remove": ("Remove", "移除"),
    "flatten": ("Flatten", "平仓"),
    "run": ("Run", "运行号"),
    "choose": ("Choose a strategy above", "请在上方选择策略"),
    "no_parameters": ("It has no parameters", "无参数"),
    "no_run": ("It has not run yet", "尚未运行"),
    "hash": ("code", "代码哈希"),
    "params_hash": ("parameters", "参数哈希"),
    "began": ("since", "开始于"),
    "done_start": ("{name}: started", "{name}：已启动"),
    "done_pause": ("{name}: paused", "{name}：已暂停"),
    "done_resume": ("{name}: goes on", "{name}：已恢复"),
    "done_stop": ("{name}: stopped", "{name}：已停止"),
    "done_edit": ("{name}: a new run with these parameters", "{name}：已按新参数重新运行"),
    "done_remove": ("{name}: removed, its file is laid aside", "{name}：已移除，配置文件已归档"),
    "done_flatten": ("{name}: being made flat", "{name}：正在平仓"),
    "done_deploy": ("{name}: deployed", "{name}：已部署"),
    "stop_order": ("stop", "止损单"),
}  # fmt: skip


SHARED = (
    "strategies", "strategy", "symbol", "state", "position", "average", "pnl", "start", "stop", "sure", "none", "error",
    "viewer_only",
)  # fmt: skip


class Desk(Scripted):
    """The page as one component: a list, the chosen one's tabs, the form for another."""

    items = param.List()
    chosen = param.String()
    tab = param.String(default="parameters")
    detail = param.Dict(default={})
    classes = param.List()
    symbol = param.String()
    words = param.Dict(default={})
    role = param.String()

    _stylesheets = [asset("strategies.css")]
    _bundle = Path(__file__).with_name("strategies.js")

    def __init__(self, on_message: Any, **given: Any) -> None:
        super().__init__(sizing_mode="stretch_both", **given)
        self._on_message = on_message

    def _handle_msg(self, msg: dict[str, Any]) -> None:
        self._on_message(msg)


class StrategiesPage:
    name = "strategies"

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._word = visit.words(TEXTS)
        self._changes = Changes()
        self._clock = WallClock()
        self._looked = -LOOK_SECONDS
        self._log: list[list[str]] = []
        self._runs: dict[tuple[str, str], dict[str, Any]] = {}
        names = (*TEXTS, *SHARED)
        board = visit.board
        self._desk = Desk(
            self._heard,
            words={name: self._word(name) for name in names},
            role=visit.role,
            symbol=next(iter(board.symbols), ""),
        )
        self._desk.param.watch(lambda _: self._look_anew(), ["chosen", "tab"])
        self.panel = pn.Column(self._desk, sizing_mode="stretch_both", margin=0)
        board.spawn(self._learn_classes())

    def _known(self) -> list[Strategy]:
        strategies = self._visit.board.strategies
        return strategies.strategies if strategies else []

    def _chosen(self) -> Strategy | None:
        return next((one for one in self._known() if one.strategy_name == self._desk.chosen), None)

    def refresh(self) -> None:
        board, known = self._visit.board, self._known()
        if not self._desk.chosen and known:
            self._desk.chosen = known[0].strategy_name
        parts = ("strategies", "positions", "orders", "order_status")
        if self._changes.changed("items", *(board.revisions[part] for part in parts)):
            items = [self._item(one) for one in known]
            if items != self._desk.items:
                self._desk.items = items
            self._show_detail()
        if self._clock.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = self._clock.monotonic()
            board.spawn(self._look())

    # ---- what is shown

    def _item(self, one: Strategy) -> dict[str, Any]:
        board, state = self._visit.board, one.state.lower()
        books = board.positions.strategies if board.positions else ()
        held = [lots for lots in books if lots.strategy_name == one.strategy_name]
        gain = board.pnl_by_strategy().get(one.strategy_name)
        position, side = held_words(one.pos)
        averages = [f"{lots.price:,.{board.decimals.get(lots.symbol, 2)}f}" for lots in held if lots.volume]
        pnl, kind = signed(gain) if gain is not None else ("", "")
        return {
            "name": one.strategy_name,
            "symbol": one.symbol.replace(".", " ").split(" ")[0],
            "state": state,
            "state_word": self._word(state),
            "lamp": LAMPS.get(state, ""),
            "position": position,
            "side": side,
            "lots": sum(abs(lots.volume) for lots in held),
            "average": " ".join(averages),
            "pnl": pnl,
            "pnl_kind": kind,
            "run": (one.run_id or "").partition(".")[0],
        }

    def _show_detail(self) -> None:
        one = self._chosen()
        shown = {} if one is None else self._detail(one)
        if shown != self._desk.detail:
            self._desk.detail = shown

    def _detail(self, one: Strategy) -> dict[str, Any]:
        """Only what the open tab shows: what is not looked at is not sent."""
        tab = self._desk.tab
        run = self._runs.get((one.strategy_name, one.run_id or ""), {})
        facts = {
            "run": one.run_id,
            "hash": run.get("code_hash") or one.code_hash,
            "params_hash": run.get("params_hash"),
            "began": str(run.get("began") or "")[:19].replace("T", " "),
        }
        variables = [[name, written(value)] for name, value in one.variables.items()]
        return {
            "name": one.strategy_name,
            "run_id": one.run_id or "",
            "parameters": self._parameters(one),
            "risk": {name: one.risk.get(name) for name in RISKS},
            "variables": variables if tab == "variables" else [],
            "orders": self._orders(one) if tab == "orders" else [],
            "log": self._log if tab == "log" else [],
            "source": str(run.get("source") or "") if tab == "code" else "",
            "facts": [[self._word(name), value] for name, value in facts.items() if value] if tab == "code" else [],
            "error": one.error or "",
            "traceback": one.traceback or "",
        }

    def _parameters(self, one: Strategy) -> list[list[Any]]:
        """Name, kind, value, limit; the kind as the class declares it, else as the value is."""
        classes = {each["class_name"]: each for each in self._desk.classes}
        declared = {each["name"]: each for each in classes.get(one.class_name, {}).get("parameters", ())}
        return [
            [
                name,
                declared.get(name, {}).get("kind") or KINDS.get(type(value), "other"),
                value if isinstance(value, str | int | float | bool) else written(value),
                declared.get(name, {}).get("limit", ""),
            ]
            for name, value in one.parameters.items()
        ]

    def _orders(self, one: Strategy) -> list[list[str]]:
        board, word = self._visit.board, self._word
        working = [order for order in board.working() if order.strategy_name == one.strategy_name]
        price = lambda value, symbol: f"{value:,.{board.decimals.get(symbol, 2)}f}"
        rows = [
            [
                f"{order.datetime:%H:%M:%S}",
                f"{order.symbol} {side_word(order.direction, order.offset, word)} {order.traded}/{order.volume} @ "
                f"{price(order.price, order.symbol)}",
            ]
            for order in working
        ]
        return rows + [[word("stop_order"), _stop_words(stop)] for stop in one.stop_orders]

    # ---- what is asked

    def _look_anew(self) -> None:
        self._looked = -LOOK_SECONDS
        self._log = []
        self._show_detail()

    async def _learn_classes(self) -> None:
        try:
            self._desk.classes = await self._visit.board.client.strategy_classes()
        except ClientError as error:
            self._visit.say(str(error), True)

    async def _look(self) -> None:
        """The log and the code of the chosen one, while somebody looks at them."""
        board, name, one = self._visit.board, self._desk.chosen, self._chosen()
        if one is None:
            return
        key = (name, one.run_id or "")
        try:
            if self._desk.tab == "log":
                records = await board.client.logs(service="strategy", grep=name, limit=LOG_LINES)
                self._log = [[str(each["ts"])[11:19], str(each["level"]), str(each["event"])] for each in records[::-1]]
            elif self._desk.tab == "code" and one.run_id and key not in self._runs:
                self._runs = {key: await board.client.run(*key)}
        except ClientError as error:
            self._log = [["", "error", str(error)]]
        self._show_detail()

    # ---- what a person presses

    def _heard(self, msg: Mapping[str, Any]) -> None:
        client, action, name = self._visit.board.client, str(msg.get("action")), str(msg.get("name", ""))
        if action == "deploy":
            wish = wish_of(msg)
            made = wish.get("strategy_name") or wish.get("class_name")
            self._visit.do(lambda: self._deploy(wish), self._word("done_deploy").format(name=made))
            return
        deeds = {
            **{step: lambda step=step: client.control_strategy(name, step) for step in STEPS},
            "edit": lambda: client.edit_strategy(name, {"params": msg.get("params", {}), "risk": msg.get("risk", {})}),
            "remove": lambda: client.remove_strategy(name),
            "flatten": lambda: client.flatten(strategy_name=name, reason="console"),
        }
        if action in deeds:
            self._visit.do(deeds[action], self._word(f"done_{action}").format(name=name))

    async def _deploy(self, wish: Mapping[str, Any]) -> None:
        self._desk.chosen = str((await self._visit.board.client.deploy(wish))["strategy_name"])


def wish_of(msg: Mapping[str, Any]) -> dict[str, Any]:
    """What the form says, as `Deployment` wants it: one contract, or several with commas between."""
    symbols = [word.strip() for word in str(msg.get("symbol", "")).split(",") if word.strip()]
    wish = {
        "class_name": msg.get("class_name"),
        "strategy_name": msg.get("strategy_name") or None,
        "symbol": symbols[0] if len(symbols) == 1 else None,
        "symbols": symbols if len(symbols) > 1 else None,
        "params": msg.get("params") or {},
        "risk": msg.get("risk") or {},
        "mode": msg.get("mode") or "paper",
        "confirm": msg.get("confirm") or "",
        "replace": bool(msg.get("replace")),
    }
    return {key: value for key, value in wish.items() if value is not None}


def held_words(pos: int | Mapping[str, int]) -> tuple[str, str]:
    """Net lots with their sign, and the colour of their side."""
    if isinstance(pos, Mapping):
        return " ".join(f"{symbol} {lots:+d}" for symbol, lots in pos.items() if lots) or "0", ""
    return (f"{pos:+d}", "up" if pos > 0 else "down") if pos else ("0", "")


def written(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.6g}"
    return str(value)


def _stop_words(stop: Mapping[str, Any]) -> str:
    keys = ("vt_symbol", "symbol", "direction", "offset", "volume", "price", "status")
    return " ".join(str(stop[key]) for key in keys if stop.get(key) not in (None, ""))
