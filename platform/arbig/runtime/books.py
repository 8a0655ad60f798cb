"""Books: `arbig db`: the house's databases are brought up to date, and moved from SQLite to PostgreSQL and back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from arbig.runtime.settings import Settings, SettingsError, load_settings

db_app = typer.Typer(help="The books: bring them up to date, move them to PostgreSQL and back.", no_args_is_help=True)
Data = Annotated[Path | None, typer.Option("--data", help="Data folder.")]
Config = Annotated[Path | None, typer.Option("--config", help="Folder of the YAML files.")]


@contextmanager
def _at_rest(data: Path | None, config: Path | None) -> Iterator[Settings]:
    """The house, while nothing of it runs here; a book another host has open refuses by itself."""
    from arbig.runtime.supervisor import holder
    from arbig.store.faults import StoreError

    try:
        settings = load_settings(data=data, config=config)
        if holder(settings) is not None:
            raise SettingsError(f"{settings.data}: services run here and write the books; run: arbig down")
        yield settings
    except (SettingsError, StoreError) as error:
        print(f"arbig: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


@db_app.command()
def upgrade(data: Data = None, config: Config = None) -> None:
    """Bring every book to this build's schema."""
    from arbig.store.database import Database
    from arbig.store.moving import BOOKS

    with _at_rest(data, config) as settings:
        for book, schema in BOOKS.items():
            place = settings.database(book)
            Database.open(place, schema).close()
            typer.echo(f"{place}: up to date")


@db_app.command(name="import")
def import_(
    source: Annotated[Path | None, typer.Argument(help="Folder with trading.db; the house's own data/db else.")] = None,
    data: Data = None,
    config: Config = None,
) -> None:
    """Move the SQLite books into the empty PostgreSQL database that config/arbig.yaml names."""
    with _at_rest(data, config) as settings:
        if not settings.house.database:
            raise SettingsError(
                "config/arbig.yaml: database: not given, expected where to; "
                "write e.g. database: postgresql://arbig@127.0.0.1:5432/arbig"
            )
        _move_all(settings, source or settings.data / "db", into_house=True)


@db_app.command()
def export(
    target: Annotated[Path, typer.Argument(help="Folder for trading.db and strategy.db; made when it is not there.")],
    data: Data = None,
    config: Config = None,
) -> None:
    """Write the house's books as SQLite files into a folder."""
    with _at_rest(data, config) as settings:
        _move_all(settings, target, into_house=False)


def _move_all(settings: Settings, folder: Path, into_house: bool) -> None:
    from arbig.store.moving import BOOKS, move

    for book in BOOKS:
        file, own = folder / f"{book}.db", settings.database(book)
        source, target = (file, own) if into_house else (own, file)
        if book != "trading" and isinstance(source, Path) and not source.exists():
            typer.echo(f"{source}: no such file, nothing to move")
            continue
        moved = move(book, source, target)
        rows = sum(table.rows for table in moved)
        typer.echo(f"{source} -> {target}: {len(moved)} tables, {rows} rows, counts and contents equal")
        for table in moved:
            typer.echo(f"  {table.table:<20} {table.rows:>9} rows  sha256 {table.content[:16]}")
