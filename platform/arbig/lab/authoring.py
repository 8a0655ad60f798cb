"""Authoring: a notebook cell becomes a strategy file. It is tried first: a refusal leaves file and kernel as they were.

What a cell replaces is shown as a diff and laid aside under `data/strategies/replaced/`.
"""

from __future__ import annotations

import ast
import difflib
import traceback
from dataclasses import dataclass
from pathlib import Path

from arbig.domain.template import BaseTemplate, CtaTemplate, StrategyTemplate
from arbig.runtime.clock import WallClock
from arbig.runtime.deployment import REPLACED
from arbig.runtime.files import lay_aside, write_whole
from arbig.runtime.loader import StrategyFault, check_defaults, code_hash_of, load_class, strategies_of, try_text
from arbig.runtime.settings import Settings

HEARS = ("on_bar", "on_bars", "on_tick")
DIFF_LINES = 60


class Refused(ValueError):
    """Why the cell was not saved: the line, what was found, what mends it."""


@dataclass(frozen=True)
class Saved:
    """A cell that is a file now. `told` is what its author reads."""

    kind: type[BaseTemplate]
    path: Path
    told: str


def save(settings: Settings, line: str, cell: str) -> Saved:
    """`%%strategy NAME`. Raises Refused, and then nothing has changed."""
    name = line.strip()
    if not name.isidentifier():
        raise Refused(f"%%strategy: found {name!r}, expected the name of a file; write e.g. %%strategy ma_rsi")
    path = settings.root / "strategies" / f"{name}.py"
    text = cell.rstrip() + "\n"
    class_name, warnings = checked(text, path)
    before = path.read_text(encoding="utf-8") if path.exists() else None
    if before != text:
        lay_aside(path, settings.data / REPLACED, WallClock().now())
        write_whole(path, text)
    return Saved(load_class(path, class_name), path, _told(name, class_name, before, text, warnings))


def checked(text: str, path: Path) -> tuple[str, list[str]]:
    """The name of the one strategy in the text, and what is odd about it. Raises Refused."""
    try:
        ast.parse(text)
    except SyntaxError as error:
        shown = (error.text or "").rstrip()
        raise Refused(f"line {error.lineno}: {error.msg}\n    {shown.strip()}") from None
    try:
        found = strategies_of(try_text(text, path))
    except StrategyFault as fault:
        raise Refused(fault.reason) from None
    except Exception as error:
        raise Refused(_where(error, path)) from None
    if len(found) != 1:
        names = ", ".join(found) or "none"
        raise Refused(
            f"expected one strategy in the cell, found {names}; "
            + ("give each a cell of its own" if found else "derive a class from CtaTemplate or StrategyTemplate")
        )
    ((class_name, kind),) = found.items()
    faults = faults_of(kind)
    if faults:
        raise Refused("; ".join(faults))
    return class_name, warnings_of(kind)


def faults_of(kind: type[BaseTemplate]) -> list[str]:
    """What keeps a class from being a strategy."""
    found = [
        f"{kind.__name__}.variables: {name!r} has no default; write {name} = 0 in the class"
        for name in kind.variables
        if not hasattr(kind, name)
    ]
    if not any(_overrides(kind, name) for name in HEARS):
        found.append(f"{kind.__name__} hears nothing; define on_bar(self, bar) or on_tick(self, tick)")
    return found + check_defaults(kind)


def warnings_of(kind: type[BaseTemplate]) -> list[str]:
    """Callbacks that look like a slip of the pen: nobody calls them."""
    known = sorted({name for one in (CtaTemplate, StrategyTemplate) for name in dir(one) if name.startswith("on_")})
    own = [name for name in vars(kind) if name.startswith("on_") and name not in known and not name.endswith("_bar")]
    close = {name: difflib.get_close_matches(name, known, n=1, cutoff=0.8) for name in own}
    return [f"nobody calls {name}; did you mean {near[0]}?" for name, near in close.items() if near]


def _overrides(kind: type[BaseTemplate], name: str) -> bool:
    return any(name in vars(one) for one in kind.__mro__ if not one.__module__.startswith("arbig."))


def _where(error: Exception, path: Path) -> str:
    """The error with the line of the cell it came from."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    line = f"line {own[-1].lineno}: " if own else ""
    mend = f"; install it: uv pip install {error.name}" if isinstance(error, ModuleNotFoundError) and error.name else ""
    return f"{line}{type(error).__name__}: {error}{mend}"


def _told(name: str, class_name: str, before: str | None, text: str, warnings: list[str]) -> str:
    what = "new" if before is None else "unchanged" if before == text else "replaced"
    lines = [f"strategies/{name}.py: {what} · {class_name} · code {code_hash_of(text)[:12]}"]
    if before is not None and before != text:
        diff = list(difflib.unified_diff(before.splitlines(), text.splitlines(), "before", "now", lineterm="", n=1))
        lines += diff[:DIFF_LINES]
        if len(diff) > DIFF_LINES:
            lines.append(f"... {len(diff) - DIFF_LINES} more lines")
    return "\n".join([*lines, *(f"warning: {warning}" for warning in warnings)])
