"""Catalogue: the strategy classes of `strategies/*.py`, with their parameters. Read as text: nothing is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from arbig.runtime.loader import code_hash_of

Kind = Literal["integer", "number", "flag", "text", "other"]
KINDS: Mapping[type, Kind] = {bool: "flag", int: "integer", float: "number", str: "text"}
TEMPLATES = frozenset({"CtaTemplate", "StrategyTemplate", "TargetPosTemplate"})
SEVERAL = "StrategyTemplate"


class Parameter(msgspec.Struct, frozen=True):
    """`default`: None where the class gives none, or one that only running it would tell. `limit`: what the class says
    its values may be, as it stands there: `Range(2, 200)`."""

    name: str
    kind: Kind
    default: Any = None
    limit: str = ""


class StrategyClass(msgspec.Struct, frozen=True):
    """`several`: it trades more than one contract. `error`: why its file cannot be read."""

    class_name: str
    file: str
    parameters: list[Parameter] = []
    several: bool = False
    about: str = ""
    code_hash: str = ""
    error: str = ""


def catalogue(folder: Path) -> list[StrategyClass]:
    return [one for path in sorted(folder.glob("*.py")) for one in _of_file(path)]


def _of_file(path: Path) -> Iterator[StrategyClass]:
    try:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text, str(path))
    except (SyntaxError, ValueError, OSError) as error:
        line = f", line {error.lineno}: {error.msg}" if isinstance(error, SyntaxError) else f": {error}"
        yield StrategyClass("", path.name, error=f"strategies/{path.name}{line}")
        return
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    for node in classes.values():
        chain = list(_ancestry(node, classes))
        roots = {base for one in chain for base in _bases(one)} & TEMPLATES
        if not roots:
            continue
        values = {name: value for one in reversed(chain) for name, value in _assigned(one)}
        yield StrategyClass(
            node.name,
            path.name,
            _parameters(values),
            SEVERAL in roots,
            (ast.get_docstring(node) or ast.get_docstring(tree) or "").partition("\n")[0],
            code_hash_of(text),
        )


def _ancestry(node: ast.ClassDef, classes: Mapping[str, ast.ClassDef]) -> Iterator[ast.ClassDef]:
    yield node
    for base in _bases(node):
        if base in classes and classes[base] is not node:
            yield from _ancestry(classes[base], {name: one for name, one in classes.items() if one is not node})


def _bases(node: ast.ClassDef) -> list[str]:
    return [base.attr if isinstance(base, ast.Attribute) else base.id for base in node.bases
            if isinstance(base, ast.Name | ast.Attribute)]  # fmt: skip


def _assigned(node: ast.ClassDef) -> Iterator[tuple[str, tuple[str, Any]]]:
    """Name, annotation and value of what the class body sets."""
    for one in node.body:
        if isinstance(one, ast.Assign):
            for target in one.targets:
                if isinstance(target, ast.Name):
                    yield target.id, ("", _literal(one.value))
        elif isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            yield one.target.id, (ast.unparse(one.annotation), _literal(one.value))


def _literal(node: ast.expr | None) -> Any:
    try:
        return None if node is None else ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return None


def _parameters(values: Mapping[str, tuple[str, Any]]) -> list[Parameter]:
    _, names = values.get("parameters", ("", []))
    known = names if isinstance(names, list) else []
    return [_parameter(name, *values.get(name, ("", None))) for name in known if isinstance(name, str)]


def _parameter(name: str, annotation: str, default: Any) -> Parameter:
    by_word: Mapping[str, Kind] = {one.__name__: kind for one, kind in KINDS.items()}
    word, limit = annotation, ""
    if annotation.startswith("Annotated["):
        word, _, limit = annotation.removeprefix("Annotated[").removesuffix("]").partition(", ")
    return Parameter(name, by_word.get(word) or KINDS.get(type(default), "other"), default, limit)
