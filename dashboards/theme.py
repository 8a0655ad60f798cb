"""Theme: the colours the plots need, and the texts of `assets/`, where the page and its styles are written.

Dense and quiet: flat tiles, thin lines, gold for the brand, colour only where money or danger is.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

PLOT_FONT = "DejaVu Sans Mono, monospace"

_ASSETS = Path(__file__).parent / "assets"


@dataclass(frozen=True, slots=True)
class Palette:
    """What a plot is painted with; the page's own colours are the variables of `assets/page.html`."""

    paper: str
    ink: str
    quiet: str
    line: str
    grid: str
    blue: str
    up: str
    down: str

    @property
    def lines(self) -> tuple[str, ...]:
        """For lines side by side; none of them looks like a rise or a fall."""
        return (self.blue, "#e0941a", "#8f5bd6", "#14a3b8", "#c2458f", "#7d8a3a")


def palette(dark: bool, west: bool) -> Palette:
    """Red is up in China; `west` turns it round."""
    red, green = ("#f0616d", "#2fbf8f") if dark else ("#d03a3a", "#12885b")
    up, down = (green, red) if west else (red, green)
    if dark:
        return Palette("#151a21", "#dfe5ec", "#8a95a3", "#29313b", "#1e252e", "#5b8def", up, down)
    return Palette("#ffffff", "#1c2430", "#707a88", "#dfe3e8", "#eef0f3", "#2a5bd7", up, down)


@cache
def asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
