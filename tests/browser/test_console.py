"""The console on the real stack: log in, see the market move, the trades, the services; both languages."""

from __future__ import annotations

import json
import os
import re
import signal
from urllib.parse import urlsplit

import httpx
import pytest
import redis
from bokeh.util.token import get_token_payload
from house import until

pytestmark = pytest.mark.browser

ROWS = """([first, second]) => {
  for (const model of Bokeh.documents[0]._all_models.values())
    if (model.type === 'ColumnDataSource' && first in model.data && second in model.data)
      return Array.from(model.data[first]).length;
  return 0;
}"""
LAST_CANDLE = """() => {
  for (const model of Bokeh.documents[0]._all_models.values())
    if (model.type === 'ColumnDataSource' && 'half' in model.data) {
      const {i, close} = model.data;
      return i.length ? [i[i.length - 1], close[close.length - 1]] : null;
    }
}"""


def candles(desk) -> int:
    return desk.page.evaluate(ROWS, ["open", "half"])


def markers(desk) -> int:
    return desk.page.evaluate(ROWS, ["marker", "price"])


def test_the_printed_link_leads_to_a_living_page(desk) -> None:
    """Candles, a trade of MaRsiStrategy on them, the position, every service; nothing asked of another host."""
    desk.log_in()
    assert urlsplit(desk.page.url)._replace(query="", fragment="").geturl() == desk.address(5006, "/console")
    desk.open("chart")
    until(lambda: candles(desk) > 50, 30, "candles are drawn")
    first = desk.page.evaluate(LAST_CANDLE)
    until(lambda: desk.page.evaluate(LAST_CANDLE) != first, 30, "the last candle moves")
    until(lambda: markers(desk) > 0, 90, "a trade is drawn on the candles")
    desk.open("overview")
    desk.page.locator('tr[data-key^="au2512-"]').first.wait_for(timeout=20_000)
    assert "running" in desk.row("MaRsiStrategy")
    for service in ("redis", "exchange", "gateway", "market", "trading", "strategy", "web", "console", "jupyter"):
        until(lambda service=service: "ready" in desk.row(service) or "running" in desk.row(service), 30, service)
    assert {"127.0.0.1"} == {urlsplit(url).hostname for url in desk.asked if urlsplit(url).scheme in ("http", "ws")}
    assert [] == desk.errors


def test_the_page_speaks_chinese_changes_its_colours_and_is_found_so_again(desk) -> None:
    desk.log_in()
    worn = lambda: desk.page.evaluate("document.documentElement.className")
    desk.page.get_by_text("中文", exact=True).click()
    desk.page.get_by_text("持仓", exact=True).wait_for()
    desk.page.locator(".colours").click()
    desk.page.locator(".shade").click()
    desk.open("chart")
    desk.page.get_by_text("5m", exact=True).click()
    until(lambda: candles(desk) > 10, 20, "five-minute candles")
    assert {"west", "dark"} <= set(worn().split())
    desk.page.reload()
    desk.page.get_by_text("成交", exact=True).wait_for()
    assert {"west", "dark"} <= set(worn().split())
    desk.page.go_back()
    desk.page.get_by_text("策略", exact=True).first.wait_for()
    assert [] == desk.errors


def test_an_order_is_looked_at_sent_and_cancelled_on_the_page_trade(desk) -> None:
    """The preview shows the split and the money, or the rule that refuses; nothing is sent before the second press."""
    price = round(desk.house.ask("web", "GET", "/api/v1/ticks/au2512")["tick"]["last_price"] - 4, 2)
    orders = lambda: desk.house.ask("web", "GET", "/api/v1/orders?active=true")["orders"]
    mine = lambda: [order for order in orders() if order["strategy_name"] == "manual"]
    desk.log_in().open("trade")
    ticket, send = desk.page.locator(".preview"), desk.page.locator("button.send")
    desk.page.locator("input.price").fill(f"{price + 0.01:.2f}")
    ticket.get_by_text("PRICE_TICK", exact=True).wait_for(timeout=15_000)
    desk.page.locator("input.price").fill(f"{price:.2f}")
    desk.page.locator("input.volume").fill("2")
    ticket.get_by_text("Open 2", exact=True).wait_for(timeout=15_000)
    assert [] == mine()
    send.click()
    assert [] == mine()
    send.click()
    until(lambda: any(order["order_id"] for order in mine()), 20, "the order works")
    desk.page.locator("tr", has_text="manual").get_by_text("Cancel", exact=True).click()
    until(lambda: not mine(), 20, "the order is cancelled")
    desk.page.locator("tr", has_text="manual").wait_for(state="detached", timeout=20_000)
    assert [] == desk.errors


