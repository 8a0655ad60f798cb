"""The command line: parses words, calls a room."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from arbig.runtime.books import db_app
from arbig.scheduler.commands import app as schedule_app

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from arbig.lab.history import History
    from arbig.runtime.settings import Settings
    from arbig.runtime.status import ServiceStatus

app = typer.Typer(
    name="arbig",
    help="ARBIG: research, paper and live trading of Chinese futures. 中国期货：研究、模拟、实盘。",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Data = Annotated[Path | None, typer.Option("--data", help="Data folder; each running copy has its own.")]
Config = Annotated[Path | None, typer.Option("--config", help="Folder of the YAML files.")]
Offset = Annotated[int | None, typer.Option("--port-offset", help="Added to every port.")]
NUMBERS = ("pid", "port", "stream lag", "ticks/s")
ServiceName = Annotated[str, typer.Argument(help="redis, exchange, gateway, market, trading, strategy, web, ...")]


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What the house refuses is said in one line, on the error stream, with exit code 1."""
    from arbig.bus.port import BusError
    from arbig.runtime.control import ControlError
    from arbig.runtime.http import CallError
    from arbig.runtime.settings import SettingsError
    from arbig.runtime.stack import StackError

    try:
        yield
    except (BusError, CallError, ControlError, SettingsError, StackError) as error:
        print(f"arbig: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


@contextmanager
def research_errors() -> Iterator[None]:
    """The same for a history, a plan or a strategy that cannot be used."""
    from arbig.backtest.plan import PlanError
    from arbig.domain.instruments import UnknownSymbol
    from arbig.lab.barfiles import HistoryError
    from arbig.runtime.loader import StrategyFault

    try:
        yield
    except (HistoryError, PlanError, StrategyFault, UnknownSymbol) as error:
        print(f"arbig: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", help="Return when all is ready.")] = False,
    data: Data = None,
    config: Config = None,
    port_offset: Offset = None,
    live: Annotated[
        str | None, typer.Option(metavar="ACCOUNT", help="Under mode live: its account, instead of typing it.")
    ] = None,
) -> None:
    """Start everything, wait until it is ready, print the links."""
    from arbig.runtime import stack
    from arbig.runtime.audit import by_hand, note_limits

    with one_line_errors():
        settings = _settings(data, config, port_offset)
        _confirm_live(settings, live)
        for became in stack.up(settings):
            port = "" if became.program.probe == "socket" else f":{settings.port(became.program.name)}"
            typer.echo(f"  {became.program.name:<9} ready {port:<6} {became.seconds:5.1f} s")
        by_hand(settings, "up", f"gateway {settings.gateway}, mode {settings.mode}, account {settings.account_id}")
        note_limits(settings, settings.config / "risk.yaml")
        if detach:
            _print_links(settings)
        else:
            _watch(settings)


def _confirm_live(settings: Settings, typed: str | None) -> None:
    """Real money wants a word typed by a person."""
    from arbig.runtime.broker import is_live
    from arbig.runtime.settings import SettingsError

    if not is_live(settings):
        return
    account = settings.account_id
    if typed is None:
        typer.echo(f"mode live: orders go to the counter with the money of account {account} 实盘")
        try:
            typed = typer.prompt(f"type {account} to start 输入账户号以启动")
        except typer.Abort:
            raise SettingsError(f"mode live: nobody typed the account; say arbig up --live {account}") from None
    if typed != account:
        raise SettingsError(f"mode live: found {typed!r}, the account is {account}; nothing is started")


@app.command()
def down(data: Data = None) -> None:
    """Stop everything."""
    from arbig.runtime import stack
    from arbig.runtime.audit import by_hand

    with one_line_errors():
        settings = _settings(data)
        if not stack.down(settings):
            typer.echo(f"{settings.data}: nothing ran here")
            return
        by_hand(settings, "down", "everything")
        typer.echo("everything is down")


