"""Research: saved tearsheets, sweeps and comparisons by their figures; one opened in a frame, or two side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import panel as pn
import param
from theme import asset
from views.parts import Scripted
from views.visit import Visit
from views.words import Words

from arbig.client.client import ClientError
from arbig.runtime.clock import WallClock

LOOK_SECONDS = 5.0
TEXTS = {
    "saved": ("Saved", "保存时间"),
    "kind": ("Kind", "类型"),
    "title": ("What", "名称"),
    "contracts": ("Contracts", "合约"),
    "days": ("Days", "区间"),
    "sharpe": ("Sharpe", "夏普"),
    "total_return": ("Return", "收益率"),
    "max_drawdown_share": ("Drawdown", "最大回撤"),
    "round_trips": ("Trips", "笔数"),
    "win_rate": ("Win rate", "胜率"),
    "trials": ("Trials", "试验次数"),
    "deflated_sharpe": ("Skill", "真实概率"),
    "compare": ("Compare two", "对比两份"),
    "compare_note": ("Then choose two rows", "然后选择两行"),
    "find": ("Find", "查找"),
    "alone": ("alone", "单独打开"),
    "nothing": ("Nothing was saved yet.", "尚无保存的研究。"),
    "open_one": ("Choose a row to open it here.", "选择一行在此打开。"),
    "how": (
        "In a notebook: desk.backtest(...).tearsheet().save(), desk.sweep(...).save(): without a path it comes here.",
        "在笔记本中：desk.backtest(...).tearsheet().save() 或 desk.sweep(...).save()，不写路径即保存到这里。",
    ),
    "tearsheet": ("Tearsheet", "回测报告"),
    "sweep": ("Sweep", "参数扫描"),
    "heatmap": ("Heatmap", "热力图"),
    "comparison": ("Comparison", "对比"),
    "walk-forward": ("Walk-forward", "滚动检验"),
    "page": ("Page", "页面"),
}
Write = Callable[[float], str]
FIGURES: Mapping[str, tuple[Write, bool]] = {
    "sharpe": (lambda value: f"{value:,.2f}", True),
    "total_return": (lambda value: f"{value:+.2%}", True),
    "max_drawdown_share": (lambda value: f"{value:.2%}", False),
    "round_trips": (lambda value: f"{value:,.0f}", False),
    "win_rate": (lambda value: f"{value:.1%}", False),
    "trials": (lambda value: f"{value:,.0f}", False),
    "deflated_sharpe": (lambda value: f"{value:.1%}", False),
}
"""How each is written, and whether its sign is a gain or a loss."""


class Library(Scripted):
    """The page as one component; it opens and compares by itself."""

    items = param.List(doc="{id, title, kind, cells, figures} each")
    columns = param.List(doc="[name, title, class] each")
    opened = param.List(doc="ids, at most two")
    words = param.Dict(default={})
    place = param.String(doc="the address before an id")

    _stylesheets = [asset("research.css")]
    _bundle = Path(__file__).with_name("research.js")

    def __init__(self, **given: Any) -> None:
        super().__init__(sizing_mode="stretch_both", **given)


class ResearchPage:
    name = "research"

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._word = word = visit.words(TEXTS)
        self._clock = WallClock()
        self._looked = -LOOK_SECONDS
        plain = (("saved", "m"), ("kind", ""), ("title", ""), ("contracts", "m"), ("days", "m"))
        self._library = Library(
            columns=[[name, word(name), kind] for name, kind in (*plain, *((name, "n") for name in FIGURES))],
            words={
                name: word(name)
                for name in ("research", "compare", "compare_note", "find", "alone", "nothing", "open_one", "how")
            },
            place=f"http://{{host}}:{visit.board.settings.port('web')}/api/v1/research/",
        )
        self.panel = pn.Column(self._library, sizing_mode="stretch_both", margin=0)

    def refresh(self) -> None:
        if self._clock.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = self._clock.monotonic()
            self._visit.board.spawn(self._look())

    async def _look(self) -> None:
        try:
            items = [shown(item, self._word) for item in await self._visit.board.client.research()]
        except ClientError as error:
            self._visit.say(str(error), True)
            return
        if items != self._library.items:
            self._library.items = items


def shown(item: Mapping[str, Any], word: Words) -> dict[str, Any]:
    """A row of the list. A cell is a text, or [text, class, what it is sorted by]."""
    figures = item["figures"]
    saved = str(item["saved"])[:16].replace("T", " ")
    days = " .. ".join(str(figures[name]) for name in ("start", "end") if figures.get(name))
    kind = word(item["kind"])
    return {
        "id": item["id"],
        "title": item["title"],
        "kind": kind,
        "cells": [
            saved,
            kind,
            item["title"],
            figures.get("contracts") or "",
            days,
            *(_cell(figures, name) for name in FIGURES),
        ],
        "figures": [[word(name), _written(figures.get(name), name), figures.get(name)] for name in FIGURES],
    }


def _cell(figures: Mapping[str, Any], name: str) -> list[Any]:
    value = figures.get(name)
    signed = FIGURES[name][1] and isinstance(value, int | float) and value
    return [_written(value, name), ("up" if value > 0 else "down") if signed else "", value]


def _written(value: Any, name: str) -> str:
    return FIGURES[name][0](value) if isinstance(value, int | float) else "–"
