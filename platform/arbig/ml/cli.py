"""The words `arbig ml ...`: train, serve, status, promote, card."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Models: train, serve, status. 模型：训练、服务、状态。", no_args_is_help=True, add_completion=False
)

Data = Annotated[Path | None, typer.Option("--data", help="Data folder.")]
Name = Annotated[str, typer.Argument(help="The model, e.g. ml_gold.")]
Reference = Annotated[str, typer.Argument(help="ml_gold, or one version of it: ml_gold@3.")]


@contextmanager
def one_line() -> Iterator[None]:
    from arbig.domain.instruments import UnknownSymbol
    from arbig.lab.barfiles import HistoryError
    from arbig.ml.sets import SetError
    from arbig.runtime.settings import SettingsError
    from arbig.store.models import ModelError

    try:
        yield
    except (HistoryError, ModelError, SetError, SettingsError, UnknownSymbol) as error:
        print(f"arbig: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


@app.command()
def train(
    name: Name,
    symbols: Annotated[list[str], typer.Argument(help="Contracts whose stored bars it learns from.")],
    start: Annotated[str | None, typer.Option(help="First trading day.")] = None,
    end: Annotated[str | None, typer.Option(help="Last trading day; later ones stay unseen for a backtest.")] = None,
    kind: Annotated[str, typer.Option(help="lightgbm or linear.")] = "lightgbm",
    horizon: Annotated[int, typer.Option(help="Minutes ahead.")] = 5,
    folds: Annotated[int, typer.Option(help="Of the purged walk forward.")] = 5,
    seed: int = 1,
    ray: Annotated[str, typer.Option(help="local, a cluster's address, or none: in this process.")] = "local",
    promote: Annotated[
        bool | None, typer.Option(help="It answers from now on; by default only when it beats the baseline.")
    ] = None,
    data: Data = None,
) -> None:
    """A new version from stored bars, judged out of sample against a linear baseline."""
    from arbig.lab.desk import Desk
    from arbig.ml import training

    with one_line():
        made = training.train(
            Desk(data=data),
            name,
            symbols,
            start,
            end,
            kind=kind,
            horizon=horizon,
            folds=folds,
            seed=seed,
            promote=promote,
            ray=None if ray == "none" else ray,
        )
    typer.echo(str(made))


@app.command()
def serve(data: Data = None) -> None:
    """The model server in this terminal, until Ctrl-C. With `serve: true` in config/ml.yaml `arbig up` starts it."""
    import os

    from arbig.ml.serving import main

    if data is not None:
        os.environ["ARBIG_DATA"] = str(data.resolve())
    raise typer.Exit(main())


@app.command()
def status(data: Data = None) -> None:
    """The models there are, which version answers, and what the server says."""
    from rich.console import Console
    from rich.table import Table

    from arbig.ml.asking import asked
    from arbig.runtime.settings import load_settings
    from arbig.store.models import ModelError, Registry

    with one_line():
        settings = load_settings(data=data)
        registry = Registry(settings.data / "models")
        server = asked(settings)
        served = {one["name"]: one["version"] for one in server["models"]} if server else {}
        shown = Table("model", "version", "kind", "answers", "beats baseline", "correlation", "trained until", box=None)
        problems = dict(server["problems"]) if server else {}
        for name in registry.names():
            for version in registry.versions(name):
                try:
                    found = registry.manifest(f"{name}@{version}")
                except ModelError as error:
                    problems[f"{name}@{version}"] = str(error)
                    continue
                mark = "served" if served.get(name) == version else "yes" if registry.current(name) == version else ""
                shown.add_row(
                    *(name, version, found.kind, mark, "yes" if found.beats_baseline else "no"),
                    *(f"{found.metrics['correlation']:.4f}", f"{found.trained_until:%Y-%m-%d %H:%M}"),
                )
        Console().print(shown if shown.rows else "no models yet; train one: arbig ml train ml_gold au2512")
        place = f"port {settings.port('ml')}"
        typer.echo(f"server: answers on {place}" if server else f"server: none on {place}; start it: arbig ml serve")
        for line in problems.values():
            typer.echo(f"problem: {line}")


@app.command()
def promote(reference: Reference, data: Data = None) -> None:
    """That version answers from now on."""
    from arbig.runtime.settings import load_settings
    from arbig.store.models import Registry

    with one_line():
        manifest = Registry(load_settings(data=data).data / "models").promote(reference)
    typer.echo(f"{manifest.name} {manifest.version} answers from now on")


@app.command()
def card(reference: Reference, data: Data = None) -> None:
    """The model card, Markdown."""
    from arbig.runtime.settings import load_settings
    from arbig.store.models import Registry

    with one_line():
        typer.echo(Registry(load_settings(data=data).data / "models").card(reference))
