"""Sheet: a page of words, tables and figures; one Panel object in a notebook or a dashboard, one HTML file on its own.

The file needs no network: scripts, styles and data are inside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from bokeh.core.templates import get_env
from bokeh.embed import file_html
from bokeh.resources import INLINE
from jinja2 import Template
from markupsafe import Markup

from arbig.lab.charts import asset
from arbig.runtime.research import Archive, Kind
from arbig.runtime.settings import load_settings


@dataclass(frozen=True, eq=False)
class Part:
    """One tile: `html` above, a Bokeh model below it. A model belongs to one page: parts are made for each."""

    name: str
    html: str = ""
    model: Any = None


Rows = Sequence[Sequence[Part]]

FETCHED = re.compile(r"""^<script src="[^"]*"></script>\n""", re.MULTILINE)
"""Once Panel is imported, Bokeh asks in every page for files of Panel's server; no tile of ours is a model of Panel."""


class SheetError(ValueError):
    """A sheet that cannot be made or written: one line."""


@dataclass(frozen=True)
class Kept:
    """How a sheet stands in the archive of research: the folder of data (of the copy at hand when None), its short
    name, and the figures by which it is listed."""

    kind: Kind
    name: str
    figures: Callable[[], Mapping[str, Any]]
    data: Path | None = None

    @property
    def archive(self) -> Archive:
        return Archive.of(self.data or load_settings().data)


@dataclass(frozen=True, eq=False, repr=False)
class Sheet:
    """`make`: its tiles, row by row, made anew for every page. `brief`: what stays where scripts are not kept."""

    title: str
    make: Callable[[], Rows]
    brief: Callable[[], str]
    kept: Kept | None = field(default=None, kw_only=True)

    def save(self, path: Path | str | None = None) -> Path:
        """Writes one HTML file and gives its path; without one it goes to the archive, `data/research/`, where the
        console's page Research lists it. Raises SheetError when it cannot be written."""
        if path is None:
            return self._archived()
        target = Path(path)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(self.html(), encoding="utf-8")
        except OSError as error:
            raise SheetError(f"tearsheet: cannot write {target}: {error.strerror}; choose another path") from error
        return target

    def _archived(self) -> Path:
        if self.kept is None:
            raise SheetError("save: found no path, and this sheet has no place in the archive; write a path")
        archive = self.kept.archive
        try:
            return archive.keep(self.kept.kind, self.kept.name, self.title, self.kept.figures(), self.html())
        except OSError as error:
            raise SheetError(f"save: cannot write {archive.folder}: {error.strerror}; choose a path") from error

    def html(self) -> str:
        rows = [[_marked(part) for part in row] for row in self.make()]
        named = {part.name: part.model for row in rows for part in row if part.model is not None}
        for name, model in named.items():
            model.name = name
        words = {"rows": rows, "css": Markup(asset("sheet.css"))}
        page: str = file_html(
            list(named.values()),
            INLINE,
            title=self.title,
            template=_template(),
            template_variables=words,
            suppress_callback_warning=True,
        )
        return FETCHED.sub("", page)

    def __panel__(self) -> Any:
        """The same tiles as a Panel column."""
        import panel

        rows = [panel.Row(*map(_pane, row), sizing_mode="stretch_width") for row in self.make()]
        return panel.Column(*rows, sizing_mode="stretch_width", max_width=1240)

    def _repr_html_(self) -> str:
        return f'<style>{asset("sheet.css")}</style><div class="sheet">{self.brief()}</div>'

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.title!r}): .save('sheet.html') writes it, panel.panel(it) shows it"


def _template() -> Template:
    page: Template = get_env().from_string(asset("sheet.html"))
    return page


def _marked(part: Part) -> Part:
    return Part(part.name, Markup(part.html), part.model)


def _pane(part: Part) -> Any:
    import panel

    across = {"sizing_mode": "stretch_width"}
    html = f'<div class="sheet">{part.html}</div>'
    words = [panel.pane.HTML(html, stylesheets=[asset("sheet.css")], **across)] if part.html else []
    figures = [panel.pane.Bokeh(part.model, **across)] if part.model is not None else []
    return panel.Column(*words, *figures, **across)


# ---- words --------------------------------------------------------------------------------------------------------


def heading(english: str, chinese: str) -> str:
    return f"<h2>{escape(english)} <small>{escape(chinese)}</small></h2>"


def table(rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """Rows of (label, cells...), each already HTML."""
    head = f"<caption>{caption}</caption>" if caption else ""
    body = "".join(f"<tr><th>{label}</th>{''.join(cells)}</tr>" for label, *cells in rows)
    return f"<table>{head}{body}</table>"


def cell(text: str, kind: str = "") -> str:
    return f'<td class="{kind}">{escape(text)}</td>' if kind else f"<td>{escape(text)}</td>"


def both(english: str, chinese: str) -> str:
    """A label in two languages."""
    return f"{escape(english)} <small>{escape(chinese)}</small>"
