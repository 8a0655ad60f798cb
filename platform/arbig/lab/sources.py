"""Sources: a strategy class as text that another process can run, wherever the class was written.

A class at the top of a file is that file. One from a notebook cell, from a script or from inside a function becomes a
file of its own: its definition, and before it the names it uses, each as an import, a definition or a constant.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import linecache
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from arbig.backtest.plan import PlanError
from arbig.domain.template import BaseTemplate

HEADER = "from __future__ import annotations\n"


@dataclass(frozen=True)
class StrategySource:
    """`text` defines `class_name`; `beside` is the folder whose files it may import."""

    class_name: str
    text: str
    beside: str

    @property
    def code_hash(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def source_of(kind: type[BaseTemplate]) -> StrategySource:
    """The class as text. Raises PlanError, one line, when its source is not there or uses what cannot be written."""
    path = getattr(sys.modules.get(kind.__module__), "__file__", None)
    own_file = kind.__module__ != "__main__" and kind.__qualname__ == kind.__name__ and path is not None
    if own_file and Path(str(path)).is_file():
        return StrategySource(kind.__name__, Path(str(path)).read_text(encoding="utf-8"), str(Path(str(path)).parent))
    return StrategySource(kind.__name__, "\n\n".join([HEADER, *_Writer().written(kind)]) + "\n", str(Path.cwd()))


class _Writer:
    """Writes each definition once, after those it needs."""

    def __init__(self) -> None:
        self._seen: dict[str, object] = {}
        self._parts: list[str] = []

    def written(self, kind: type) -> list[str]:
        self._define(kind.__name__, kind)
        return self._parts

    def _define(self, name: str, found: type | FunctionType) -> None:
        node, text = _definition(found)
        names = _namespace(found)
        for used in _used(node):
            if used != name and used in names:
                self._write(used, names[used], found)
        self._parts.append(text if node.name == name else f"{text}\n{name} = {node.name}")

    def _write(self, name: str, value: object, user: type | FunctionType) -> None:
        if name in self._seen:
            if self._seen[name] is not value:
                raise PlanError(f"{user.__name__}: the name {name!r} means two things; give one of them another name")
            return
        self._seen[name] = value
        if isinstance(value, ModuleType):
            self._parts.append(f"import {value.__name__} as {name}")
        elif _importable(value):
            self._parts.append(f"from {value.__module__} import {value.__qualname__} as {name}")  # type: ignore[attr-defined]
        elif isinstance(value, (type, FunctionType)):
            self._define(name, value)
        elif _is_constant(value):
            self._parts.append(f"{name} = {value!r}")
        else:
            raise PlanError(
                f"{user.__name__}: uses {name!r} ({type(value).__name__}), which another process cannot be given; "
                f"make it a parameter, or put the class into a file in strategies/"
            )


def _definition(found: type | FunctionType) -> tuple[ast.ClassDef | ast.FunctionDef, str]:
    """The node that defines a class or function, and its text without indentation."""
    for lines, near in _texts(found):
        tree = _parsed(lines)
        nodes = [
            node
            for node in ast.walk(tree)
            if isinstance(node, (ast.ClassDef, ast.FunctionDef))
            and node.name == found.__name__
            and (near is None or _first_line(node) <= near <= (node.end_lineno or 0))
        ]
        if nodes:
            node = nodes[-1]
            text = lines[_first_line(node) - 1 : node.end_lineno]
            indent = len(text[0]) - len(text[0].lstrip())
            return node, "".join(line[indent:] if line[:indent].isspace() else line for line in text).rstrip()
    raise PlanError(f"{found.__name__}: its source is not there; put the class into a file in strategies/")


def _texts(found: type | FunctionType) -> Iterator[tuple[list[str], int | None]]:
    """Where the definition may stand: the file or cell of its code with a line inside it, else any cell, newest
    first."""
    members = [found] if isinstance(found, FunctionType) else list(vars(found).values())
    plain = [getattr(one, "__func__", one) for one in members]
    codes = [one.__code__ for one in plain if isinstance(one, FunctionType)]
    for code in codes:
        if lines := linecache.getlines(code.co_filename):
            yield lines, code.co_firstlineno
    path = getattr(sys.modules.get(found.__module__), "__file__", None)
    cells = [name for name in linecache.cache if "ipykernel" in name or name.startswith("<ipython")]
    for name in [*([str(path)] if path else []), *reversed(cells)]:
        if lines := linecache.getlines(name):
            yield lines, None


def _parsed(lines: list[str]) -> ast.Module:
    try:
        return ast.parse("".join(lines))
    except SyntaxError:
        return ast.Module(body=[], type_ignores=[])


def _first_line(node: ast.ClassDef | ast.FunctionDef) -> int:
    return min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])


def _used(node: ast.AST) -> list[str]:
    """Names read anywhere in a definition, in the order of reading."""
    names = (one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load))
    return [name for name in dict.fromkeys(names) if not hasattr(builtins, name)]


def _namespace(found: type | FunctionType) -> dict[str, Any]:
    """What the names of a definition mean: its module's globals, the variables around it, its base classes."""
    members = [found] if isinstance(found, FunctionType) else [getattr(x, "__func__", x) for x in vars(found).values()]
    functions = [one for one in members if isinstance(one, FunctionType)]
    names: dict[str, Any] = dict(vars(sys.modules.get(found.__module__, builtins)))
    for function in functions:
        names |= function.__globals__
    if isinstance(found, type):
        names |= {base.__name__: base for base in found.__mro__[1:-1] if base.__name__ not in names}
    for function in functions:
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        names |= {name: cell.cell_contents for name, cell in cells if name != "__class__"}
    return names


def _importable(value: object) -> bool:
    """Whether `from its module import its name` gives it again in another process."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module == "__main__" or "." in name:
        return False
    place = sys.modules.get(module)
    return getattr(place, "__spec__", None) is not None and getattr(place, name, None) is value


def _is_constant(value: object) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError, TypeError):
        return False
