"""Parts: the small components of the page. Python sends them values; the browser changes the cells that differ.

Texts enter the page as text, never as HTML: an order's error message or a strategy's name cannot become markup.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import panel as pn
import param
from panel.custom import JSComponent
from panel.viewable import Viewable
from theme import asset

TILE = asset("tile_head.css")


class Scripted(JSComponent):
    """A component whose code is a file of its own, `_bundle`, beside its module. The browser reads it once and
    keeps it under its content's name."""

    __abstract = True

    @classmethod
    def _render_esm(cls, compiled: Any = True, server: bool = False) -> str:
        code = str(super()._render_esm(compiled, server=server))
        return f"{code}?v={_name_of(cls._bundle_path)}" if server else code


@cache
def _name_of(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()[:16]


class Part(Scripted):
    """One of those in parts.js."""

    __abstract = True
    _bundle = Path(__file__).with_name("parts.js")


class Grid(Part):
    """A titled table. A cell is a text, or [text, class], or [text, class, action]: then it is a button; a list of
    such is several. A button of class `twice` must be pressed twice; one whose action has a form asks first.
    [text, class, "", link] leads to another page."""

    title = param.String()
    note = param.String()
    empty = param.String()
    sure = param.String()
    back = param.String()
    source = param.String(doc="whose age is shown: tick, a service, or what is watched")
    columns = param.List(doc="[title, class] each; class w wraps")
    rows = param.List(doc="[key, cell, cell, ...] each")
    tools = param.List(doc="buttons beside the title, [text, class, action] each; their key is empty")
    forms = param.Dict(default={}, doc="of an action: {ask, do, kind, typed, type, fields}, see parts.js")

    _stylesheets = [TILE, asset("dialog.css"), asset("grid.css")]

    def __init__(
        self,
        on_action: Callable[[str, str], None],
        on_form: Callable[[str, str, dict[str, str]], None] | None = None,
        **given: Any,
    ) -> None:
        super().__init__(sizing_mode="stretch_both", **given)
        self._on_action = on_action
        self._on_form = on_form

    def show(self, rows: list[list[Any]], count: int | None = None) -> None:
        """`count` where not all rows are shown."""
        self.param.update(rows=rows, note=str(len(rows) if count is None else count) if rows else "")

    def _handle_msg(self, msg: dict[str, Any]) -> None:
        values = msg.get("values")
        if values is None or self._on_form is None:
            self._on_action(str(msg["action"]), str(msg["key"]))
        else:
            self._on_form(str(msg["action"]), str(msg["key"]), {name: str(value) for name, value in values.items()})


class Facts(Part):
    """A titled list of figures. Class `big` makes one large; `ok ill wait off` are lamps."""

    title = param.String()
    source = param.String()
    items = param.List(doc="[label, value, class] each")

    _stylesheets = [TILE, asset("facts.css")]

    def __init__(self, **given: Any) -> None:
        super().__init__(sizing_mode="stretch_both", **given)


class Curve(Part):
    """A line of amounts over times, above or below a base."""

    title = param.String()
    source = param.String()
    empty = param.String()
    times = param.List(doc="texts")
    values = param.List()
    base = param.Number(default=0.0)

    _stylesheets = [TILE, asset("curve.css")]

    def __init__(self, **given: Any) -> None:
        super().__init__(sizing_mode="stretch_both", **given)


class Filter(Part):
    """Which log lines: of a service, from a level on, with a word."""

    services = param.List(doc="[value, text] each")
    levels = param.List(doc="[value, text] each")
    hint = param.String()
    service = param.String()
    level = param.String(default="info")
    grep = param.String()

    _stylesheets = [asset("filter.css")]

    def __init__(self, **given: Any) -> None:
        super().__init__(sizing_mode="stretch_width", **given)


class Ticket(Part):
    """A person's order: written in the browser, looked at by `on_preview` whenever it changes, sent by `on_send`."""

    words = param.Dict(default={})
    role = param.String()
    source = param.String(default="tick")
    symbols = param.List()
    symbol = param.String()
    quote = param.Dict(default={}, doc="symbol bid_price bid_volume ask_price ask_volume tick decimals")
    wish = param.Dict(default={}, doc="symbol direction offset price volume: written into the ticket from outside")
    preview = param.Dict(default={}, doc="{lines: [label, value, class]} or {refusal: [code, sentence]}")

    _stylesheets = [TILE, asset("ticket.css")]

    def __init__(self, on_preview: Callable[[Any], None], on_send: Callable[[Any], None], **given: Any) -> None:
        super().__init__(sizing_mode="stretch_both", **given)
        self._deeds = {"preview": on_preview, "send": on_send}

    def _handle_msg(self, msg: dict[str, Any]) -> None:
        self._deeds[msg["action"]](msg["wish"])


class Head(Part):
    """What stands above every page: brand, navigation, lamp with the age of the data, halt, language and colours, the
    figures, the alarms. When the console itself falls silent the browser greys the page by its own watch.

    It also tells the tiles how old their data is: `ages` in seconds, of each service, counted on by the browser."""

    pages = param.List(doc="[name, title] each")
    page = param.String()
    words = param.Dict(default={})
    role = param.String()
    language = param.String(default="en")
    dark = param.Boolean(default=False)
    west = param.Boolean(default=False)
    lamp = param.List(default=["off", "", 0.0], doc="[class, text, age in seconds]")
    ages = param.Dict(default={})
    beat = param.Integer(default=0)
    items = param.List(doc="[label, value, class] each")
    state = param.String(default="?", doc="of trading")
    alarms = param.List(doc="sentences")
    notice = param.List(default=["", False], doc="[text, whether it is an error]")
    leave = param.String(doc="link")

    _stylesheets = [asset("head.css"), asset("dialog.css")]

    def __init__(self, on_action: Callable[[str, str], None], **given: Any) -> None:
        super().__init__(sizing_mode="stretch_width", **given)
        self._on_action = on_action

    def _handle_msg(self, msg: dict[str, Any]) -> None:
        self._on_action(str(msg["action"]), str(msg.get("reason", "")))

    def say(self, text: str, is_error: bool) -> None:
        self.notice = [text, is_error]


class Choice(Part):
    """A few words side by side, one of them chosen."""

    value = param.String()
    options = param.List(doc="[value, text] each")

    _stylesheets = [asset("choice.css")]


class Quote(Part):
    """The last price, large, and the numbers beside it."""

    price = param.String()
    kind = param.String()
    items = param.List(doc="[label, value, class] each")

    _stylesheets = [asset("quote.css")]

    def __init__(self, **given: Any) -> None:
        super().__init__(sizing_mode="stretch_width", **given)


class Book(Part):
    """The order book's best levels, with what else a tick says."""

    title = param.String()
    levels = param.List(doc="[label, price, lots, share of the most, class] each, from the highest ask down")
    facts = param.List(doc="[label, value, class] each")

    _stylesheets = [TILE, asset("grid.css"), asset("book.css")]

    def __init__(self, **given: Any) -> None:
        super().__init__(sizing_mode="stretch_width", **given)


class TapeView(Part):
    """Ticks as they come. Python sends the new ones; the browser puts them on top and forgets the oldest."""

    title = param.String()
    columns = param.List(doc="[title, class] each")
    rows = param.List(doc="what there was when it was made, newest first")

    _stylesheets = [TILE, asset("grid.css")]

    def __init__(self, **given: Any) -> None:
        super().__init__(sizing_mode="stretch_both", **given)

    def add(self, rows: list[list[Any]]) -> None:
        """Oldest first."""
        self._send_msg({"rows": rows})


def tiles(areas: str, **parts: Viewable) -> pn.Column:
    """Parts on a CSS grid, each in the area of its name; `areas` is the grid-template of a wide window. On a phone they
    stand one below the other, a plot (css class `plot`) most of the window high, a table as high as its rows."""
    for name, part in parts.items():
        part.styles = {**part.styles, "grid-area": name}
    css = asset("tiles.css").replace("AREAS", areas)
    return pn.Column(*parts.values(), sizing_mode="stretch_both", margin=0, stylesheets=[css])


def tile(*parts: Viewable, plot: bool = False) -> pn.Column:
    """Parts one below the other in one frame; the last one fills it."""
    classes = ["plot"] if plot else []
    css = asset("tile.css")
    return pn.Column(*parts, sizing_mode="stretch_both", margin=0, css_classes=classes, stylesheets=[css])
