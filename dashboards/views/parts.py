"""Parts: the small components of the page. Python sends them values; the browser changes the cells that differ.

Texts enter the page as text, never as HTML: an order's error message or a strategy's name cannot become markup.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import param
from panel.custom import JSComponent
from theme import asset


class Grid(JSComponent):
    """A titled table. A cell is a text, or [text, class], or [text, class, action]: then it is a button, and one that
    must be pressed twice when its class is `twice`."""

    title = param.String()
    note = param.String()
    empty = param.String()
    sure = param.String()
    columns = param.List(doc="[title, class] each")
    rows = param.List(doc="[key, cell, cell, ...] each")

    _stylesheets = [asset("grid.css")]
    _esm = asset("grid.js")

    def __init__(self, on_action: Callable[[str, str], None], **given: Any) -> None:
        super().__init__(sizing_mode="stretch_both", **given)
        self._on_action = on_action

    def _handle_msg(self, msg: dict[str, Any]) -> None:
        self._on_action(str(msg["action"]), str(msg["key"]))


class Head(JSComponent):
    """The first line: brand, lamp with the age of the data, figures. When the console itself falls silent the browser
    greys the page by its own watch."""

    lamp = param.List(default=["off", "", 0.0], doc="[class, text, age in seconds]")
    beat = param.Integer(default=0)
    items = param.List(doc="[label, value, class] each")
    why = param.String()
    leave = param.List(default=["", ""], doc="[text, link]")

    _stylesheets = [asset("head.css")]
    _esm = asset("head.js")

    def __init__(self, **given: Any) -> None:
        super().__init__(sizing_mode="stretch_width", **given)


class Choice(JSComponent):
    """A few words side by side, one of them chosen. `page_class` is worn by the page while the last one is."""

    value = param.String()
    options = param.List(doc="[value, text] each")
    page_class = param.String()

    _stylesheets = [asset("choice.css")]
    _esm = asset("choice.js")


class Quote(JSComponent):
    """The last price, large, and the numbers beside it."""

    price = param.String()
    kind = param.String()
    items = param.List(doc="[label, value, class] each")

    _stylesheets = [asset("quote.css")]
    _esm = asset("quote.js")

    def __init__(self, **given: Any) -> None:
        super().__init__(sizing_mode="stretch_width", **given)