def test_trading_is_halted_and_resumed_from_any_page(desk) -> None:
    state = lambda: desk.house.ask("web", "GET", "/api/v1/trading/state")
    desk.log_in().open("notebooks")
    desk.page.locator("button.halt").click()
    desk.page.locator("dialog input[name=reason]").fill("a look at the news")
    desk.page.locator("dialog button.danger").click()
    until(lambda: (state()["state"], state()["reason"]) == ("HALTED", "a look at the news"), 15, "halted")
    desk.page.locator(".alarm").get_by_text("trading is HALTED").wait_for(timeout=15_000)
    desk.page.get_by_role("button", name="Resume").click()
    desk.page.locator("dialog button.resume").click()
    until(lambda: state()["state"] == "ACTIVE", 15, "active")
    desk.page.get_by_role("button", name="HALT").wait_for(timeout=15_000)


def test_a_strategy_is_started_and_stopped(desk) -> None:
    """The stop by pressing twice."""
    desk.log_in()
    row = desk.page.locator('tr[data-key="BreakoutStrategy"]')
    row.get_by_text("Start", exact=True).click()
    row.get_by_text("running", exact=True).wait_for(timeout=30_000)
    row.get_by_text("Stop", exact=True).click()
    row.get_by_text("Sure?", exact=True).click()
    row.get_by_text("stopped", exact=True).wait_for(timeout=30_000)


def test_the_account_is_made_flat_by_typing_it(desk) -> None:
    """The job is shown until the counter says flat."""
    held = lambda: [one for one in desk.house.ask("web", "GET", "/api/v1/positions")["positions"] if one["volume"]]
    desk.log_in().open("trade")
    until(held, 60, "MaRsiStrategy holds something")
    desk.page.get_by_role("button", name="Flatten all").click()
    do = desk.page.locator("dialog button.danger")
    assert do.is_disabled()
    desk.page.locator("dialog input.typed").fill("flatten")
    desk.page.locator("dialog input[name=reason]").fill("the day is over")
    do.click()
    job = desk.page.locator("tr", has_text="the day is over")
    job.get_by_text("Done", exact=True).wait_for(timeout=60_000)
    (flat,) = desk.house.ask("web", "GET", "/api/v1/flatten")["flattens"]
    assert ("DONE", []) == (flat["state"], flat["left"])
    desk.house.ask("web", "POST", "/api/v1/trading/state", {"state": "ACTIVE", "reason": "the next day"})


def test_a_service_is_restarted_by_pressing_twice_and_its_log_is_searched(desk) -> None:
    desk.log_in().open("services")
    before = desk.pid("market")
    desk.page.locator("select.service").wait_for(timeout=15_000)
    row = desk.page.locator('tr[data-key="market"]:visible')
    row.get_by_text("Restart", exact=True).click()
    row.get_by_text("Sure?", exact=True).click()
    until(lambda: desk.pid("market") not in (None, before), 30, "market has a new process")
    until(lambda: "ready" in desk.row("market"), 30, "market is ready again")
    desk.page.locator("select.service").select_option("market")
    desk.page.locator("input.grep").fill("start")
    lines = desk.page.locator('tr[data-key*="T"]', has_text="start")
    lines.first.wait_for(timeout=15_000)
    desk.page.locator('tr[data-key="order trading"], tr[data-key="stream:order group:trading"]').first.wait_for()


def test_a_viewer_sees_every_page_and_cannot_press(desk) -> None:
    desk.page.goto(desk.link("console", "--viewer"))
    desk.page.locator(".lamp.live").wait_for(timeout=30_000)
    assert desk.page.locator("button.halt").is_disabled()
    desk.page.locator('tr[data-key="BreakoutStrategy"]').get_by_text("Start", exact=True).click()
    desk.page.get_by_text("You are logged in to look only").wait_for(timeout=10_000)
    desk.open("trade").page.locator("input.price").wait_for()
    assert desk.page.locator("button.send").is_disabled()


def test_when_the_console_dies_the_page_greys_out_and_says_so(desk) -> None:
    desk.log_in()
    os.kill(desk.pid("console"), signal.SIGKILL)
    desk.page.locator(".lamp.off").wait_for(timeout=15_000)
    look = "main => getComputedStyle(main).filter"
    until(lambda: "grayscale" in desk.page.locator(".frame > .main").evaluate(look), 10, "grey")
    until(lambda: httpx.get(desk.address(5006, "/"), trust_env=False).status_code == 302, 30, "the console is back")


