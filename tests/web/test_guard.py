"""The guard: every route is closed to strangers; a cookie alone moves nothing; foreign pages and hosts stay outside."""

from __future__ import annotations

import re

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import Mount, Route, WebSocketRoute
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from arbig.web.guard import OPEN_PATHS

ORDER = {"symbol": "au2512", "direction": "LONG", "offset": "OPEN", "price": 880.0, "volume": 1}


def cookie_header(browser: httpx.Client) -> str:
    return "; ".join(f"{name}={value}" for name, value in browser.cookies.items())


def doors_of(app: FastAPI) -> set[tuple[str, str]]:
    """Every (method, path) of the application, mounted ones too, with something written into the placeholders."""
    found: set[tuple[str, str]] = set()
    pending = list(app.routes)
    while pending:
        route = pending.pop()
        if isinstance(route, Mount):
            found.add(("GET", route.path + "/swagger-ui.css"))
        elif isinstance(route, WebSocketRoute):
            continue
        elif isinstance(route, Route):
            path = re.sub(r"\{[^}]*\}", "au2512", route.path)
            found |= {(method, path) for method in route.methods or ()}
        else:
            pending += getattr(route, "routes", [])
            included = getattr(route, "original_router", None)
            pending += included.routes if included is not None else []
    return found


def test_every_route_but_health_and_login_wants_a_token(web) -> None:
    doors = {door for door in doors_of(web.app) if door[1] not in OPEN_PATHS}
    assert {("POST", "/api/v1/orders"), ("GET", "/docs"), ("GET", "/")} <= doors
    assert len(doors) > 20
    wrong = {"Authorization": "Bearer " + "0" * 64}
    with web.http() as stranger:
        answers = {door: stranger.request(*door).status_code for door in doors}
        wrongly = {door: stranger.request(*door, headers=wrong).status_code for door in doors}
    pages = {("GET", "/"), ("GET", "/docs")}
    assert {door: 303 if door in pages else 401 for door in doors} == answers
    assert {door: 401 for door in doors} == wrongly


UNSAFE = {"POST", "PUT", "PATCH", "DELETE"}


def test_a_viewer_reads_every_page_and_moves_nothing(web) -> None:
    """By token and by session: each question is let in, each action refused in one line before any route sees it."""
    doors = {door for door in doors_of(web.app) if door[1] not in OPEN_PATHS and door[1] != "/logout"}
    actions = {door for door in doors if door[0] in UNSAFE}
    assert {("POST", "/api/v1/orders"), ("POST", "/api/v1/halt"), ("POST", "/api/v1/tickets")} <= actions
    for name in ("gateway", "market", "trading", "strategy"):
        web.start_sibling(name)
    own = {"Origin": web.url, "X-Arbig": "1"}
    with web.as_viewer() as program, web.as_browser("viewer") as browser:
        for visitor, headers in ((program, {}), (browser, own)):
            refused = {door: visitor.request(*door, headers=headers) for door in actions}
            assert {403} == {answer.status_code for answer in refused.values()}
            assert {True} == {"a viewer may look, not act" in answer.json()["detail"] for answer in refused.values()}
            assert [] == [heard for heard in web.siblings.heard if heard[1] != "GET"]
            admitted = {door: visitor.request(*door).status_code for door in doors - actions}
            assert not {401, 403} & set(admitted.values()), admitted


def test_a_viewers_websocket_is_open(web) -> None:
    address = web.url.replace("http", "ws") + "/ws"
    with connect(address, additional_headers={"Authorization": f"Bearer {web.settings.viewer_token}"}):
        pass
    with connect(f"{address}?ticket={web.ticket('viewer')}"):
        pass


def test_the_websocket_is_closed_to_strangers_and_to_foreign_pages(web) -> None:
    address = web.url.replace("http", "ws") + "/ws"
    with web.as_browser() as browser:
        cookie = cookie_header(browser)
    refused = (
        {},
        {"Authorization": "Bearer wrong"},
        {"Cookie": cookie},
        {"Cookie": cookie, "Origin": "http://evil.example"},
        {**web.bearer, "Origin": f"{web.url}.evil.example"},
    )
    for headers in refused:
        with pytest.raises(InvalidStatus), connect(address, additional_headers=headers):
            pass
    for headers in (web.bearer, {"Cookie": cookie, "Origin": web.url}):
        with connect(address, additional_headers=headers):
            pass


def test_a_ticket_opens_one_websocket(web) -> None:
    address = f"{web.url.replace('http', 'ws')}/ws?ticket={web.ticket()}"
    with connect(address):
        pass
    with pytest.raises(InvalidStatus), connect(address):
        pass


def test_an_order_by_cookie_needs_our_own_origin_and_header(web) -> None:
    web.start_sibling("trading")
    web.siblings.answers["trading", "POST", "/orders"] = (202, {"request_id": "r1", "status": "SUBMITTING"})
    origin = {"Origin": web.url}
    with web.as_browser() as browser:
        post = lambda headers: browser.post("/api/v1/orders", json=ORDER, headers=headers).status_code
        foreign = {"Origin": "http://evil.example", "X-Arbig": "1"}
        assert [403] * 4 == [post({}), post(origin), post({"X-Arbig": "1"}), post(foreign)]
        assert [] == web.siblings.heard
        assert post(origin | {"X-Arbig": "1"}) == 202
    assert [("trading", "POST", "/orders")] == [heard[:3] for heard in web.siblings.heard]


def test_another_host_name_is_refused_even_with_the_token(web) -> None:
    with web.as_program() as program:
        answer = program.get("/api/v1/status", headers={"Host": f"evil.example:{web.settings.port('web')}"})
        assert answer.status_code == 421
        assert program.get("/health", headers={"Host": "evil.example"}).status_code == 421


def test_a_foreign_page_cannot_log_somebody_in(web) -> None:
    with web.http() as browser:
        form = {"token": web.settings.token}
        assert browser.post("/login", data=form).status_code == 403
        assert browser.post("/login", data=form, headers={"Origin": "http://evil.example"}).status_code == 403


def test_a_session_gives_no_tickets(web) -> None:
    with web.as_browser() as browser:
        headers = {"Origin": web.url, "X-Arbig": "1"}
        assert browser.post("/api/v1/tickets", headers=headers).status_code == 403


def test_no_answer_may_be_framed_cached_or_fed_from_outside(web) -> None:
    with web.http() as stranger:
        found = stranger.get("/login")
    assert "DENY" == found.headers["x-frame-options"]
    assert "no-store" == found.headers["cache-control"]
    assert "default-src 'self'" in found.headers["content-security-policy"]