@app.command()
def restart(service: ServiceName, data: Data = None) -> None:
    """Stop and start one service; return when it is ready again."""
    from arbig.runtime import stack
    from arbig.runtime.audit import by_hand

    with one_line_errors():
        settings = _settings(data)
        by_hand(settings, "restart", service)
        stack.restart(settings, service)
        typer.echo(f"{service} is ready")


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    data: Data = None,
) -> None:
    """Service, pid, port, health, uptime, last heartbeat, stream lag, ticks/s."""
    import json

    from arbig.runtime.status import house_status, services_of

    with one_line_errors():
        settings = _settings(data)
        services = services_of(settings)
        found = house_status(settings, services)
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        _console().print(_picture(found, services))
    healthy = all(service.healthy for service in services)
    raise typer.Exit(0 if healthy else 1)


@app.command()
def links(
    viewer: Annotated[bool, typer.Option("--viewer", help="For somebody who may look, not act. 只读。")] = False,
    data: Data = None,
) -> None:
    """Print fresh links to the console and JupyterLab; each logs in once."""
    from arbig.runtime import stack

    with one_line_errors():
        settings = _settings(data)
        if not viewer:
            _print_links(settings)
            return
        typer.echo("A viewer's link logs in once; it shows everything and changes nothing. 只读链接，一次有效")
        typer.echo(f"  console     {stack.viewers_link(settings)}")
        typer.echo(f"  programs    ARBIG_TOKEN=$(cat {settings.run / 'viewer_token'})")


@app.command()
def logs(
    service: Annotated[str | None, typer.Argument(help="One service; all when left out.")] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is written from now on.")] = False,
    level: Annotated[str, typer.Option(help="debug, info, warning, error or critical, and what is worse.")] = "info",
    grep: Annotated[str | None, typer.Option(help="A regular expression.")] = None,
    since: Annotated[str | None, typer.Option(help="10m, 2h, 21:00 or 2025-10-09T21:00.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The records themselves.")] = False,
    data: Data = None,
) -> None:
    """The logs of all services in one place, oldest first."""
    import json
    from itertools import chain

    from arbig.runtime.clock import WallClock
    from arbig.runtime.logs import follow_logs, line_of, read_logs, wanted_of

    with one_line_errors():
        settings = _settings(data)
        wanted = wanted_of(service, level, grep, since, WallClock().now())
        records = read_logs(settings.logs, wanted)
        try:
            for record in chain(records, follow_logs(settings.logs, wanted)) if follow else records:
                typer.echo(json.dumps(record, ensure_ascii=False) if as_json else line_of(record))
        except (KeyboardInterrupt, BrokenPipeError):
            raise typer.Exit(0) from None


@app.command()
def doctor(
    ctp: Annotated[bool, typer.Option("--ctp", help="Walk to the broker's counter, step by step.")] = False,
    again: Annotated[bool, typer.Option("--again", help="With --ctp: try a refused password once more.")] = False,
    data: Data = None,
    config: Config = None,
    port_offset: Offset = None,
) -> None:
    """Name what is missing and the line that mends it."""
    from arbig.runtime.doctor import Finding, examine

    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        typer.secho(str(finding), fg={"ok": None, "warn": "yellow", "fail": "red"}[finding.level])

    with one_line_errors():
        settings = _settings(data, config, port_offset)
        if ctp or again:
            from arbig.gateway.ctp.opening import walk_to

            walk_to(settings, again, tell)
        else:
            for finding in examine(settings):
                tell(finding)
    raise typer.Exit(1 if any(finding.level == "fail" for finding in findings) else 0)


@app.command()
def halt(
    reason: Annotated[str, typer.Argument(help="Why; shown to everybody. 原因。")] = "",
    data: Data = None,
) -> None:
    """Send no order any more, cancel what works; Trading and Gateway are told side by side. 停止一切报单并撤单。"""
    from arbig.runtime.audit import by_hand
    from arbig.runtime.halting import HALTED
    from arbig.runtime.halting import halt as halt_house

    with one_line_errors():
        settings = _settings(data)
        answers = halt_house(settings, reason)
        by_hand(settings, "halt", f"{reason} -> {answers}")
    for service, answer in answers.items():
        typer.secho(f"{service:<8} {answer}", fg="green" if answer == HALTED else "red")
    if HALTED not in answers.values():
        typer.echo("nobody is halted: is the house running? arbig status", err=True)
        raise typer.Exit(1)


