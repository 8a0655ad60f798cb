"""The description: every route says what it answers, and what the client reads is what it says."""

from __future__ import annotations

from arbig.web.answers import ANSWERS
from arbig.web.api import PREFIX
from arbig.web.description import METHODS, description, operations


def test_every_route_says_what_it_answers_and_no_line_is_of_a_route_that_is_gone(web) -> None:
    paths = description(web.app.routes, PREFIX)["paths"]
    routes = {(method.upper(), path.removeprefix(PREFIX)) for path, method, _ in operations(paths)}
    assert (set(), set()) == (routes - ANSWERS.keys(), ANSWERS.keys() - routes)
    assert {method for methods in paths.values() for method in methods} <= set(METHODS)


def test_every_schema_that_is_named_is_there(web) -> None:
    with web.as_viewer() as viewer:
        about = viewer.get(f"{PREFIX}/openapi.json").json()
    schemas = about["components"]["schemas"]
    named = {part.split('"')[0] for part in str(about).replace("'", '"').split("#/components/schemas/")[1:]}
    assert {"Orders", "OrderData", "Wish", "Refusal"} <= named
    assert set() == named - schemas.keys()


def test_every_route_says_how_it_may_refuse(web) -> None:
    for path, method, operation in operations(description(web.app.routes, PREFIX)["paths"]):
        assert {"401", "403", "404", "409", "422", "503"} < operation["responses"].keys(), f"{method} {path}"
