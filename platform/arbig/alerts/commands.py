"""Commands: `arbig alerts test [TARGET]`, `arbig alerts list`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from arbig.runtime.alerting import load_alerts
from arbig.runtime.http import CallError, ask
from arbig.runtime.settings import Settings, SettingsError, load_settings

Data = Annotated[Path | None, typer.Option("--data", help="Data folder; each running copy has its own.")]
SECONDS = 90.0

app = typer.Typer(help="Who is told of log-ins, halts, rejects, disconnects. 消息提醒。", no_args_is_help=True)


@app.command()
def test(
    target: Annotated[str | None, typer.Argument(help="One of config/alerts.yaml; all when left out.")] = None,
    data: Data = None,
) -> None:
    """Send a test message, and say what each target answered. 发送测试消息。"""
    with _one_line_errors():
        settings = load_settings(data=data)
        if not load_alerts(settings).targets:
            raise SettingsError("config/alerts.yaml: names no target; write e.g. targets: {phone: {url: ...}}")
        results = _from_the_house(settings, target)
    for result in results:
        words = "told" if result["ok"] else f"not reached: {result['error']}"
        typer.secho(f"{result['target']:<12} {words}", fg="green" if result["ok"] else "red")
    raise typer.Exit(0 if all(result["ok"] for result in results) else 1)


@app.command("list")
def list_targets(data: Data = None) -> None:
    """The targets, what they are told, and whether they are reached. 列出接收者。"""
    from arbig.alerts.targets import targets_of

    with _one_line_errors():
        settings = load_settings(data=data)
        targets = targets_of(load_alerts(settings))
        states = {found["name"]: found for found in _states(settings)}
    for name, target in targets.items():
        found = states.get(name)
        state = f"{found['state']} {found['error']}".strip() if found else "the house does not run"
        typer.echo(f"{name:<12} {target.masked:<40} {', '.join(target.kinds)}  [{state}]")


def _from_the_house(settings: Settings, target: str | None) -> list[dict[str, Any]]:
    """By the running process; from here while none runs."""
    try:
        answer = ask(settings, "alerts", "POST", "/alerts/test", json={"target": target}, timeout=SECONDS)
    except CallError as error:
        if error.status:
            raise
        return _from_here(settings, target)
    return list(answer["results"])


def _from_here(settings: Settings, target: str | None) -> list[dict[str, Any]]:
    from arbig.alerts.targets import TargetError, targets_of
    from arbig.alerts.wording import title_of, word

    config = load_alerts(settings)
    targets = targets_of(config)
    if target is not None and target not in targets:
        raise SettingsError(f"config/alerts.yaml: no target {target!r}; there are: {', '.join(targets)}")
    results = []
    for name in [target] if target else list(targets):
        try:
            title = f"[ARBIG {settings.account_id}] {title_of('test', config.language)}"
            targets[name].send(title, word("test", config.language, target=name))
            results.append({"target": name, "ok": True, "error": ""})
        except TargetError as error:
            results.append({"target": name, "ok": False, "error": str(error)})
    return results


def _states(settings: Settings) -> list[dict[str, Any]]:
    try:
        return list(ask(settings, "alerts", "GET", "/alerts")["targets"])
    except CallError:
        return []


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except (CallError, SettingsError) as error:
        typer.echo(f"arbig: {error}", err=True)
        raise typer.Exit(1) from None