@app.command()
def resume(
    yes: Annotated[bool, typer.Option("--yes", help="Without asking. 不再询问。")] = False,
    reason: Annotated[str, typer.Option(help="Shown to everybody. 原因。")] = "resumed by a person",
    data: Data = None,
) -> None:
    """Set trading ACTIVE again, after saying why it is not. 恢复交易。"""
    from arbig.runtime.audit import by_hand
    from arbig.runtime.http import ask

    with one_line_errors():
        settings = _settings(data)
        found = ask(settings, "trading", "GET", "/state")
        if found["wanted"] == "ACTIVE":
            typer.echo(f"trading is {found['state']}: {found['reason']}")
            return
        typer.echo(f"trading is {found['wanted']} since {found['since'][:19].replace('T', ' ')}: {found['reason']}")
        if not yes and typer.prompt("type ACTIVE to resume 输入 ACTIVE 以恢复") != "ACTIVE":
            typer.echo("nothing is changed")
            raise typer.Exit(1)
        by_hand(settings, "resume", reason)
        found = ask(settings, "trading", "POST", "/state", json={"state": "ACTIVE", "reason": reason})
    typer.echo(f"trading is {found['state']}")
    if not found["gateway_knows"]:
        typer.echo("the Gateway does not answer; it is told as soon as it does, and refuses orders until then")


