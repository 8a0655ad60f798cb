"""Cockpit: the running strategies in a notebook cell, with the buttons a person needs, their parameters and last log
lines. It shows what Web says and holds nothing: two notebooks show the same, and a service that comes back fills it.
"""

from __future__ import annotations

import ast
import time
from collections.abc import Callable, Coroutine
from html import escape
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from arbig.client.answers import AccountSnapshot, Heartbeat, House, Positions, Strategies, Strategy
from arbig.client.client import ArbigClient, ClientError
from arbig.client.feed import News

if TYPE_CHECKING:
    from arbig.lab.desk import Desk

TOPICS = ("status", "account", "positions", "strategies")
LOG_SECONDS = 2.0
LOG_LINES = 4
STALE_SECONDS = 3.0
COLOURS = {
    "RUNNING": "#188038",
    "PAUSED": "#b06000",
    "STARTING": "#b06000",
    "ERROR": "#c5221f",
    "FAILED": "#c5221f",
    "STOPPED": "#5f6368",
}
OFF, ON, DARK = "#c5221f", "#188038", "#5f6368"


class Confirmed(widgets.Button):  # type: ignore[misc]
    """A button that asks once more: the first click changes its words, the second one acts."""

    def __init__(self, words: str, question: str, act: Callable[[], None], width: str) -> None:
        super().__init__(description=words, layout=widgets.Layout(width=width))
        self._words, self._question, self._act = words, question, act
        self._is_asking = False
        self.on_click(lambda _: self._clicked())

    def _clicked(self) -> None:
        if self._is_asking:
            self.calm()
            self._act()
        else:
            self._is_asking = True
            self.description, self.button_style = self._question, "danger"

    def calm(self) -> None:
        self._is_asking = False
        self.description, self.button_style = self._words, ""


class Row(widgets.VBox):  # type: ignore[misc]
    """One strategy: what it is doing, its buttons, its parameters."""

    def __init__(self, cockpit: Cockpit, name: str) -> None:
        self._cockpit = cockpit
        self._name = name
        self._said = widgets.HTML(layout=widgets.Layout(width="420px"))
        self._detail = widgets.HTML()
        small = widgets.Layout(width="84px")
        buttons: list[widgets.Widget] = []
        for action in ("start", "pause", "resume"):
            button = widgets.Button(description=action, layout=small)
            button.on_click(lambda _, action=action: cockpit.act(name, action))
            buttons.append(button)
        self.stop = Confirmed("stop", "stop it?", lambda: cockpit.act(name, "stop"), "84px")
        self.flatten = Confirmed("flatten", "close all its lots?", lambda: cockpit.flatten(name), "140px")
        self.buttons = {button.description: button for button in (*buttons, self.stop, self.flatten)}
        wide = widgets.Layout(width="690px")
        self.parameters = widgets.Text(placeholder="fast_window=12, volume=2", layout=wide)
        self.apply = Confirmed(
            "apply", "a new run with these?", lambda: cockpit.edit(name, self.parameters.value), "140px"
        )
        self._log = widgets.HTML()
        self._shown = ""
        edit = widgets.HBox([self.parameters, self.apply])
        super().__init__([widgets.HBox([self._said, *buttons, self.stop, self.flatten]), edit, self._detail, self._log])

    def show(self, one: Strategy, pnl: float | None) -> None:
        colour = COLOURS.get(one.state, DARK)
        money = "" if pnl is None else f" · {pnl:+,.0f}"
        self._said.value = (
            f"<b>{escape(one.strategy_name)}</b> {escape(one.symbol)} "
            f"<span style='color:{colour}'>● {escape(one.state)}</span> · {_lots(one.pos)}{money}"
        )
        known = _pairs(one.parameters)
        if known != self._shown:  # what a person is typing is left alone until the parameters themselves change
            self._shown = self.parameters.value = known
        self._detail.value = f"<span style='color:{OFF}'>{escape(one.error)}</span>" if one.error else ""
        alive = one.state in ("RUNNING", "PAUSED", "STARTING")
        self.buttons["start"].disabled = alive
        self.buttons["pause"].disabled = one.state != "RUNNING"
        self.buttons["resume"].disabled = one.state != "PAUSED"
        self.stop.disabled = not alive and one.state != "ERROR"
        self.flatten.disabled = not (any(one.pos.values()) if isinstance(one.pos, dict) else one.pos)
        for button in (self.stop, self.flatten):
            if button.disabled:
                button.calm()

    def log(self, lines: list[str]) -> None:
        """The last log lines that name it."""
        said = "<br>".join(escape(line) for line in lines)
        self._log.value = f"<div style='color:{DARK};font-size:85%;line-height:1.4;font-family:monospace'>{said}</div>"


