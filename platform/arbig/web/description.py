"""Web's description of itself: OpenAPI with an answer for every route, and the reference in Markdown made from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from arbig.web.answers import ANSWERS, HTML

TITLE = "ARBIG"
ABOUT = "Research-to-live trading for Chinese futures: what the services know and do, for people and programs."
METHODS = ("get", "post", "patch", "put", "delete")
REFERENCE = "#/components/schemas/{name}"
REFUSAL = {
    "type": "object",
    "title": "Refusal",
    "description": "Why not, in one sentence; of a body or query that cannot be read, a sentence for each part.",
    "properties": {
        "detail": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]},
        "code": {"type": "string", "description": "the word of the risk rule that denied it"},
    },
    "required": ["detail"],
}
REFUSALS = {
    "400": "a word that the service does not know",
    "401": "no token or session, or a wrong one",
    "403": "a viewer that would act, or a foreign origin",
    "404": "no such thing",
    "409": "not in this state",
    "422": "it makes no sense, or a rule refuses it",
    "503": "a service it needs is away",
}


def description(routes: Sequence[BaseRoute], prefix: str) -> dict[str, Any]:
    """OpenAPI of the routes under the prefix."""
    found = get_openapi(title=TITLE, version="1", description=ABOUT, routes=routes)
    paths = {path: found["paths"][path] for path in found["paths"] if path.startswith(prefix)}
    kinds = [kind for kind in ANSWERS.values() if kind is not HTML]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=REFERENCE)
    shapes = {id(kind): schema for kind, schema in zip(kinds, schemas, strict=True)}
    for path, method, operation in operations(paths):
        kind = ANSWERS.get((method.upper(), path.removeprefix(prefix)))
        _answer(operation, {} if kind is None else shapes.get(id(kind)))
    known = found.get("components", {}).get("schemas", {})
    unused = ("HTTPValidationError", "ValidationError")
    own = {name: schema for name, schema in known.items() if name not in unused}
    return {
        **found,
        "paths": paths,
        "components": {
            "schemas": dict(sorted({**own, **components, "Refusal": REFUSAL}.items())),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "the trader's or the viewer's"}
            },
        },
        "security": [{"token": []}],
    }


def operations(paths: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in paths.items():
        for method in METHODS:
            if method in methods:
                yield path, method, methods[method]


def _answer(operation: dict[str, Any], shape: Mapping[str, Any] | None) -> None:
    """The answer's schema (None: a page), and how every route may refuse."""
    status, answer = next((code, one) for code, one in operation["responses"].items() if code < "300")
    kind = {"text/html": {"schema": {"type": "string"}}} if shape is None else {"application/json": {"schema": shape}}
    refused = {"application/json": {"schema": {"$ref": REFERENCE.format(name="Refusal")}}}
    operation["responses"] = {
        status: {**answer, "content": kind},
        **{code: {"description": words, "content": refused} for code, words in REFUSALS.items()},
    }


# ---- the same as a document


def reference(about: Mapping[str, Any]) -> str:
    """`docs/api.md`: a table of routes by tag, then every schema they speak in."""
    tags: dict[str, list[str]] = {}
    for path, method, operation in operations(about["paths"]):
        tags.setdefault(operation.get("tags", ["other"])[0], []).append(_row(path, method, operation))
    head = "| route | asks | answers | about |\n|---|---|---|---|"
    parts = [f"### {tag}\n\n{head}\n" + "\n".join(rows) for tag, rows in sorted(tags.items())]
    schemas = [_schema(name, schema) for name, schema in about["components"]["schemas"].items()]
    return "\n\n".join([*parts, "### Schemas", *schemas])


def _row(path: str, method: str, operation: Mapping[str, Any]) -> str:
    asked = [f"`{one['name']}`{'' if one['required'] else '?'}" for one in operation.get("parameters", ())]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    status, answer = next(iter(operation["responses"].items()))
    (content,) = answer["content"].items()
    said = "a page" if content[0] == "text/html" else _kind(content[1]["schema"])
    words = " ".join(operation.get("description", "").split()).replace("|", "\\|")
    asks = ", ".join([*asked, *([_kind(body)] if body else [])])
    return f"| `{method.upper()} {path}` | {asks} | {status} {said} | {words} |"


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    words = " ".join(str(schema.get("description", "")).split())
    if "enum" in schema:
        return f"**{name}**: {' '.join(f'`{one}`' for one in schema['enum'])}"
    needed = schema.get("required", ())
    rows = [
        f"`{key}`{'' if key in needed else '?'} {_kind(value)}" for key, value in schema.get("properties", {}).items()
    ]
    return f"**{name}**{': ' + words if words else ''}\n\n{', '.join(rows)}"


def _kind(schema: Mapping[str, Any]) -> str:
    """A schema in a word or two."""
    if "$ref" in schema:
        return f"**{schema['$ref'].rpartition('/')[2]}**"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_kind(one) for one in schema["anyOf"]))
    if schema.get("type") == "array":
        return f"[{_kind(schema.get('items', {}))}]"
    if "const" in schema:
        return f"`{schema['const']}`"
    return str(schema.get("format") or schema.get("type") or "any")
