"""Bench: how fast the house is, measured with its own processes. Prints tables, writes JSON under data/bench/."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="Measure the house: latency, throughput, startup, backtest.", no_args_is_help=True, add_completion=False
)

Json = Annotated[bool, typer.Option("--json", help="Only one JSON object, as the last line.")]
Data = Annotated[Path | None, typer.Option(help="Where bench/ is written; the house's data folder when left out.")]


@app.command()
def latency(
    as_json: Json = False,
    data: Data = None,
    ticks: Annotated[int, typer.Option(help="Ticks in all; every tenth one orders.")] = 5000,
    per_second: Annotated[int, typer.Option(help="Ticks a second.")] = 250,
) -> None:
    """From a tick handed to the Gateway to its order handed to the exchange, beside a bare relay on the same Redis."""
    from arbig.bench.latency import run

    _measure("latency", as_json, data, lambda folder: run(folder, ticks, per_second))


@app.command()
def throughput(
    as_json: Json = False,
    data: Data = None,
    seconds: Annotated[float, typer.Option(help="How long ticks are sent.")] = 30.0,
    per_second: Annotated[int, typer.Option(help="Ticks a second; 0: as fast as they go.")] = 0,
) -> None:
    """Ticks of 50 symbols through Gateway, Redis and Market; every bar checked against one computed offline."""
    from arbig.bench.throughput import run

    _measure("throughput", as_json, data, lambda folder: run(folder, seconds, per_second))


@app.command()
def startup(as_json: Json = False, data: Data = None) -> None:
    """From `up` to trading ready, and to console and JupyterLab ready."""
    from arbig.bench.startup import run

    _measure("startup", as_json, data, lambda folder: run(folder))


@app.command()
def recovery(
    as_json: Json = False,
    data: Data = None,
    kills: Annotated[int, typer.Option(help="Kills of each process.")] = 20,
) -> None:
    """Each process killed on the running stack: until it is there again, and until the house is ACTIVE."""
    from arbig.bench.recovery import run

    _measure("recovery", as_json, data, lambda folder: run(folder, kills))


@app.command()
def halt(
    as_json: Json = False,
    data: Data = None,
    rounds: Annotated[int, typer.Option(help="Halts in a flood of orders.")] = 20,
) -> None:
    """From a person's halt to the last order that reaches the exchange; twenty orders cancelled at CTP's rate."""
    from arbig.bench.halt import run

    _measure("halt", as_json, data, lambda folder: run(folder, rounds))


@app.command()
def sweep(
    as_json: Json = False,
    data: Data = None,
    days: Annotated[int, typer.Option(help="Trading days of one-minute bars.")] = 60,
) -> None:
    """Two hundred parameter sets of two strategies against vnpy's own brute-force optimiser; needs vnpy_ctastrategy."""
    from arbig.bench.sweep import run

    _measure("sweep", as_json, data, lambda folder: run(folder, days))


@app.command()
def backtest(
    as_json: Json = False,
    data: Data = None,
    days: Annotated[int, typer.Option(help="Trading days of one-minute bars.")] = 240,
    rounds: Annotated[int, typer.Option(help="Measured runs of each engine; the best counts.")] = 3,
) -> None:
    """Nine strategies through vnpy's engine and ours, in turn; trades compared first. Needs `make check` once."""
    from arbig.bench.backtest import run

    _measure("backtest", as_json, data, lambda folder: run(folder, days, rounds))


@app.command()
def serve(
    as_json: Json = False,
    data: Data = None,
    rounds: Annotated[int, typer.Option(help="Questions to each.")] = 2000,
) -> None:
    """A strategy's question to its model, beside a bare Ray Serve echo; and a model that is away, or hangs."""
    from arbig.bench.serve import run

    _measure("serve", as_json, data, lambda folder: run(folder, rounds))


@app.command()
def console(
    as_json: Json = False,
    data: Data = None,
    minutes: Annotated[float, typer.Option(help="How long three browsers look.")] = 15.0,
) -> None:
    """The console's pages beside an empty one, ticks drawn in three browsers, memory, the trading chain meanwhile."""
    from arbig.bench.console import run

    _measure("console", as_json, data, lambda folder: run(folder, minutes))


@app.command(name="all")
def everything(as_json: Json = False, data: Data = None) -> None:
    """All of them, one after the other."""
    latency(as_json, data)
    throughput(as_json, data)
    startup(as_json, data)
    backtest(as_json, data)


def _measure(name: str, as_json: bool, data: Path | None, measure: Callable[[Path], dict[str, Any]]) -> None:
    from arbig.bench.house import BenchFailed
    from arbig.bench.report import report
    from arbig.runtime.settings import SettingsError, folder, load_settings

    try:
        place = folder(load_settings(data=data).data / "bench")
        report(name, measure(place), place, table=not as_json)
    except (BenchFailed, SettingsError) as error:
        typer.echo(f"arbig bench {name}: {error}", err=True)
        raise typer.Exit(1) from None