def test_the_lamp_follows_the_exchange_and_web_and_comes_back_by_itself(desk) -> None:
    desk.log_in()
    desk.house.ask("gateway", "POST", "/disconnect", {"seconds": 4})
    desk.page.get_by_text("Exchange disconnected", exact=True).first.wait_for(timeout=15_000)
    desk.page.locator(".lamp.live").wait_for(timeout=40_000)
    os.kill(desk.pid("web"), signal.SIGKILL)
    desk.page.get_by_text("No data", exact=True).wait_for(timeout=15_000)
    desk.page.locator(".lamp.live").wait_for(timeout=40_000)
    desk.open("chart")
    before = desk.page.evaluate(LAST_CANDLE)
    until(lambda: desk.page.evaluate(LAST_CANDLE) != before, 30, "the candles move again")


def test_a_dead_letter_is_shown_until_it_is_gone(desk) -> None:
    """The same alarm stands in `arbig status`."""
    record = json.loads((desk.house.data / "run" / "redis.json").read_text())
    desk.log_in()
    with redis.Redis(port=record["port"], username="admin", password=record["users"]["admin"]) as line:
        line.xadd("stream:order", {"data": b"garbage"})
        desk.page.get_by_text("1 dead letter;").wait_for(timeout=15_000)
        assert desk.house.status()["alarms"] == [
            "1 dead letter; read: arbig redis --json XREVRANGE stream:dead + - COUNT 5"
        ]
        line.delete("stream:dead")
        desk.page.get_by_text("1 dead letter;").wait_for(state="detached", timeout=15_000)


def test_on_a_phone_every_page_is_within_the_width(desk) -> None:
    desk.page.set_viewport_size({"width": 390, "height": 844})
    desk.log_in()
    desk.page.get_by_text("Fees", exact=True).first.wait_for(timeout=15_000)
    for text in ("Trading day", "Available", "Log out", "HALT"):
        place = desk.page.get_by_text(text, exact=True).first.bounding_box()
        assert place["x"] >= 0 and place["x"] + place["width"] <= 390, text
    pages = [link.get_attribute("data-page") for link in desk.page.locator("nav a").all()]
    assert {"overview", "chart", "trade", "strategies", "services", "research", "notebooks"} == set(pages)
    for name in pages:
        desk.open(name)
        desk.page.wait_for_url(f"**page={name}")
        desk.page.locator(".tile:visible").first.wait_for()
        assert 390 == desk.page.evaluate("document.documentElement.scrollWidth"), name
    assert [] == desk.errors


def test_who_is_not_logged_in_is_sent_to_the_form_and_comes_back(desk) -> None:
    desk.page.goto(desk.address(5006, "/console"))
    assert desk.page.url.startswith(desk.address(8080, "/login"))
    desk.page.locator("input[name=token]").fill((desk.house.data / "run" / "token").read_text().strip())
    desk.page.get_by_role("button").click()
    desk.page.locator(".lamp.live").wait_for(timeout=30_000)
    desk.page.get_by_text("Log out", exact=True).click()
    desk.page.wait_for_url(desk.address(8080, "/login"))
    desk.page.goto(desk.address(5006, "/console"))
    assert desk.page.url.startswith(desk.address(8080, "/login"))


def test_the_page_never_carries_the_session_in_its_source(desk) -> None:
    """Bokeh writes the request's headers and cookies into a token in the page: ours must not be among them."""
    desk.log_in()
    source = httpx.get(desk.page.url, cookies=dict(cookies_of(desk)), trust_env=False).text
    tokens = re.findall(r'"token":\s*"([\w.-]+)"', source)
    assert tokens
    carried = source + "".join(str(get_token_payload(token)) for token in tokens)
    assert cookies_of(desk)[f"arbig_session_{8080 + desk.house.port_offset}"] not in carried


def cookies_of(desk) -> dict[str, str]:
    return {cookie["name"]: cookie["value"] for cookie in desk.page.context.cookies()}


def test_jupyterlab_opens_by_its_link_without_a_token_and_not_without_a_session(desk) -> None:
    lab = desk.address(8888)
    answer = httpx.get(f"{lab}/lab", trust_env=False, follow_redirects=True)
    assert answer.url.path == "/login" and answer.url.port == 8080 + desk.house.port_offset
    assert httpx.get(f"{lab}/api/contents", trust_env=False).status_code == 403
    desk.page.goto(desk.link("JupyterLab"))
    desk.page.locator("#jp-main-dock-panel").wait_for(timeout=60_000)
    assert "token" not in desk.page.url
    assert desk.page.evaluate("fetch('/api/contents').then(answer => answer.status)") == 200
    hosts = {urlsplit(url).hostname for url in desk.asked if urlsplit(url).scheme in ("http", "https", "ws", "wss")}
    assert {"127.0.0.1"} == hosts
