"""Log-in: by a link that works once, or by the token in a form; and out again."""

from __future__ import annotations

from typing import Any

import pytest


def place(web: Any, name: str) -> str:
    return f"http://127.0.0.1:{web.settings.port(name)}"


@pytest.mark.parametrize(("after", "path"), [("console", "/console"), ("jupyter", "/lab")])
def test_a_link_logs_in_once_and_leads_to_its_place(web, after: str, path: str) -> None:
    with web.as_program() as program:
        ticket = program.post("/api/v1/tickets").json()["ticket"]
    with web.http() as browser:
        link = {"ticket": ticket, "next": after}
        answer = browser.get("/login", params=link)
        assert (303, place(web, after) + path) == (answer.status_code, answer.headers["location"])
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie
        assert browser.get("/login", params=link).status_code == 303
    with web.http() as another:
        answer = another.get("/login", params=link)
        assert (200, True) == (answer.status_code, "used already" in answer.text)


def test_next_leads_nowhere_else(web) -> None:
    with web.http() as browser:
        params = {"ticket": web.ticket(), "next": "http://evil.example/"}
        assert browser.get("/login", params=params).headers["location"] == place(web, "console") + "/console"


def test_a_link_clicked_on_another_site_steps_in_by_a_page_of_our_own(web) -> None:
    with web.http() as browser:
        headers = {"Sec-Fetch-Site": "cross-site"}
        answer = browser.get("/login", params={"ticket": web.ticket()}, headers=headers)
    assert answer.status_code == 200
    assert f"0;url={place(web, 'console')}/console" in answer.text


def test_the_form_takes_the_token_in_both_languages(web) -> None:
    with web.http(headers={"Origin": web.url}) as browser:
        assert "登录" in browser.get("/login", headers={"Accept-Language": "zh-CN"}).text
        assert "令牌错误" in browser.post("/login?lang=zh", data={"token": "wrong"}).text
        answer = browser.post("/login?next=docs", data={"token": web.settings.token})
        assert (303, "/docs") == (answer.status_code, answer.headers["location"])
        assert browser.get("/docs").status_code == 200


def test_after_five_wrong_tokens_even_the_right_one_waits(web) -> None:
    with web.http(headers={"Origin": web.url}) as browser:
        statuses = [browser.post("/login", data={"token": f"wrong {n}"}).status_code for n in range(5)]
        answer = browser.post("/login", data={"token": web.settings.token})
    assert ([401] * 5, 429) == (statuses, answer.status_code)
    assert 25 <= int(answer.headers["retry-after"]) <= 31
    with web.as_program() as program:
        assert program.get("/api/v1/events").status_code == 200


def test_a_viewers_link_leads_to_the_console_and_never_to_a_notebook(web) -> None:
    with web.as_program() as program:
        ticket = program.post("/api/v1/tickets", json={"role": "viewer"}).json()["ticket"]
    with web.http() as browser:
        answer = browser.get("/login", params={"ticket": ticket, "next": "jupyter"})
        assert answer.headers["location"] == place(web, "console") + "/console"
        found = browser.get("/api/v1/whoami").json()
    assert ("viewer", "session", True) == (found["role"], found["by"], found["name"].startswith("viewer by session "))


def test_the_form_takes_the_viewers_token_too(web) -> None:
    with web.http(headers={"Origin": web.url}) as browser:
        browser.post("/login", data={"token": web.settings.viewer_token})
        assert "viewer" == browser.get("/api/v1/whoami").json()["role"]


def test_log_out_ends_the_session_not_only_the_cookie(web) -> None:
    with web.as_browser() as browser:
        kept = dict(browser.cookies)
        assert browser.get("/api/v1/events").status_code == 200
        browser.get("/logout")
    with web.http(cookies=kept) as thief:
        assert thief.get("/api/v1/events").status_code == 401


def test_the_reference_page_describes_the_api_and_fetches_nothing_from_outside(web) -> None:
    with web.as_browser() as browser:
        page = browser.get("/docs").text
        paths = browser.get("/api/v1/openapi.json").json()["paths"]
        assets = [part.split('"')[0] for part in page.split('src="')[1:] + page.split('href="')[1:]]
        assert {200} == {browser.get(asset).status_code for asset in assets if not asset.startswith("data:")}
    assert "//" not in page.replace("<!-- `SwaggerUIBundle` is now available on the page -->", "").replace("// ", "")
    assert {"/api/v1/status", "/api/v1/orders", "/api/v1/services/{name}/{action}"} <= set(paths)
