"""Report: a bench's result as a table, as a file under data/bench/, and as one JSON object in the last line."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

import typer

AIMS: Mapping[str, Mapping[str, str]] = {
    "latency": {"ratio_p50": "at most 2", "ratio_p99": "at most 3"},
    "throughput": {"ticks_per_s": "at least 30000", "lost": "0", "bars_equal": "true"},
    "startup": {"trading_s": "at most 8", "all_s": "at most 15"},
    "halt": {"block_max_ms": "at most 100", "cancel_s": "at most 8"},
    "recovery": {"up_p50_s": "at most 2", "active_p50_s": "at most 3"},
    "backtest": {
        "equal_trades": "true",
        "median_ratio": "at least 4",
        "least_ratio": "at least 3",
        "median_realistic_ratio": "at least 2",
        "memory_mb": "at most 2000",
    },
    "serve": {"ratio_p50": "at most 1.5", "ratio_p99": "at most 1.5", "away_p50_ms": "at most 1"},
    "console": {
        "page_ratio": "at most 1.5",
        "drawn_p95_ms": "at most 500",
        "web_mb_an_hour": "near 0",
        "console_mb_an_hour": "near 0",
        "latency_ratio": "at most 1.1",
    },
    "sweep": {"strategies": "ratio at least 5 (DoubleMa), 8 (MultiTimeframe)"},
}


def report(name: str, result: Mapping[str, Any], folder: Path, table: bool) -> None:
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    (folder / f"{name}.json").write_text(json.dumps({**result, **machine}, indent=1) + "\n")
    if table:
        _print(name, result)
    typer.echo(json.dumps(result))


def _print(name: str, result: Mapping[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table(name, "measured", "aim", box=None, header_style="bold")
    for key, value in result.items():
        if isinstance(value, list):
            _print_rows(value)
        else:
            shown.add_row(key, json.dumps(value), AIMS[name].get(key, ""))
    Console().print(shown)


def _print_rows(rows: list[Mapping[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    shown = Table(*rows[0], box=None, header_style="bold")
    for row in rows:
        shown.add_row(*(str(value) for value in row.values()))
    Console().print(shown)


def quantile(values: list[float], share: float) -> float:
    """The smallest measured value that `share` of all do not exceed."""
    return sorted(values)[max(0, ceil(len(values) * share) - 1)]
