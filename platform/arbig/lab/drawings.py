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


RISE, FALL = "#d9443f", "#1a9a6c"
"""Red rises, green falls: the colours of Chinese exchanges."""


@dataclass(frozen=True)
class Mark:
    """A fill on a chart of candles: at which candle, at what price, bought or sold."""

    place: int
    price: float
    is_buy: bool


def candles(
    rows: Sequence[tuple[float, float, float, float]],
    labels: Sequence[str] = (),
    title: str = "",
    marks: Sequence[Mark] = (),
    level: float | None = None,
) -> Drawing:
    """(open, high, low, close) side by side, fills as triangles, `level` (the last price) as a line across."""
    values = np.asarray(rows, np.float64).reshape(-1, 4)
    prices = [*(mark.price for mark in marks), *(() if level is None else (level,))]
    low, high = _scale([values, np.asarray(prices or values[0], np.float64)])
    step = (WIDTH - LEFT - RIGHT) / len(values)
    drawn = [_candle(LEFT + (place + 0.5) * step, step, row, low, high) for place, row in enumerate(values.tolist())]
    drawn += [
        _triangle(LEFT + (mark.place + 0.5) * step, _height(mark.price, low, high), mark.is_buy) for mark in marks
    ]
    if level is not None:
        height = _height(level, low, high)
        drawn.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{height:.1f}" y2="{height:.1f}" stroke="{COLOURS[0]}" '
            f'stroke-dasharray="3 3"/>'
        )
    return Drawing(_picture(drawn, low, high, labels, title, ()))


def _candle(x: float, step: float, row: Sequence[float], low: float, high: float) -> str:
    opened, top, bottom, closed = (_height(value, low, high) for value in row)
    colour = RISE if closed <= opened else FALL
    width = max(step * 0.7, 1.0)
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" stroke="{colour}"/>'
        f'<rect x="{x - width / 2:.1f}" y="{min(opened, closed):.1f}" width="{width:.1f}" '
        f'height="{max(abs(opened - closed), 1.0):.1f}" fill="{colour}"/>'
    )


def _triangle(x: float, y: float, is_up: bool) -> str:
    tip, base = (y, y + 10) if is_up else (y, y - 10)
    colour = RISE if is_up else FALL
    points = f"{x:.1f},{tip:.1f} {x - 5:.1f},{base:.1f} {x + 5:.1f},{base:.1f}"
    return f'<polygon points="{points}" fill="{colour}" stroke="white" stroke-width="0.8"/>'


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
