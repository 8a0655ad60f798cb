"""Configuration files: YAML checked by a model; what is wrong is said in one line with the line that mends it."""

from __future__ import annotations

import difflib
import os
import re
import shutil
from collections.abc import Hashable, Sequence
from datetime import datetime
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticUndefined

try:
    from yaml import CSafeLoader as LibyamlLoader
except ImportError:
    from yaml import SafeLoader as LibyamlLoader  # type: ignore[assignment]


class SettingsError(ValueError):
    """One line: file, field, found, expected, mend."""


class Config(BaseModel):
    """A file of ours, or a part of one: frozen, and a key that nobody reads is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


C = TypeVar("C", bound=BaseModel)


def write_whole(path: Path, text: str) -> None:
    """The whole text or nothing of it, whenever the machine stops."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.fresh")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def lay_aside(path: Path, folder: Path, now: datetime) -> Path:
    """A copy of the file, if there is one, under a name of its own; where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"{path.stem}-{now:%Y%m%dT%H%M%S.%f}{path.suffix}"
    if path.exists():
        shutil.copy2(path, target)
    return target


def load_yaml_model(path: Path, model: type[C]) -> C:
    """Read and check one file. A file that is not there is an empty one: its model's defaults, or its first missing
    key. `${env:NAME}` and `${file:PATH}` in a value stand for a secret kept elsewhere."""
    try:
        values = _with_secrets(read_yaml(path), path)
    except FileNotFoundError:
        values = {}
    return validated(values, path, model)


def validated(values: Any, path: Path, model: type[C]) -> C:
    """The values of a file as its model. Raises SettingsError, one line."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise SettingsError(f"{shown(path)}: {explain(_first(error.errors()), model, values)}") from None


def _first(errors: list[ErrorDetails]) -> ErrorDetails:
    """A key nobody knows explains the missing one beside it, so it is told first."""
    return next((error for error in errors if error["type"] == "extra_forbidden"), errors[0])