@app.command()
def flatten(
    strategy: Annotated[str | None, typer.Option(help="Only this strategy's book. 仅此策略。")] = None,
    symbol: Annotated[str | None, typer.Option(help="Only this contract. 仅此合约。")] = None,
    reason: Annotated[str, typer.Option(help="Shown to everybody. 原因。")] = "asked for by a person",
    stop: Annotated[str | None, typer.Option(help="Stop the flatten of this id. 停止该任务。")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Without asking. 不再询问。")] = False,
    data: Data = None,
) -> None:
    """Cancel, close, and ask the counter whether it is flat; the whole account when nothing is named. 一键平仓。"""
    from arbig.runtime.audit import by_hand
    from arbig.runtime.halting import follow
    from arbig.runtime.http import ask

    with one_line_errors():
        settings = _settings(data)
        if stop is not None:
            typer.echo(f"{stop}: {ask(settings, 'trading', 'DELETE', f'/flatten/{stop}')['state']}")
            return
        wanted = {"strategy_name": strategy, "symbol": symbol, "reason": reason}
        if not yes and _at_a_terminal():
            typer.echo(
                f"everything of {strategy or symbol or 'the whole account'} is closed at the market 平掉全部持仓"
            )
            if typer.prompt("type FLATTEN to go on 输入 FLATTEN 以继续") != "FLATTEN":
                typer.echo("nothing is changed")
                raise typer.Exit(1)
        by_hand(settings, "flatten", f"{strategy or symbol or 'the whole account'}: {reason}")
        job = ask(settings, "trading", "POST", "/flatten", json=wanted)
        typer.echo(f"flatten {job['id']} of {strategy or symbol or 'the whole account'}; Ctrl-C leaves it running")
        try:
            for now in follow(settings, job["id"]):
                job = {**job, **now}
                left = ", ".join(f"{lots['volume']} {lots['symbol']} {lots['direction']}" for lots in job["left"])
                typer.echo(f"  {job['state']:<10} {job['detail']}{f' (left: {left})' if left else ''}")
        except KeyboardInterrupt:
            typer.echo(f"it goes on without you; stop it: arbig flatten --stop {job['id']}")
            raise typer.Exit(130) from None
    raise typer.Exit(0 if job["state"] == "DONE" else 1)


@app.command()
def roll(
    strategy: Annotated[str | None, typer.Argument(help="The strategy. 策略。")] = None,
    to: Annotated[str | None, typer.Argument(help="The next contract, e.g. au2602. 新合约。")] = None,
    symbol: Annotated[str | None, typer.Option(help="The contract it leaves, where it has several. 旧合约。")] = None,
    reason: Annotated[str, typer.Option(help="Shown to everybody. 原因。")] = "asked for by a person",
    stop: Annotated[str | None, typer.Option(help="Stop the roll of this id. 停止该任务。")] = None,
    data: Data = None,
) -> None:
    """Move a strategy's lots, parameters and state to the next contract; without words: what is rolled. 移仓换月。"""
    from arbig.runtime.audit import by_hand
    from arbig.runtime.halting import follow
    from arbig.runtime.http import ask

    with one_line_errors():
        settings = _settings(data)
        if stop is not None:
            by_hand(settings, "stop roll", stop)
            typer.echo(f"{stop}: {ask(settings, 'trading', 'DELETE', f'/rolls/{stop}')['detail']}")
            return
        if strategy is None or to is None:
            for job in ask(settings, "trading", "GET", "/rolls")["rolls"]:
                way = f"{job['strategy_name']} {job['symbol']} -> {job['to']}"
                typer.echo(f"{job['id']}  {way}  {job['state']}: {job['detail']}")
            return
        wanted = {"strategy_name": strategy, "to": to, "symbol": symbol, "reason": reason}
        by_hand(settings, "roll", f"{strategy} to {to}: {reason}")
        job = ask(settings, "trading", "POST", "/rolls", json=wanted)
        typer.echo(f"roll {job['id']} of {strategy} from {job['symbol']} to {job['to']}; Ctrl-C leaves it running")
        try:
            for now in follow(settings, job["id"], "rolls"):
                job = {**job, **now}
                typer.echo(f"  {job['state']:<8} {job['detail']}")
        except KeyboardInterrupt:
            typer.echo(f"it goes on without you; stop it: arbig roll --stop {job['id']}")
            raise typer.Exit(130) from None
    raise typer.Exit(0 if job["state"] == "DONE" else 1)


@app.command()
def audit(
    verify: Annotated[bool, typer.Option("--verify", help="Whether a row was changed since. 校验。")] = False,
    limit: Annotated[int, typer.Option("-n", help="So many rows.")] = 50,
    data: Data = None,
) -> None:
    """Who did what, from where, when; or whether that record is whole. 审计记录。"""
    from arbig.runtime.audit import trail_of
    from arbig.store.sqlite import StoreError

    trail = trail_of(_settings(data))
    try:
        broken = trail.broken() if verify else None
        rows = trail.rows(limit)
    except StoreError as error:
        print(f"arbig: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    if broken:
        print(f"arbig: data/db/audit.db: {broken}", file=sys.stderr)
        raise typer.Exit(1)
    if verify:
        count = rows[-1].number if rows else 0
        end = f"; the last hash is {rows[-1].hash}" if rows else ""
        typer.echo(f"{count} row{'' if count == 1 else 's'}, unbroken{end}")
        return
    for row in rows:
        at = row.at[:19].replace("T", " ")
        typer.echo(f"{row.number:>6} {at}  {row.who:<14} {row.place:<12} {row.action:<16} {row.what}")


@app.command()
def compliance(
    day: Annotated[str | None, typer.Option("--day", help="Trading day, 2025-10-15; today's when left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    data: Data = None,
) -> None:
    """What was sent in a trading day, for programmatic trading filing. 程序化交易报告。"""
    import json

    from arbig.runtime.http import ask

    with one_line_errors():
        found = ask(_settings(data), "trading", "GET", "/compliance", params={"day": day})
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        _print_compliance(found)


@app.command(context_settings={"ignore_unknown_options": True})
def redis(
    command: Annotated[list[str], typer.Argument(help="e.g. XLEN stream:trade")],
    as_json: Annotated[bool, typer.Option("--json", help="The reply as JSON.")] = False,
    data: Data = None,
) -> None:
    """Ask the house's Redis as a reader."""
    import json

    from arbig.runtime.redis_server import ask

    with one_line_errors():
        reply = ask(_settings(data), command)
    typer.echo(json.dumps(reply, ensure_ascii=False) if as_json or not isinstance(reply, str) else reply)


@app.command()
def backtest(
    strategy: Annotated[str, typer.Argument(help="A class in strategies/.")],
    symbol: Annotated[str, typer.Argument(help="au2512; several as au2512,ag2512.")],
    start: Annotated[str | None, typer.Option(help="First trading day, 2025-10-09.")] = None,
    end: Annotated[str | None, typer.Option(help="Last trading day.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="fast_window=12; repeat for more.")] = None,
    capital: Annotated[float, typer.Option(help="Yuan.")] = 1_000_000.0,
    matching: Annotated[str, typer.Option(help="realistic or vnpy.")] = "realistic",
    mode: Annotated[str, typer.Option(help="bar or tick.")] = "bar",
    html: Annotated[Path | None, typer.Option(help="Write the tearsheet to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    history: Annotated[Path | None, typer.Option(help="Folder of the bars; data/bars when left out.")] = None,
    data: Data = None,
) -> None:
    """Run a strategy on history. Exit code 1 when it could not be run to the end."""
    import json

    from arbig.lab.desk import Desk

    symbols = symbol.split(",")
    with one_line_errors(), research_errors():
        result = Desk(data=data, history=history).backtest(
            strategy,
            symbols if len(symbols) > 1 else symbol,
            start,
            end,
            _params(param or []),
            capital,
            matching=matching,
            mode=mode,
        )
        if html is not None:
            result.tearsheet().save(html)
    typer.echo(json.dumps(result.summary(), ensure_ascii=False) if as_json else repr(result))
    if html is not None and not as_json:
        typer.echo(f"tearsheet    {html}")
    raise typer.Exit(1 if result.failures else 0)


@app.command()
def sweep(
    strategy: Annotated[str, typer.Argument(help="A class in strategies/.")],
    symbol: Annotated[str, typer.Argument(help="au2512; the legs as au2512,ag2512.")],
    tried: Annotated[list[str], typer.Option("--try", help="fast=5,10,20 or fast=5:20:5 or (not grid) fast=5:20.")],
    start: Annotated[str | None, typer.Option(help="First trading day, 2025-10-09.")] = None,
    end: Annotated[str | None, typer.Option(help="Last trading day.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="volume=2, the same for every set.")] = None,
    method: Annotated[str, typer.Option(help="grid, random or tpe.")] = "grid",
    trials: Annotated[int | None, typer.Option(help="How many sets random and tpe try.")] = None,
    target: Annotated[str, typer.Option(help="A statistic; larger is better.")] = "sharpe",
    walk_forward: Annotated[str | None, typer.Option(help="train,test[,purge] in trading days: 60,20.")] = None,
    seed: Annotated[int, typer.Option(help="Draws the sets of random and tpe.")] = 1,
    workers: Annotated[int | None, typer.Option(help="Processes; as many as cores when left out.")] = None,
    ray: Annotated[str | None, typer.Option(help="A Ray cluster: its address, auto or local.")] = None,
    capital: Annotated[float, typer.Option(help="Yuan.")] = 1_000_000.0,
    matching: Annotated[str, typer.Option(help="realistic or vnpy.")] = "realistic",
    folder: Annotated[Path | None, typer.Option(help="Where finished sets are kept.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write every row to this file.")] = None,
    history: Annotated[Path | None, typer.Option(help="Folder of the bars; data/bars when left out.")] = None,
    data: Data = None,
) -> None:
    """Try many parameter sets, best first. After Ctrl-C (exit code 130) or a crash the same call goes on."""
    from arbig.lab.desk import Desk
    from arbig.lab.spaces import space_of, windows_of

    symbols = symbol.split(",")
    with one_line_errors(), research_errors():
        found = Desk(data=data, history=history).sweep(
            strategy,
            symbols if len(symbols) > 1 else symbol,
            start,
            end,
            space_of(tried),
            _params(param or []),
            capital,
            method=method,
            trials=trials,
            target=target,
            walk_forward=None if walk_forward is None else windows_of(walk_forward),
            seed=seed,
            workers=workers,
            ray=ray,
            matching=matching,
            folder=folder,
        )
    typer.echo(found.text())
    if csv is not None:
        found.rows.to_csv(csv, index=False)
    raise typer.Exit(0 if found.complete else 130)


@app.command("check-lookahead")
def check_lookahead(
    strategy: Annotated[str, typer.Argument(help="A class in strategies/.")],
    symbol: Annotated[str, typer.Argument(help="au2512; several as au2512,ag2512.")],
    start: Annotated[str | None, typer.Option(help="First trading day, 2025-10-09.")] = None,
    end: Annotated[str | None, typer.Option(help="Last trading day.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="fast_window=12; repeat for more.")] = None,
    matching: Annotated[str, typer.Option(help="realistic or vnpy.")] = "realistic",
    cuts: Annotated[int, typer.Option(min=1, help="How many moments the data is cut at.")] = 8,
    seed: Annotated[int, typer.Option(help="Draws the cuts and the scrambles.")] = 1,
    history: Annotated[Path | None, typer.Option(help="Folder of the bars; data/bars when left out.")] = None,
    data: Data = None,
) -> None:
    """Prove that a strategy does not look ahead. Exit code: 0 clean, 1 it does, 2 not proven."""
    from arbig.lab.desk import Desk

    symbols = symbol.split(",")
    with one_line_errors(), research_errors():
        report = Desk(data=data, history=history).check_lookahead(
            strategy,
            symbols if len(symbols) > 1 else symbol,
            start,
            end,
            _params(param or []),
            matching=matching,
            cuts=cuts,
            seed=seed,
        )
    typer.echo(repr(report))
    raise typer.Exit(0 if report.ok else 1 if report.findings else 2)


@app.command()
def parity(
    day: Annotated[
        str | None, typer.Option("--date", help="Trading day; the newest recorded one when left out.")
    ] = None,
    strategy: Annotated[str | None, typer.Option(help="Its name in config/strategies; all when left out.")] = None,
    since: Annotated[str | None, typer.Option(help="Session time it was started at: 2025-10-15T13:30.")] = None,
    reference: Annotated[Path | None, typer.Option(help="Folder of bars that has the day whole.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the page to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    data: Data = None,
) -> None:
    """Compare a live session with what the backtest makes of its data, and say why they differ."""
    import json

    from arbig.lab.desk import Desk

    with one_line_errors(), research_errors():
        whole = None if reference is None else Desk(data=data, history=reference).history
        found = Desk(data=data).parity(day, strategy=strategy, since=since, reference=whole)
        if html is not None:
            found.save(html)
    typer.echo(json.dumps(found.summary(), ensure_ascii=False) if as_json else repr(found))
    if html is not None and not as_json:
        typer.echo(f"  page {html}")


Folder = Annotated[Path | None, typer.Option("--history", help="Folder of the bars; data/bars when left out.")]
Symbol = Annotated[str, typer.Argument(help="au2512")]
Start = Annotated[str | None, typer.Option(help="First trading day, 2025-10-09.")]
End = Annotated[str | None, typer.Option(help="Last trading day.")]
Replace = Annotated[bool, typer.Option("--replace", help="Write over days that have other rows.")]

history_app = typer.Typer(help="Bars and ticks on disk: list, check, import, fill, generate.", no_args_is_help=True)
app.add_typer(history_app, name="history")
app.add_typer(schedule_app, name="schedule")
app.add_typer(db_app, name="db")


@history_app.command("list")
def history_list(history: Folder = None, data: Data = None) -> None:
    """The contracts, with how many trading days of bars and ticks."""
    with one_line_errors(), research_errors():
        for line in _history(history, data).summary():
            typer.echo(line)


@history_app.command("check")
def history_check(
    symbol: Symbol, start: Start = None, end: End = None, history: Folder = None, data: Data = None
) -> None:
    """Compare with the trading calendar. Exit code 1 when something has to be mended."""
    with one_line_errors(), research_errors():
        report = _history(history, data).check(symbol, start, end)
    typer.echo(repr(report))
    for line in report.lines():
        typer.echo(f"  {line}")
    raise typer.Exit(0 if report.ok else 1)


@history_app.command("import")
def history_import(
    path: Annotated[Path, typer.Argument(help="A .csv, .parquet, or vnpy's .db file.")],
    symbol: Annotated[str | None, typer.Option(help="The contract, when no column says it.")] = None,
    stamps: Annotated[str, typer.Option(help="Bars are stamped with their start, end, or auto.")] = "auto",
    column: Annotated[list[str] | None, typer.Option(help="close=px_last; repeat for more.")] = None,
    timezone: Annotated[str, typer.Option(help="Of times that carry no zone.")] = "Asia/Shanghai",
    drop_off_session: Annotated[bool, typer.Option(help="Leave out rows outside the trading hours.")] = False,
    replace: Replace = False,
    history: Folder = None,
    data: Data = None,
) -> None:
    """Bring in bars or ticks of other people's files."""
    with one_line_errors(), research_errors():
        for part in _history(history, data).import_file(
            path,
            symbol,
            stamps=stamps,
            columns={name: str(value) for name, value in _params(column or []).items()},
            timezone=timezone,
            off_session="drop" if drop_off_session else "refuse",
            replace=replace,
        ):
            typer.echo(repr(part))


@history_app.command("fill")
def history_fill(
    datafeed: Annotated[str, typer.Argument(help="vnpy_tqsdk, vnpy_rqdata, vnpy_tushare, ...")],
    symbol: Symbol,
    start: Start = None,
    end: End = None,
    username: Annotated[str, typer.Option(envvar="ARBIG_DATAFEED_USERNAME")] = "",
    password: Annotated[str, typer.Option(envvar="ARBIG_DATAFEED_PASSWORD")] = "",
    history: Folder = None,
    data: Data = None,
) -> None:
    """Bring the missing trading days from a vnpy datafeed."""
    with one_line_errors(), research_errors():
        days = _history(history, data).fill(datafeed, symbol, start, end, username=username, password=password)
    typer.echo(f"{symbol}: {len(days)} trading days written")


@history_app.command("generate")
def history_generate(
    symbol: Symbol,
    start: Start = None,
    end: End = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bars.")] = 1,
    ticks: Annotated[bool, typer.Option("--ticks", help="Ticks as well.")] = False,
    replace: Replace = False,
    history: Folder = None,
    data: Data = None,
) -> None:
    """Make bars of a contract: fat tails, lively opens, night gaps."""
    with one_line_errors(), research_errors():
        bars = _history(history, data).generate(symbol, start, end, seed, ticks, replace=replace)
    typer.echo(f"{symbol}: {len(bars)} bars, {bars.trading_day[0]} to {bars.trading_day[-1]}")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def ml(context: typer.Context) -> None:
    """Models: arbig ml train | serve | status | promote | card (the ml extra)."""
    from arbig.ml.cli import app as models

    models(context.args, prog_name="arbig ml")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def bench(context: typer.Context) -> None:
    """Measure latency, throughput and startup: arbig bench NAME [--json]."""
    from arbig.bench import app as benches

    benches(context.args, prog_name="arbig bench")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True}, add_help_option=False)
def alerts(context: typer.Context) -> None:
    """Who is told of halts, rejects, disconnects: arbig alerts list, arbig alerts test. 消息提醒。"""
    from arbig.alerts.commands import app as commands

    commands(context.args, prog_name="arbig alerts")


def _at_a_terminal() -> bool:
    """A person can answer; a script says --yes, or nothing."""
    return sys.stdin.isatty()


def _history(folder: Path | None, data: Path | None) -> History:
    from arbig.lab.desk import Desk

    return Desk(data=data, history=folder).history


def _params(given: list[str]) -> dict[str, Any]:
    """`fast_window=12` as YAML reads it."""
    import yaml

    words = [one.partition("=") for one in given]
    return {name.strip(): yaml.safe_load(value) for name, _, value in words}


def _settings(data: Path | None, config: Path | None = None, port_offset: int | None = None) -> Settings:
    from arbig.runtime.settings import load_settings

    return load_settings(config=config, data=data, port_offset=port_offset)


def _print_compliance(found: Mapping[str, Any]) -> None:
    from rich.table import Table

    typer.echo(
        f"{found['software']} {found['version']}  AppID {found['app_id'] or '-'}  "
        f"account {found['account_id']}  trading day {found['trading_day']}"
    )
    typer.echo(
        f"{found['orders']} orders, {found['cancels']} cancels; most messages in a second: "
        f"{found['most_messages_per_second']}; seconds with 10 or more: {found['busy_seconds']}"
    )
    table = Table(box=None, header_style="bold")
    names = [name for contract in found["contracts"][:1] for name in contract]
    for name in names:
        table.add_column(name.replace("_", " "), justify="left" if name == "symbol" else "right")
    for contract in found["contracts"]:
        table.add_row(*(str(contract[name]) for name in names))
    if names:
        _console().print(table)
    for code, count in found["denials"].items():
        typer.echo(f"denied: {code} {count}")


def _print_links(settings: Settings) -> None:
    from arbig.runtime import stack

    if not settings.runs_here("web"):
        typer.echo("Web is on another host; there: arbig links")
        return
    found = stack.links(settings)
    typer.echo("Each link logs in once; fresh ones: arbig links")
    typer.echo(f"  console     {found.console}")
    typer.echo(f"  JupyterLab  {found.notebooks}")


def _watch(settings: Settings) -> None:
    """The links and the table until Ctrl-C, then everything down."""
    from rich.live import Live

    from arbig.runtime import stack
    from arbig.runtime.status import house_status, services_of

    def look() -> Group:
        services = services_of(settings)
        return _picture(house_status(settings, services), services)

    pause = stack.interruption()
    try:
        _print_links(settings)
        typer.echo("Ctrl-C takes everything down.")
        with Live(look(), console=_console(), auto_refresh=False) as live:
            while not pause.wait(2.0):
                live.update(look(), refresh=True)
    finally:
        stack.down(settings)
        typer.echo("everything is down")


def _console() -> Any:
    """As wide as the terminal; into a file or a pipe the table goes unbroken."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def _picture(house: Mapping[str, Any], services: list[ServiceStatus]) -> Group:
    """One line about the market and the day, the table, and what a person must look at."""
    from rich.console import Group
    from rich.text import Text

    day = f" (trading day {house['trading_day']})" if house["trading_day"] else ""
    alarms = [Text(f"! {line}", style="red") for line in house["alarms"]]
    line = Text.assemble(
        "exchange ",
        (house["connection"], "green" if house["connection"] == "CONNECTED" else "red"),
        *_lamps(house["lamps"]),
        "  trading ",
        (house["trading_state"] or "UNKNOWN", "green" if house["trading_state"] == "ACTIVE" else "red"),
        f"  time {str(house['session_time'] or '-')[:19].replace('T', ' ')}{day}",
        f"  orders today {_known(house['orders_today'])}  trades today {_known(house['trades_today'])}",
    )
    return Group(line, _table(services), *(Text(f"  {words}") for words in house["flattens"]), *alarms)


def _lamps(lamps: Mapping[str, Any]) -> Iterator[str | tuple[str, str]]:
    """A broker's fronts, each on or off."""
    for name, lamp in lamps.items():
        yield f"  {name.replace('_', ' ')} front "
        yield ("on", "green") if lamp["on"] else ("off", "red")


def _known(count: int | None) -> str:
    return "-" if count is None else str(count)


def _table(services: list[ServiceStatus]) -> Table:
    from rich.table import Table

    columns = ("service", "pid", "port", "health", "uptime", "last heartbeat", "stream lag", "ticks/s")
    table = Table(box=None, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in NUMBERS else "left", no_wrap=True)
    for service in services:
        colour = "green" if service.healthy else "red"
        waits = f" (waits for {service.own['waits_for']})" if service.own.get("waits_for") else ""
        words = (
            service.name,
            service.pid,
            service.port,
            f"[{colour}]{service.state}{waits}[/{colour}]",
            _span(service.own.get("uptime")),
            str(service.own.get("heartbeat") or "")[11:19],
            service.lag,
            service.own.get("ticks_per_s"),
        )
        table.add_row(*("" if word is None else str(word) for word in words))
    return table


def _span(seconds: object) -> str:
    """93784 -> 1d 2h; 65 -> 1m 5s."""
    if not isinstance(seconds, (int, float)):
        return ""
    whole = int(seconds)
    parts = ((whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "m"), (whole % 60, "s"))
    first = next((place for place, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count}{unit}" for count, unit in parts[first : first + 2])
