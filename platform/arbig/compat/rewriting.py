"""Rewriting: a strategy file for vnpy is read as it is; its imports of vnpy are turned into imports of ours.

Only the syntax tree changes, never the file, and every line keeps its number. A name that we have not becomes an
ImportError at its place, so that `try: ... except ImportError:` works as its author meant it; one that the file never
uses is left out.
"""

from __future__ import annotations

import ast
import difflib
from enum import StrEnum
from pathlib import PurePath

from arbig.compat import vnpy
from arbig.domain.messages import Direction, Exchange, Interval, Offset, OrderType, Status
from arbig.domain.template import EnginePort

HOME = "arbig.compat.vnpy"
ENUMS = {kind.__name__: kind for kind in (Direction, Exchange, Interval, Offset, OrderType, Status)}

_KEEP = "name it in `variables` and call sync_data(): the house keeps it over restarts"
_DESK = "backtest in a notebook: Desk().backtest(...)"
_LEVEL = "ticks here have one level: bid_price_1, ask_price_1, bid_volume_1, ask_volume_1"
INSTEAD = {
    "AccountData": "a strategy sees its own position (self.pos), never the account",
    "BacktestingEngine": _DESK,
    "BacktestingMode": _DESK,
    "ContractData": "use self.get_pricetick() and self.get_size()",
    "EventEngine": "a strategy gets its events through its callbacks (on_tick, on_bar, on_trade, ...)",
    "HistoryRequest": "use self.load_bar(days)",
    "MainEngine": "a strategy speaks through its own methods (buy, sell, get_pricetick, get_size, load_bar, ...)",
    "OptimizationSetting": "search parameters in a notebook: Desk().sweep(...)",
    "SETTINGS": "settings are in config/*.yaml",
    "SpreadStrategyTemplate": "use StrategyTemplate with the legs in `symbols`",
    "get_database": "use self.load_bar(days)",
    "get_datafeed": "use self.load_bar(days)",
    "get_file_path": _KEEP,
    "get_folder_path": _KEEP,
    "load_json": _KEEP,
    "save_json": _KEEP,
    "TEMP_DIR": _KEEP,
    "TRADER_DIR": _KEEP,
}
ATTRIBUTES = {
    "main_engine": INSTEAD["MainEngine"],
    "event_engine": INSTEAD["EventEngine"],
    **{
        f"{side}_{what}_{level}": _LEVEL
        for side in ("bid", "ask")
        for what in ("price", "volume")
        for level in range(2, 6)
    },
}
ENGINES = frozenset({"cta_engine", "strategy_engine"})
ENGINE_WORDS = sorted(name for name in vars(EnginePort) if not name.startswith("_"))
# vnpy's CTA engine takes the contract from the strategy; ours is told it
TOLD_THE_CONTRACT = {"send_order": 8, "get_pricetick": 1, "get_size": 1}  # arguments with vnpy


class NotWithUs(ValueError):
    """A vnpy name that does not exist here: file, line, the name and what to use."""


def is_vnpy(module: str | None) -> bool:
    """`vnpy`, `vnpy.trader.object`, `vnpy_ctastrategy`, `vnpy_ctp`, ..."""
    root = (module or "").partition(".")[0]
    return root == "vnpy" or root.startswith("vnpy_")


def instead_of(name: str) -> str:
    """Why a name is not there, and what to use."""
    close = difflib.get_close_matches(name, vnpy.__all__, n=1, cutoff=0.8)
    there = f"did you mean {close[0]}?" if close else f"what there is: {', '.join(vnpy.__all__)}"
    return f"vnpy's {name} does not exist here; {INSTEAD.get(name, there)}"


def rewritten(source: bytes | str, filename: str) -> ast.Module:
    """The syntax tree of a strategy file with its vnpy imports turned into ours. Raises SyntaxError as Python does, and
    NotWithUs for an attribute or a member of an enumeration that vnpy has and we have not."""
    tree = ast.parse(source, filename)
    if not any(map(_imports_vnpy, ast.walk(tree))):
        return tree
    tree.body = [statement for statement in tree.body if not _is_main_block(statement)]
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    Rewriter(PurePath(filename).name, names | _exported(tree)).visit(tree)
    return ast.fix_missing_locations(tree)