class Cockpit(widgets.VBox):  # type: ignore[misc]
    """Live until `close()`. `rows`: a `Row` for each strategy."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lamp = widgets.HTML()
        self._money = widgets.HTML()
        self._message = widgets.HTML()
        self._rows = widgets.VBox([])
        self.halt = Confirmed("HALT", "halt all trading?", self._halt, "160px")
        self._pnl: dict[str, float] = {}
        self._state = ""
        self.rows: dict[str, Row] = {}
        head = widgets.HBox([self._lamp, self.halt], layout=widgets.Layout(justify_content="space-between"))
        super().__init__([head, self._money, self._rows, self._message])
        self._dark("connecting")
        self._logged_at = -LOG_SECONDS
        self._listening = desk.live.listen(TOPICS, self._hear)

    def close(self) -> None:
        self._listening.stop()
        super().close()

    def act(self, name: str, action: str) -> None:
        """What a button does; a refusal is shown below in one line."""
        self._do(f"{name}: {action}", lambda client: client.control_strategy(name, action))

    def edit(self, name: str, words: str) -> None:
        """Other parameters, typed as `fast_window=12, volume=2`."""
        try:
            params = typed(words)
        except ValueError as error:
            self._say(str(error), OFF)
            return
        self._do(f"{name}: {words}", lambda client: client.edit_strategy(name, {"params": params}))

    def flatten(self, name: str) -> None:
        self._do(f"{name}: flatten", lambda client: client.flatten(name))

    def _halt(self) -> None:
        self._do("HALTED; lift it with: arbig resume", lambda client: client.halt("cockpit"))

    def _do(self, words: str, wish: Callable[[ArbigClient], Coroutine[Any, Any, Any]]) -> None:
        try:
            self._desk.live.ask(wish)
            self._say(words, DARK)
        except ClientError as error:
            self._say(str(error), OFF)

    def _say(self, words: str, colour: str) -> None:
        self._message.value = f"<span style='color:{colour}'>{escape(words)}</span>"

    # ---- news, on a thread of their own

    def _hear(self, news: News) -> None:
        hear = HEARS.get(news.topic)
        if hear is not None:
            hear(self, news)

    def _on_heartbeat(self, news: News) -> None:
        self._read_logs()
        beat: Heartbeat = news.read(Heartbeat)
        age = beat.silence.get("gateway")
        if age is None or age > STALE_SECONDS:
            self._dark("the Gateway is silent" if age is None else f"the Gateway is silent for {age:.0f} s")
            return
        connected = beat.connected is not False
        colour, word = (ON, "connected") if connected else (OFF, "disconnected from the exchange")
        clock = f"{beat.session_time:%Y-%m-%d %H:%M:%S}" if beat.session_time else ""
        self._lamp.value = (
            f"<span style='color:{colour}'>●</span> {word} · data {age:.1f} s old · {clock} · {escape(self._state)}"
        )

    def _read_logs(self) -> None:
        """Asked with the heartbeats, every other second."""
        now = time.monotonic()
        if now - self._logged_at < LOG_SECONDS or not self.rows:
            return
        self._logged_at = now
        try:
            records = self._desk.live.ask(lambda client: client.logs(service="strategy", limit=200))
        except ClientError:
            return
        for name, row in self.rows.items():
            mine = [one for one in records if one.get("strategy_name") == name]
            row.log([f"{str(one['ts'])[11:19]} {one['level']} {one['event']}" for one in mine[-LOG_LINES:]])

    def _on_status(self, news: News) -> None:
        house: House = news.read(House)
        jobs = "".join(f" · {one}" for one in house.flattens)
        self._state = f"{house.trading_state or ''}{jobs}"

    def _on_account(self, news: News) -> None:
        account = news.read(AccountSnapshot).account
        profit = account.close_profit + account.position_profit - account.commission
        self._money.value = (
            f"balance {account.balance:,.0f} · today {profit:+,.0f} · margin {account.margin:,.0f} · "
            f"available {account.available:,.0f} {escape(account.currency)}"
        )

    def _on_positions(self, news: News) -> None:
        found: dict[str, float] = {}
        for one in news.read(Positions).strategies:
            found[one.strategy_name] = found.get(one.strategy_name, 0.0) + (
                one.pnl if one.total_pnl is None else one.total_pnl
            )
        self._pnl = found

    def _on_strategies(self, news: News) -> None:
        found = news.read(Strategies).strategies
        names = [one.strategy_name for one in found]
        self.rows = {name: self.rows.get(name) or Row(self, name) for name in names}
        for one in found:
            self.rows[one.strategy_name].show(one, self._pnl.get(one.strategy_name))
        if [self.rows[name] for name in names] != list(self._rows.children):
            self._rows.children = [self.rows[name] for name in names]

    def _on_lost(self, news: News) -> None:
        self._dark(str(news.read(str)))

    def _dark(self, reason: str) -> None:
        self._lamp.value = f"<span style='color:{OFF}'>○</span> no data: {escape(reason)}"


HEARS: dict[str, Callable[[Cockpit, News], None]] = {
    "heartbeat": Cockpit._on_heartbeat,
    "status": Cockpit._on_status,
    "account": Cockpit._on_account,
    "positions": Cockpit._on_positions,
    "strategies": Cockpit._on_strategies,
    "lost": Cockpit._on_lost,
}


def _lots(pos: int | dict[str, int]) -> str:
    if isinstance(pos, dict):
        return ", ".join(f"{lots:+d} {symbol}" for symbol, lots in pos.items() if lots) or "flat"
    return f"{'long' if pos > 0 else 'short'} {abs(pos)}" if pos else "flat"


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())


def typed(words: str) -> dict[str, Any]:
    """`fast_window=12, side='long'` as values. Raises ValueError, one line."""
    try:
        call = ast.parse(f"f({words})", mode="eval").body
        assert isinstance(call, ast.Call) and not call.args
        return {str(one.arg): ast.literal_eval(one.value) for one in call.keywords if one.arg}
    except (SyntaxError, ValueError, AssertionError):
        raise ValueError(f"found {words!r}, expected name=value with commas; write e.g. fast_window=12") from None
