"""Theme: the colours the plots need, and the texts of `assets/`, where the page, its styles and its parts are written.

Dense and quiet: white tiles, thin lines, gold for the brand, colour only where money or danger is.
"""

from __future__ import annotations

from pathlib import Path

UP_RED, DOWN_GREEN = "#d03a3a", "#12885b"
QUIET, LINE, PAPER, GRID, BLUE = "#707a88", "#dfe3e8", "#ffffff", "#eef0f3", "#2a5bd7"
PLOT_FONT = "DejaVu Sans Mono, monospace"

_ASSETS = Path(__file__).parent / "assets"


def asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