def read_yaml(path: Path) -> Any:
    """The file's values, `{}` when it is empty. Raises SettingsError that names file and line, FileNotFoundError."""
    try:
        text = path.read_text(encoding="utf-8")
        values = _parsed(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise SettingsError(f"{shown(path)}: {place}not YAML: {error.problem}; write key: value lines") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{shown(path)}: not a YAML file in UTF-8: {str(error).splitlines()[0]}") from None
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SettingsError(f"{shown(path)}: cannot be read: {error.strerror}") from None
    return {} if values is None else values


def shown(path: Path) -> str:
    """`config/risk.yaml`: the file as a person finds it."""
    return f"{path.parent.name}/{path.name}" if path.parent.name != "strategies" else f"config/strategies/{path.name}"


class _KeysOnce(yaml.constructor.SafeConstructor):
    """Refuses a key written twice instead of keeping the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} stands twice", key.start_mark)
            seen.add(str(key.value))
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping


class _Loader(_KeysOnce, yaml.SafeLoader):
    pass


class _QuickLoader(_KeysOnce, LibyamlLoader):
    pass


def _parsed(text: str) -> Any:
    """Much faster by libyaml, where it is built in; what that refuses is read again by the loader that says more."""
    try:
        return yaml.load(text, _QuickLoader)  # noqa: S506 - a SafeLoader
    except yaml.YAMLError:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader


_SECRET = re.compile(r"^\$\{(env|file):(.+)\}$")


def _with_secrets(value: Any, path: Path) -> Any:
    if isinstance(value, dict):
        return {key: _with_secrets(item, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_secrets(item, path) for item in value]
    found = _SECRET.match(value) if isinstance(value, str) else None
    if found is None:
        return value
    kind, name = found.groups()
    try:
        return os.environ[name] if kind == "env" else Path(name).expanduser().read_text().strip()
    except KeyError:
        raise SettingsError(
            f"{shown(path)}: {value}: no such environment variable; write e.g. export {name}=..."
        ) from None
    except OSError as error:
        raise SettingsError(f"{shown(path)}: {value}: {error.strerror}; write the secret into {name}") from None


EXPECTED = {
    "int_parsing": "an integer",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "decimal_parsing": "a number",
    "decimal_type": "a number",
    "string_type": "text",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "mapping_type": "keys and values",
    "date_type": "a date such as 2025-10-09",
    "date_parsing": "a date such as 2025-10-09",
    "date_from_datetime_parsing": "a date such as 2025-10-09",
    "time_type": "a time such as 02:30",
    "time_parsing": "a time such as 02:30",
}
BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "too_short": ("min_length", "a list of at least"),
    "string_too_short": ("min_length", "text of at least length"),
    "string_too_long": ("max_length", "text of at most length"),
}
BY_TYPE: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    str: "text",
    bool: "true or false",
    list: "a list",
    dict: "keys and values",
}
EXAMPLES: dict[Any, str] = {int: "1", float: "1.0", str: "text", bool: "true", list: "[...]"}


def explain(error: ErrorDetails, model: type[BaseModel], values: Any) -> str:
    """One pydantic error as `field: found, expected; write e.g. field: value`."""
    place = [part for part in error["loc"] if not _is_tag(part)]
    dotted = ".".join(str(part) for part in place)
    kind, found = error["type"], error["input"]
    if kind == "extra_forbidden":
        return f"{dotted}: unknown key{_did_you_mean(str(place[-1]), _names(_model_at(model, place[:-1])))}"
    if kind in ("value_error", "assertion_error"):
        return f"{dotted}: {error['msg'].split(', ', 1)[-1]}".removeprefix(": ")
    if not place:
        return f"found {_shown(values)}, expected {_expectation(error, None)}; write key: value lines"
    field = _field_at(model, place)
    mend = f"; write e.g. {_key(place)}{_example(error, field)}"
    if kind == "missing":
        return f"{dotted}: missing, expected {_type_name(field)}{mend}"
    found = "***" if "password" in dotted else _shown(found)
    return f"{dotted}: found {found}, expected {_expectation(error, field)}{mend}"


def _is_tag(part: int | str) -> bool:
    return isinstance(part, str) and ("[" in part or part in ("int", "float", "str", "bool"))


def _key(place: Sequence[int | str]) -> str:
    return f"{place[-1]}: " if isinstance(place[-1], str) else "- "


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, (dict, list)) else f"{type(value).__name__} {value!r}"
    return text if len(text) <= 80 else text[:77] + "..."


def _expectation(error: ErrorDetails, field: FieldInfo | None) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in ("literal_error", "enum"):
        return f"one of {context['expected']}"
    if kind in BOUNDS:
        name, words = BOUNDS[kind]
        return f"{words} {context[name]}"
    if kind == "string_pattern_mismatch":
        return f"text like {context['pattern']}"
    return EXPECTED.get(kind) or (_type_name(field) if field else error["msg"].lower())


def _example(error: ErrorDetails, field: FieldInfo | None) -> str:
    if error["type"] == "string_type" and isinstance(error["input"], (int, float)):
        return '"..."'
    if field is not None and field.examples:
        return _yaml(field.examples[0])
    if field is not None and field.default not in (PydanticUndefined, None, ""):
        return _yaml(field.default)
    if error["type"] in ("literal_error", "enum"):
        return str(error["ctx"]["expected"]).split(" or ")[0].split(",")[0].strip("'")
    if error["type"] in BOUNDS and "length" not in BOUNDS[error["type"]][0]:
        return str(error["ctx"][BOUNDS[error["type"]][0]])
    inner = _models_in(field.annotation) if field is not None else []
    if inner:
        return "{" + ", ".join(f"{name}: ..." for name in inner[0].model_fields) + "}"
    return EXAMPLES.get(_plain(field.annotation), "...") if field is not None else "..."


def _yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True)
    return text.splitlines()[0]


def _type_name(field: FieldInfo | None) -> str:
    kind = _plain(field.annotation) if field else None
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "keys and values"
    return BY_TYPE.get(kind, "a value") if kind else "a value"


def _plain(annotation: Any) -> Any:
    """`list[str] | None` -> list."""
    if get_origin(annotation) in (Union, UnionType):
        annotation = next((kind for kind in get_args(annotation) if kind is not NoneType), None)
    return get_origin(annotation) or annotation


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for kind in get_args(annotation) for model in _models_in(kind)]


def _model_at(model: type[BaseModel], place: Sequence[int | str]) -> type[BaseModel] | None:
    here: type[BaseModel] | None = model
    for part in place:
        if here is not None and part in here.model_fields:
            inner = _models_in(here.model_fields[str(part)].annotation)
            here = inner[0] if inner else None
    return here


def _field_at(model: type[BaseModel], place: Sequence[int | str]) -> FieldInfo | None:
    here = _model_at(model, place[:-1])
    return here.model_fields.get(str(place[-1])) if here is not None else None


def _names(model: type[BaseModel] | None) -> list[str]:
    return [] if model is None else list(model.model_fields)


def _did_you_mean(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f". Did you mean: {close[0]}?"
    return f"; expected one of: {', '.join(known)}" if known else "; remove it"
