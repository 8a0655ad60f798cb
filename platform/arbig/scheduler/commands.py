"""Scheduler: `arbig schedule ...`, at the command line."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Notebooks on the trading calendar: list, run, history, grants.", no_args_is_help=True)
Data = Annotated[Path | None, typer.Option("--data", help="Data folder; each running copy has its own.")]
UNDER_WAY = ("DUE", "RUNNING")
LOOK_SECONDS = 0.5


def _ask(data: Path | None, service: str, method: str, path: str, **words: Any) -> Any:
    """The service's answer, or its words in one line and exit code 1."""
    from arbig.runtime.http import CallError, ask
    from arbig.runtime.settings import SettingsError, load_settings

    try:
        return ask(load_settings(data=data), service, method, path, **words)
    except CallError as error:
        said = error.body.get("detail") if isinstance(error.body, dict) else None
        typer.echo(f"arbig: {said or error}", err=True)
    except SettingsError as error:
        typer.echo(f"arbig: {error}", err=True)
    raise typer.Exit(1)


def _audit(data: Path | None, action: str, what: str) -> None:
    from arbig.runtime.audit import by_hand
    from arbig.runtime.settings import load_settings

    by_hand(load_settings(data=data), action, what)


def _table(columns: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*("" if value is None else str(value).replace("T", " ") for value in row))
    Console().print(table)


@app.command("list")
def list_entries(data: Data = None) -> None:
    """What runs when, and how it went last."""
    answer = _ask(data, "scheduler", "GET", "/schedule")
    rows = [
        (
            entry["name"],
            entry.get("when"),
            entry.get("next") if entry["enabled"] else "off",
            entry.get("mode"),
            (entry.get("last") or {}).get("state"),
            entry.get("notebook"),
        )
        for entry in answer["entries"]
    ]
    _table(("name", "when", "next (session time)", "mode", "last", "notebook"), rows)
    for line in answer["problems"]:
        typer.echo(line, err=True)


@app.command()
def run(
    name: str,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Until it has ended.")] = True,
    data: Data = None,
) -> None:
    """Run one now. Exit code 1 unless it is DONE."""
    import time

    _audit(data, "run notebook", name)
    found = _ask(data, "scheduler", "POST", f"/schedule/{name}/run", params={"by": "arbig schedule run"})
    while wait and found["state"] in UNDER_WAY:
        time.sleep(LOOK_SECONDS)
        found = _ask(data, "scheduler", "GET", f"/runs/{found['run_id']}")
    where = "" if found["cell"] is None else f" in cell {found['cell']}"
    words = "" if found["error"] is None else f"{where}: {found['error']}"
    typer.echo(f"{name} is {found['state']}{words}{'' if found['folder'] is None else '; data/' + found['folder']}")
    if wait and found["state"] != "DONE":
        raise typer.Exit(1)


@app.command()
def history(
    name: Annotated[str | None, typer.Argument(help="Only this one's.")] = None,
    day: Annotated[str | None, typer.Option("--day", help="Only of this trading day, e.g. 2025-10-15.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000)] = 20,
    data: Data = None,
) -> None:
    """Runs, the newest first."""
    answer = _ask(data, "scheduler", "GET", "/runs", params={"name": name, "trading_day": day, "limit": limit})
    rows = [
        (run["due"], run["name"], run["state"], run["seconds"], run["cell"], run["error"], run["folder"])
        for run in answer["runs"]
    ]
    _table(("due (session time)", "name", "state", "seconds", "cell", "error", "folder"), rows)


@app.command()
def grant(
    strategy_name: str,
    lots: Annotated[int, typer.Option("--lots", min=1, help="Most net lots of a contract, long or short.")],
    days: Annotated[float, typer.Option("--days", min=0.01, max=366, help="From now on.")],
    data: Data = None,
) -> None:
    """Real money: a notebook strategy may hold so many lots for so long. Written to the audit trail."""
    import getpass

    from arbig.runtime.clock import WallClock

    until = (WallClock().now() + timedelta(days=days)).replace(tzinfo=None).isoformat(timespec="seconds")
    wish = {"strategy_name": strategy_name, "lots": lots, "expires_at": until, "given_by": getpass.getuser()}
    given = _ask(data, "trading", "POST", "/grants", json=wish)
    _audit(data, "grant", f"{given['id']}: {strategy_name} {lots} lots until {until}")
    typer.echo(f"{given['id']}: {strategy_name} may hold {lots} lots until {until.replace('T', ' ')}")


@app.command()
def grants(data: Data = None) -> None:
    """What was granted, and what of it still holds."""
    columns = ("id", "strategy_name", "lots", "given_by", "given_at", "expires_at", "state")
    found = _ask(data, "trading", "GET", "/grants")["grants"]
    heads = ("id", "strategy", *columns[2:])
    _table(heads, [tuple(row[name] for name in columns) for row in found])


@app.command()
def revoke(grant_id: str, data: Data = None) -> None:
    """Take a grant back: nothing more is opened under it, what is held stays."""
    _ask(data, "trading", "DELETE", f"/grants/{grant_id}")
    _audit(data, "revoke grant", grant_id)
    typer.echo(f"{grant_id} is revoked")
