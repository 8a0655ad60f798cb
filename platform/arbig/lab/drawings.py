"""Drawings: small pictures for a notebook as SVG: lines and bars. They need no script and stay in the saved file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import ArrayLike

from arbig.backtest.series import Floats

WIDTH, HEIGHT = 760, 220
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 30, 24
COLOURS = ("#4a7bea", "#d98324", "#8b5cd6", "#1a9aa8", "#c2417f")
GREY = "#808a97"
MOST_POINTS = 1500
MARKS = 4


@dataclass(frozen=True)
class Drawing:
    """An SVG picture; the last expression of a cell shows it."""

    svg: str

    def __repr__(self) -> str:
        return f"a drawing of {len(self.svg) // 1000} kB"

    def _repr_svg_(self) -> str:
        return self.svg


def lines(columns: Mapping[str, ArrayLike], labels: Sequence[str] = (), title: str = "") -> Drawing:
    """Columns of one length as lines over a common scale; `labels` stand below, spread evenly."""
    values = {name: _thinned(np.asarray(column, np.float64)) for name, column in columns.items()}
    low, high = _scale(list(values.values()))
    drawn = [
        f'<polyline fill="none" stroke="{colour}" stroke-width="1.2" points="{_points(column, low, high)}"/>'
        for column, colour in zip(values.values(), COLOURS, strict=False)
    ]
    return Drawing(_picture(drawn, low, high, labels, title, tuple(columns)))


def bars(values: ArrayLike, labels: Sequence[str] = (), title: str = "") -> Drawing:
    """Values from zero upwards as bars, side by side."""
    column = np.asarray(values, np.float64)
    high = float(np.nanmax(column)) or 1.0
    step = (WIDTH - LEFT - RIGHT) / len(column)
    drawn = [
        f'<rect x="{LEFT + row * step:.1f}" y="{_height(value, 0.0, high):.1f}" width="{max(step - 1, 0.6):.1f}" '
        f'height="{HEIGHT - BOTTOM - _height(value, 0.0, high):.1f}" fill="{COLOURS[0]}"/>'
        for row, value in enumerate(column.tolist())
    ]
    return Drawing(_picture(drawn, 0.0, high, labels, title, ()))


def _picture(
    drawn: Sequence[str], low: float, high: float, labels: Sequence[str], title: str, names: Sequence[str]
) -> str:
    marks = [low + (high - low) * step / MARKS for step in range(MARKS + 1)]
    digits = max(0, 3 - int(np.floor(np.log10(max(abs(high), 1e-9)))))
    heights = [_height(mark, low, high) for mark in marks]
    grid = [
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}" stroke="{GREY}" '
        f'stroke-opacity="0.25"/>' + _text(LEFT - 6, height + 4, f"{mark:.{digits}f}", "end")
        for mark, height in zip(marks, heights, strict=True)
    ]
    width = WIDTH - LEFT - RIGHT
    below = [
        _text(LEFT + width * place / max(len(labels) - 1, 1), HEIGHT - 7, label, _anchor(place, len(labels)))
        for place, label in enumerate(labels)
    ]
    legend = [
        _text(WIDTH - RIGHT, 18 + 13 * place, name, "end", colour)
        for place, (name, colour) in enumerate(zip(names, COLOURS, strict=False))
        if len(names) > 1
    ]
    parts = "".join([*grid, *drawn, *below, *legend, _text(LEFT, 18, title, "start")])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="sans-serif" font-size="11">{parts}</svg>'
    )


def _text(x: float, y: float, words: str, anchor: str, colour: str = GREY) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def _anchor(place: int, count: int) -> str:
    return "start" if place == 0 else "end" if place == count - 1 else "middle"


def _points(column: Floats, low: float, high: float) -> str:
    places = np.linspace(LEFT, WIDTH - RIGHT, len(column))
    shown = np.isfinite(column)
    rows = zip(places[shown].tolist(), column[shown].tolist(), strict=True)
    return " ".join(f"{x:.1f},{_height(value, low, high):.1f}" for x, value in rows)


def _height(value: float, low: float, high: float) -> float:
    return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)


def _scale(columns: Sequence[Floats]) -> tuple[float, float]:
    low, high = min(float(np.nanmin(one)) for one in columns), max(float(np.nanmax(one)) for one in columns)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _thinned(column: Floats) -> Floats:
    step = max(1, len(column) // MOST_POINTS)
    return column[::step]
