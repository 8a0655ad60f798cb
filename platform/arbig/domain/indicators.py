"""Indicators: the lines a strategy wants beside its candles. A class declares them, or they are read from its text:

    indicators = {"fast": "sma(fast_window)", "slow": "sma(slow_window)", "channel": "boll(20, boll_dev)"}

A formula is a method of `ArrayManager` with numbers and names of the strategy's parameters. A strategy that declares
nothing (one written for vnpy) shows what it asks of its `ArrayManager`: `self.am.sma(self.fast_window)`. Its code is
never run for this.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from arbig.domain.arrays import Array, ArrayManager

ATTRIBUTE = "indicators"
ON_PRICES = frozenset({"sma", "ema", "kama", "wma", "boll", "keltner", "donchian", "sar"})
"""Drawn over the candles; every other one has a pane of its own."""
LINES: Mapping[str, tuple[str, ...]] = {
    "boll": ("upper", "lower"),
    "keltner": ("upper", "lower"),
    "donchian": ("upper", "lower"),
    "macd": ("macd", "signal", "difference"),
    "aroon": ("up", "down"),
    "stoch": ("%K", "%D"),
}

Argument = str | float | int


@dataclass(frozen=True)
class Formula:
    """`arguments`: numbers, or names of what the strategy is given or has."""

    label: str
    method: str
    arguments: tuple[Argument, ...]

    @property
    def on_prices(self) -> bool:
        return self.method in ON_PRICES

    @property
    def names(self) -> tuple[str, ...]:
        """Of its lines."""
        lines = LINES.get(self.method)
        return (self.label,) if lines is None else tuple(f"{self.label} {line}" for line in lines)


@dataclass(frozen=True)
class Wanted:
    """A strategy's formulas, the values its class gives to names, and what could not be read, a line each."""

    formulas: tuple[Formula, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Line:
    """A value per bar; NaN where there is none yet. `pane`: empty over the candles, else the method's name."""

    name: str
    pane: str
    values: Array


class FormulaError(ValueError):
    """One line: what was found, what is expected."""


def wanted_by(source: str, class_name: str) -> Wanted:
    """What a strategy's file says. A text that cannot be read has no indicators."""
    try:
        classes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    except (SyntaxError, ValueError) as error:
        return Wanted(problems=(f"{class_name}: its source cannot be read: {error}",))
    chain = list(_ancestry(classes, class_name))
    values = {name: node for one in reversed(chain) for name, node in _assigned(one)}
    defaults = {name: value for name, node in values.items() if (value := _number(node)) is not None}
    if ATTRIBUTE not in values:
        return Wanted(tuple(_asked(chain)), defaults)
    formulas, problems = _declared(values[ATTRIBUTE])
    return Wanted(tuple(formulas), defaults, tuple(problems))


def formula_of(label: str, text: str) -> Formula:
    """Raises FormulaError."""
    try:
        node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        node = None
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise FormulaError(f"{ATTRIBUTE}.{label}: found {text!r}, expected e.g. 'sma(fast_window)'")
    if node.func.id not in methods():
        raise FormulaError(f"{ATTRIBUTE}.{label}: {node.func.id!r} is no indicator of ArrayManager")
    made = _formula(label, node.func.id, node)
    if made is None:
        raise FormulaError(
            f"{ATTRIBUTE}.{label}: found {text!r}, expected {node.func.id}({', '.join(methods()[node.func.id])}), "
            f"each a number or a parameter's name"
        )
    return made


@cache
def methods() -> Mapping[str, tuple[str, ...]]:
    """The indicators there are, with the names of their arguments."""
    found = {name: inspect.signature(one) for name, one in vars(ArrayManager).items() if inspect.isfunction(one)}
    return {
        name: tuple(list(signature.parameters)[1:-1])
        for name, signature in found.items()
        if "array" in signature.parameters and not name.startswith("_")
    }


def drawn(wanted: Wanted, parameters: Mapping[str, Any], columns: Sequence[Array]) -> tuple[list[Line], list[str]]:
    """The lines over whole columns (open, high, low, close, volume, turnover, open interest); why one is missing."""
    bars = _Columns(columns)
    lines: list[Line] = []
    problems = list(wanted.problems)
    for formula in wanted.formulas:
        try:
            lines += _lines(bars, formula, {**wanted.defaults, **parameters})
        except Exception as error:  # TA-Lib raises Exception itself
            problems.append(f"{formula.label}: {error}")
    return lines, problems


class _Columns(ArrayManager):
    """Whole columns as if they were the window of the last bars."""

    def __init__(self, columns: Sequence[Array]) -> None:
        super().__init__(1)
        self._whole = columns

    def _column(self, name: int) -> Array:
        return self._whole[name]


def _lines(bars: ArrayManager, formula: Formula, values: Mapping[str, Any]) -> Iterator[Line]:
    arguments = [_value(argument, values) for argument in formula.arguments]
    made = getattr(bars, formula.method)(*arguments, array=True)
    pane = "" if formula.on_prices else formula.method
    several = made if isinstance(made, tuple) else (made,)
    shown = formula if formula.label != _label(formula) else replace(formula, label=_words(formula.method, arguments))
    for name, values_of_line in zip(shown.names, several, strict=True):
        yield Line(name, pane, values_of_line)


def _value(argument: Argument, values: Mapping[str, Any]) -> Any:
    if not isinstance(argument, str):
        return argument
    if argument not in values:
        raise FormulaError(f"{argument!r} is neither a number nor a parameter of the strategy")
    return values[argument]


# ---- reading a class's text


def _ancestry(classes: Mapping[str, ast.ClassDef], name: str) -> Iterator[ast.ClassDef]:
    """The class and those it stands on in the same file, nearest first."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop(0)
        if one in classes and one not in seen:
            seen.add(one)
            yield classes[one]
            waiting += [base.id for base in classes[one].bases if isinstance(base, ast.Name)]


def _assigned(node: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    for one in node.body:
        if isinstance(one, ast.Assign):
            yield from ((target.id, one.value) for target in one.targets if isinstance(target, ast.Name))
        elif isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and one.value is not None:
            yield one.target.id, one.value


def _declared(node: ast.expr) -> tuple[list[Formula], list[str]]:
    try:
        said = ast.literal_eval(node)
    except (ValueError, TypeError):
        said = None
    if not isinstance(said, dict) or not all(isinstance(word, str) for pair in said.items() for word in pair):
        return [], [f"{ATTRIBUTE}: expected names and formulas as text, e.g. {{'fast': 'sma(fast_window)'}}"]
    formulas: list[Formula] = []
    problems: list[str] = []
    for label, text in said.items():
        try:
            formulas.append(formula_of(label, text))
        except FormulaError as error:
            problems.append(str(error))
    return formulas, problems


def _asked(chain: Iterable[ast.ClassDef]) -> Iterator[Formula]:
    """What the methods of a class ask of an ArrayManager, each once."""
    seen: set[tuple[str, tuple[Argument, ...]]] = set()
    for one in chain:
        managers = _managers(one)
        calls = [node for node in ast.walk(one) if isinstance(node, ast.Call)]
        for call in calls:
            func = call.func
            if not isinstance(func, ast.Attribute) or func.attr not in methods():
                continue
            made = _formula("", func.attr, call) if ast.unparse(func.value) in managers else None
            if made is not None and (made.method, made.arguments) not in seen:
                seen.add((made.method, made.arguments))
                yield Formula(_label(made), made.method, made.arguments)


def _managers(node: ast.ClassDef) -> set[str]:
    """`self.am` of `self.am = ArrayManager()`, and `am` of `am = self.am`."""
    found: set[str] = set()
    pairs: list[tuple[ast.expr, ast.expr]] = []
    for one in ast.walk(node):
        if isinstance(one, ast.Assign):
            pairs += [(target, one.value) for target in one.targets]
        elif isinstance(one, ast.AnnAssign) and one.value is not None:
            pairs.append((one.target, one.value))
    for target, value in pairs:
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "ArrayManager":
            found.add(ast.unparse(target))
    return found | {ast.unparse(target) for target, value in pairs if ast.unparse(value) in found}


def _label(formula: Formula) -> str:
    return _words(formula.method, formula.arguments)


def _words(method: str, arguments: Sequence[Any]) -> str:
    return f"{method}({', '.join(map(str, arguments))})" if arguments else method


def _formula(label: str, method: str, call: ast.Call) -> Formula | None:
    """None when an argument is neither a number nor a name, or one is missing."""
    signature = inspect.signature(getattr(ArrayManager, method))
    keywords = {one.arg: one.value for one in call.keywords if one.arg is not None and one.arg != "array"}
    wanted = methods()[method]
    try:
        bound = signature.bind(None, *call.args[: len(wanted)], **keywords)
    except TypeError:
        return None
    bound.apply_defaults()
    given = [bound.arguments[name] for name in wanted]
    arguments = [_argument(one) if isinstance(one, ast.expr) else one for one in given]
    known = tuple(one for one in arguments if one is not None)
    return Formula(label, method, known) if len(known) == len(arguments) else None


def _argument(node: ast.expr) -> Argument | None:
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        return node.attr
    if isinstance(node, ast.Name):
        return node.id
    return _number(node)


def _number(node: ast.expr) -> float | int | None:
    try:
        found = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return None
    return found if isinstance(found, int | float) and not isinstance(found, bool) else None
