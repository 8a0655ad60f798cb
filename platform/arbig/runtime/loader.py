"""Loader: from the name of a strategy class to its file, and from the file to the class.

To look for names runs nothing; the class itself is made where the strategy runs.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.abc import Loader
from importlib.machinery import EXTENSION_SUFFIXES, SOURCE_SUFFIXES, ExtensionFileLoader, FileFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from arbig.domain.parameters import Limit, limits_of, type_of
from arbig.domain.template import BaseTemplate


class StrategyFault(Exception):
    """A strategy that cannot go on: the reason in one line, with the traceback where there is one."""

    def __init__(self, reason: str, traceback: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.traceback = traceback


class Misconfigured(StrategyFault):
    """Its file and its class do not fit."""


@dataclass(frozen=True)
class Source:
    """The file in which a strategy class stands, and what it says."""

    path: Path
    text: str

    @property
    def code_hash(self) -> str:
        return code_hash_of(self.text)


def code_hash_of(text: str) -> str:
    """SHA-256 of a source without what editors change by themselves: line ends, trailing blanks, blank lines around."""
    lines = [line.rstrip() for line in text.splitlines()]
    return hashlib.sha256(("\n".join(lines).strip("\n") + "\n").encode()).hexdigest()


def find_class(folder: Path, class_name: str) -> Source:
    """The file of `strategies/*.py` that defines the class. Raises Misconfigured, naming the nearest class."""
    known: dict[str, Path] = {}
    unreadable: list[str] = []
    for path in sorted(folder.glob("*.py")):
        if path.resolve().parent != folder.resolve():
            unreadable.append(f"{folder.name}/{path.name} leads out of the folder, to {path.resolve()}; copy it here")
            continue
        try:
            known |= {name: path for name in classes_in(path) if name not in known}
        except SyntaxError as error:
            unreadable.append(f"{folder.name}/{path.name}, line {error.lineno}: {error.msg}")
    if class_name in known:
        path = known[class_name]
        return Source(path, path.read_text(encoding="utf-8"))
    broken = f" (not readable: {'; '.join(unreadable)})" if unreadable else ""
    raise Misconfigured(
        f"found {class_name!r}, no such class in {folder.name}/*.py{broken}{suggest(class_name, known)}"
    )


def classes_in(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    return [node.name for node in tree.body if isinstance(node, ast.ClassDef)]


def suggest(name: str, known: Mapping[str, object] | list[str]) -> str:
    """`. Did you mean: fast_window?`, or the list of what there is."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    if close:
        return f". Did you mean: {close[0]}?"
    return f"; expected one of: {', '.join(known)}" if known else ""


class StrategyLoader(SourceFileLoader):
    """Runs a strategy file, or one beside it. One that was written for vnpy finds our names where it imports vnpy's.
    No bytecode is kept: the file may also be imported by vnpy itself."""

    def get_code(self, fullname: str) -> CodeType | None:
        if fullname.startswith("vnpy"):
            return super().get_code(fullname)  # vnpy's own package, imported by whoever compares us with it
        return _compiled(self.get_data(self.path), self.path)


def _compiled(text: bytes, path: str) -> CodeType:
    source: Any = text
    if b"vnpy" in text:
        from arbig.compat.rewriting import rewritten

        source = rewritten(text, path)
    code: CodeType = compile(source, path, "exec", dont_inherit=True)
    return code


_folders: set[str] = set()


def _beside_strategies(folder: str) -> FileFinder:
    """How Python finds what strategy files import from their own folder. ImportError for every other folder."""
    if not any(folder == known or folder.startswith(known + os.sep) for known in _folders):
        raise ImportError(folder)
    kinds: list[tuple[type[Loader], list[str]]] = [
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (StrategyLoader, SOURCE_SUFFIXES),
    ]
    return FileFinder(folder, *kinds)


def _open_folder(folder: str) -> None:
    """Files in the folder can be imported by the strategies there."""
    if _beside_strategies not in sys.path_hooks:
        sys.path_hooks.insert(0, _beside_strategies)
    if folder not in _folders:
        _folders.add(folder)
        sys.path_importer_cache.pop(folder, None)
    if folder not in sys.path:
        sys.path.insert(0, folder)


def load_class(path: Path, class_name: str) -> type[BaseTemplate]:
    """Run the file and take the class out of it. Files beside it can be imported. Raises Misconfigured."""
    found = getattr(load_file(path), class_name)
    if not (isinstance(found, type) and issubclass(found, BaseTemplate)):
        raise Misconfigured(
            f"{class_name} in {path.name} is no strategy: derive it from CtaTemplate or StrategyTemplate"
        )
    return found