class Rewriter(ast.NodeTransformer):
    """`used`: the names that the file reads; what it imports and never reads is not asked for."""

    def __init__(self, file: str, used: set[str]) -> None:
        self.file = file
        self.used = used
        self.enums: dict[str, type[StrEnum]] = {}

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        found: list[ast.stmt] = []
        for alias in node.names:
            if not is_vnpy(alias.name):
                found.append(ast.Import([alias]))
            elif alias.name in vnpy.FACES:
                found.append(ast.Import([ast.alias(HOME, _bound(alias))]))
            elif _bound(alias) in self.used:
                found.append(self._refusal(node, alias.name, alias.name))
        return self._placed(node, found)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt | list[ast.stmt]:
        if node.level or node.module is None or not is_vnpy(node.module):
            return node
        ours: list[ast.alias] = []
        missing: list[ast.stmt] = []
        for alias in node.names:
            if self._is_ours(node.module, alias.name):
                ours.append(alias)
                if alias.name in ENUMS:
                    self.enums[_bound(alias)] = ENUMS[alias.name]
            elif _bound(alias) in self.used or alias.name == "*":
                missing.append(self._refusal(node, node.module, alias.name))
        return self._placed(node, [ast.ImportFrom(HOME, ours, 0), *missing] if ours else missing)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        owner = node.value
        if isinstance(owner, ast.Name) and owner.id in self.enums and not hasattr(self.enums[owner.id], node.attr):
            members = ", ".join(f"{owner.id}.{member}" for member in self.enums[owner.id].__members__)
            raise NotWithUs(self._line(node, f"{owner.id}.{node.attr} does not exist here; what there is: {members}"))
        if node.attr in ATTRIBUTES and not (isinstance(owner, ast.Name) and owner.id == "self"):
            raise NotWithUs(self._line(node, f"vnpy's .{node.attr} does not exist here; {ATTRIBUTES[node.attr]}"))
        if isinstance(owner, ast.Attribute) and owner.attr in ENGINES and node.attr not in ENGINE_WORDS:
            words = f"{owner.attr}.{node.attr} does not exist here; what there is: {', '.join(ENGINE_WORDS)}"
            raise NotWithUs(self._line(node, words))
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """`self.cta_engine.get_size(self)` -> `self.cta_engine.get_size(self, self.vt_symbol)`."""
        function = node.func
        if (
            isinstance(function, ast.Attribute)
            and isinstance(function.value, ast.Attribute)
            and function.value.attr == "cta_engine"
            and node.args
            and len(node.args) + len(node.keywords) == TOLD_THE_CONTRACT.get(function.attr)
        ):
            node.args.insert(1, ast.Attribute(node.args[0], "vt_symbol", ast.Load()))
        return self.generic_visit(node)

    def _is_ours(self, module: str, name: str) -> bool:
        if name == "*":
            return module in vnpy.FACES
        return name in vnpy.__all__ or f"{module}.{name}" in vnpy.FACES

    def _refusal(self, node: ast.stmt, module: str, name: str) -> ast.stmt:
        """`raise ImportError("my.py, line 3: ...", name="vnpy.trader.engine")`."""
        words = ast.Constant(self._line(node, instead_of(name if name != "*" else module)))
        call = ast.Call(ast.Name("ImportError", ast.Load()), [words], [ast.keyword("name", ast.Constant(module))])
        return ast.Raise(call)

    def _line(self, node: ast.stmt | ast.expr, words: str) -> str:
        return f"{self.file}, line {node.lineno}: {words}"

    def _placed(self, node: ast.stmt, statements: list[ast.stmt]) -> list[ast.stmt]:
        """At the place of the old statement, which may have been the only one of its block."""
        return [ast.copy_location(statement, node) for statement in statements or [ast.Pass()]]


def _bound(alias: ast.alias) -> str:
    """The name that an import gives its file."""
    return alias.asname or alias.name.partition(".")[0]


def _imports_vnpy(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(is_vnpy(alias.name) for alias in node.names)
    return isinstance(node, ast.ImportFrom) and not node.level and is_vnpy(node.module)


def _is_main_block(statement: ast.stmt) -> bool:
    """`if __name__ == "__main__":`, which is never true for a strategy that is loaded."""
    return (
        isinstance(statement, ast.If)
        and not statement.orelse
        and ast.unparse(statement.test) in ("__name__ == '__main__'", "'__main__' == __name__")
    )


def _exported(tree: ast.Module) -> set[str]:
    """The names in `__all__`."""
    lists = [node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"]
    return {str(item.value) for one in lists for item in ast.walk(one) if isinstance(item, ast.Constant)}
