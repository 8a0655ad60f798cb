"""Fuzz: whatever is asked, Web never answers 500; malformed frames, keys that open nothing and foreign pages are
refused and reach no service. `make chaos` does it at length, and asks a whole house (tests/chaos/test_web_kills.py)."""

from __future__ import annotations

import pytest
from fuzzing import frames_sent, keys, questions, strangers
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from arbig.web.api import PREFIX
from arbig.web.description import description

UNSAFE = {"POST", "PATCH", "DELETE"}


@pytest.fixture
def about(web) -> dict[str, object]:
    return description(web.app.routes, PREFIX)


def test_no_question_and_no_wish_is_answered_500(web, about) -> None:
    """The services are away or know nothing of it: that is the hard case for Web."""
    for name in ("gateway", "market", "trading"):
        web.start_sibling(name)
    with web.as_program() as program:
        counted = questions(about, program.request, examples=1, chance=5)
    assert {422, 404, 503} <= counted.keys() and counted.total() > 60


@pytest.mark.parametrize("count", [60, pytest.param(10_000, marks=[pytest.mark.chaos, pytest.mark.timeout(1800)])])
def test_malformed_frames_are_refused_each_with_its_sentence(web, count: int) -> None:
    closed = frames_sent(web.url.replace("http", "ws") + "/ws", web.bearer, count=count, chance=5)
    assert closed[1008] + closed[1009] >= count * 8 // 10 and not closed.keys() - {0, 1008, 1009, 1013}, closed
    with web.as_program() as program:
        assert program.get("/api/v1/events").status_code == 200
    assert [] == web.siblings.heard


def test_keys_that_open_nothing_open_nothing(web, about) -> None:
    for name in ("gateway", "market", "trading", "strategy"):
        web.start_sibling(name)
    with web.http() as stranger:
        counted = strangers(about, stranger.request, web.settings.token, keys_each=2)
    address = web.url.replace("http", "ws") + "/ws"
    for headers in keys(web.settings.token):
        with pytest.raises(InvalidStatus), connect(address, additional_headers=headers):
            pass
    assert ({401}, []) == (set(counted), web.siblings.heard)


def test_a_foreign_page_moves_nothing_whatever_it_names_itself(web, about) -> None:
    origins = ("http://evil.example", "null", web.url + ".evil.example")
    actions = [(method.upper(), path) for path, methods in about["paths"].items() for method in methods]
    with web.as_browser() as browser:
        for method, path in actions:
            for origin in origins if method in UNSAFE else ():
                headers = {"Origin": origin, "X-Arbig": "1"}
                assert 403 == browser.request(method, path, headers=headers).status_code, (method, path, origin)
    assert [] == web.siblings.heard