def load_file(path: Path) -> ModuleType:
    """Run the file; from now on it is the module `strategies.{stem}`. What it raises passes through."""
    _open_folder(str(path.parent))
    name = f"strategies.{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path, loader=StrategyLoader(name, str(path)))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    vars(module)["__code_hash__"] = code_hash_of(path.read_text(encoding="utf-8"))
    sys.modules[name] = module
    with _words_about_vnpy():
        spec.loader.exec_module(module)
    return module


def try_text(text: str, path: Path) -> ModuleType:
    """Run a text as if it stood in the file, and leave nothing behind. What it raises passes through."""
    _open_folder(str(path.parent))
    module = ModuleType(f"strategies.{path.stem}")
    module.__file__ = str(path)
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module
    try:
        with _words_about_vnpy():
            exec(_compiled(text.encode(), str(path)), vars(module))
    finally:
        del sys.modules[module.__name__]
        if before is not None:
            sys.modules[module.__name__] = before
    return module


def strategies_of(module: ModuleType) -> dict[str, type[BaseTemplate]]:
    """The strategy classes that a file defines itself."""
    return {
        name: one
        for name, one in vars(module).items()
        if isinstance(one, type) and issubclass(one, BaseTemplate) and one.__module__ == module.__name__
    }


@contextmanager
def _words_about_vnpy() -> Iterator[None]:
    try:
        yield
    except (ImportError, ValueError) as error:
        if not _is_about_vnpy(error):
            raise
        raise Misconfigured(str(error)) from error


def _is_about_vnpy(error: Exception) -> bool:
    rewriting = sys.modules.get("arbig.compat.rewriting")
    if rewriting is None:
        return False
    return isinstance(error, rewriting.NotWithUs) or rewriting.is_vnpy(getattr(error, "name", None))


KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "an integer"),
    float: ((int, float), "a number"),
    str: ((str,), "text"),
    list: ((list,), "a list"),
    dict: ((dict,), "keys and values"),
}


def check_params(kind: type[BaseTemplate], params: Mapping[str, Any]) -> None:
    """Unknown, missing or ill-typed parameters, and values outside what the class allows (`domain/parameters.py`),
    raise Misconfigured with the line that mends them."""
    for name in params:
        if name not in kind.parameters:
            raise Misconfigured(f"params.{name}: unknown parameter of {kind.__name__}{suggest(name, kind.parameters)}")
    for name in kind.parameters:
        if name not in params and not hasattr(kind, name):
            raise Misconfigured(f"params.{name}: missing, {kind.__name__} gives it no default; write e.g. {name}: 1")
    limits = limits_of(kind)
    for name, value in params.items():
        default = getattr(kind, name, None)
        said = _kind_of(kind, name, default)
        allowed, words = KINDS.get(said, ((object,), ""))
        wrong_flag = isinstance(value, bool) and said is not bool
        if not isinstance(value, allowed) or (words and wrong_flag):
            example = 1 if default is None else default
            raise Misconfigured(f"params.{name}: found {value!r}, expected {words}; write e.g. {name}: {example}")
        limit = limits.get(name)
        if limit is not None and not _allows(limit, value):
            mend = _mend(limit, value, default)
            raise Misconfigured(f"params.{name}: found {value!r}, expected {limit.words}; write e.g. {name}: {mend}")


def check_defaults(kind: type[BaseTemplate]) -> list[str]:
    """Defaults that the class itself does not allow."""
    return [
        f"{kind.__name__}.{name}: default {default!r} is not {limit.words}; write {name} = {limit.nearest(default)!r}"
        for name, limit in limits_of(kind).items()
        if (default := getattr(kind, name, None)) is not None and not _allows(limit, default)
    ]


def _allows(limit: Limit, value: Any) -> bool:
    try:
        return limit.allows(value)
    except TypeError:
        return False


def _mend(limit: Limit, value: Any, default: Any) -> Any:
    if default is not None and _allows(limit, default):
        return default
    try:
        return limit.nearest(value)
    except TypeError:
        return default


def _kind_of(kind: type[BaseTemplate], name: str, default: object) -> type:
    """What a parameter is: its default's type, except that `width: float = 5` is a number, and that one without a
    default is what its annotation says."""
    said = type_of(kind, name)
    if said is not None and (default is None or (type(default) is int and said is float)):
        return said
    return type(default)
