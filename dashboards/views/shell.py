"""Shell: what all pages share, one per browser tab: navigation, lamp, figures, alarms, halt and resume."""

from __future__ import annotations

from typing import Any

import panel as pn
from theme import asset
from views import tables
from views.board import Board
from views.pages.chart import ChartPage
from views.pages.notebooks import Notebooks
from views.pages.overview import Overview
from views.pages.research import ResearchPage
from views.pages.services import Services
from views.pages.strategies import StrategiesPage
from views.pages.trade import Trade
from views.parts import Head
from views.visit import Changes, Page, Taste, Visit
from views.words import Language

LOOK_MILLISECONDS = 250
PAGES: tuple[type[Page], ...] = (Overview, ChartPage, Trade, StrategiesPage, Services, ResearchPage, Notebooks)
HEAD_WORDS = (
    "halt", "halt_ask", "halt_do", "resume", "resume_ask", "resume_do", "reason", "cancel_it", "log_out", "age",
    "viewer", "more", "colours_cn", "colours_west", "dark", "light",
)  # fmt: skip


class Shell:
    """The open page, and those that were opened before. The first stands after `open` only."""

    def __init__(self, board: Board, taste: Taste, role: str, page: str) -> None:
        self._board = board
        self._role = role
        self._pages: dict[str, Page] = {}
        self._changes = Changes()
        self.head = Head(self._act, page=page, language=taste.language, dark=taste.dark, west=taste.west)
        self.main = pn.Column(
            sizing_mode="stretch_both", margin=0, css_classes=["pages"], stylesheets=[asset("pages.css")]
        )
        self._dress(taste)
        self.head.param.watch(lambda _: self.open(), "page")
        self.head.param.watch(lambda _: self._dress_anew(), ["language", "dark", "west"])

    def template(self) -> pn.Template:
        template = pn.Template(asset("page.html"))
        template.add_variable("classes", self._visit.taste.classes)
        template.add_panel("head", self.head)
        template.add_panel("main", self.main)
        return template

    def _worn(self) -> Taste:
        language: Language = "zh" if self.head.language == "zh" else "en"
        return Taste(language, self.head.dark, self.head.west)

    def _dress_anew(self) -> None:
        self._dress(self._worn())
        self._pages.clear()
        self.main.clear()
        self.open()

    def _dress(self, taste: Taste) -> None:
        """In which language and colours everything is made from now on."""
        self._visit = Visit(self._board, taste, self._role, self.head.say, self._go)
        word = self._visit.words()
        self._changes = Changes()
        self.head.param.update(
            pages=[[kind.name, word(kind.name)] for kind in PAGES],
            words={name: word(name) for name in HEAD_WORDS},
            role=self._role,
            leave=f"http://{{host}}:{self._board.settings.port('web')}/logout",
        )

    def _go(self, name: str) -> None:
        self.head.page = name

    def open(self) -> None:
        kind = next((kind for kind in PAGES if kind.name == self.head.page), PAGES[0])
        if kind.name not in self._pages:
            self._pages[kind.name] = kind(self._visit)
        for name, page in self._pages.items():
            page.panel.visible = name == kind.name
            page.panel.css_classes = [] if page.panel.visible else ["away"]  # tiles.css says how tiles are laid out
        self.refresh()
        if self._pages[kind.name].panel not in self.main.objects:
            self.main.append(self._pages[kind.name].panel)

    def refresh(self) -> None:
        self._refresh_head()
        page = self._pages.get(self.head.page) or self._pages[PAGES[0].name]
        page.refresh()

    def _refresh_head(self) -> None:
        board, word = self._board, self._visit.words()
        given: dict[str, Any] = {
            "lamp": tables.lamp_of(board, word),
            "ages": board.ages() | self._visit.watch.ages(),
            "beat": self.head.beat + 1,
        }
        revisions = board.revisions
        if self._changes.changed("head", *(revisions[part] for part in ("heartbeat", "account", "status", "trouble"))):
            status = board.status
            given |= {
                "items": tables.head_items(board, word),
                "alarms": [board.trouble] if board.trouble else list(status.alarms if status else ()),
                "state": (status.trading_state if status else None) or "?",
            }
        self.head.param.update(given)

    # ---- what a person presses

    def _act(self, action: str, reason: str) -> None:
        client = self._board.client
        deeds = {
            "halt": lambda: client.halt(reason),
            "resume": lambda: client.set_trading_state("ACTIVE", reason),
        }
        if action in deeds:
            self._visit.do(deeds[action])
