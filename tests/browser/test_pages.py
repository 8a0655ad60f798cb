"""The console's Chart, Strategies and Research on the real stack: panned back, deployed and removed, framed."""

from __future__ import annotations

from typing import Any

import pytest
from house import until

from arbig.runtime.research import Archive

pytestmark = pytest.mark.browser

SOURCES = """() => [...Bokeh.documents[0]._all_models.values()]
  .filter(model => model.type === 'ColumnDataSource' && 'middle' in model.data && model.data.i.length)
  .map(model => [model.data.i[0], model.data.i[model.data.i.length - 1], model.data.i.length])"""
LINES = """() => [...Bokeh.documents[0]._all_models.values()]
  .some(model => model.type === 'ColumnDataSource' && 'l2' in model.data && model.data.i.length > 10)"""
PAN = """() => {
  const models = [...Bokeh.documents[0]._all_models.values()];
  const span = models.find(model => model.type === 'Range1d' && model.min_interval);
  span.setv({start: -90, end: 30});
}"""

FAINT = """() => {
  const channels = colour => (colour.match(/[\\d.]+/g) || []).map(Number);
  const light = colour => channels(colour).slice(0, 3).map(value => value / 255)
    .map(value => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, n) => sum + value * [0.2126, 0.7152, 0.0722][n], 0);
  const above = node => node.parentElement || node.getRootNode().host;
  const ground = node => {
    for (; node; node = above(node)) {
      const [red, green, blue, alpha] = channels(getComputedStyle(node).backgroundColor);
      if (alpha === undefined || alpha > 0.5) return `rgb(${red}, ${green}, ${blue})`;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = [];
  const look = root => {
    for (const node of root.querySelectorAll('*')) {
      if (node.shadowRoot) look(node.shadowRoot);
      const said = [...node.childNodes].filter(one => one.nodeType === 3).map(one => one.data.trim()).join('');
      if (!said || !node.getClientRects().length || !node.checkVisibility() || node.disabled) continue;
      const pair = [light(getComputedStyle(node).color), light(ground(node))].sort((a, b) => b - a);
      const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
      if (contrast < 3) found.push(`${said.slice(0, 30)}: ${contrast.toFixed(1)}`);
    }
  };
  look(document.body);
  return found;
}"""
PAGES = ("overview", "chart", "trade", "strategies", "services", "research", "notebooks")


def opened(desk: Any, page: str) -> Any:
    desk.log_in()
    desk.page.goto(desk.address(5006, f"/console?page={page}"))
    desk.page.locator(".lamp.live").wait_for(timeout=30_000)
    return desk.page


def button(page: Any, name: str) -> Any:
    return page.get_by_role("button", name=name, exact=True)


def test_the_chart_is_panned_back_changes_its_interval_and_draws_what_the_strategy_reads(desk: Any) -> None:
    page = opened(desk, "chart")
    until(lambda: page.evaluate(SOURCES), 30, "candles")
    until(lambda: page.evaluate(LINES), 30, "two averages and the strength of MaRsiStrategy")
    page.evaluate(PAN)
    until(lambda: min(first for first, _, _ in page.evaluate(SOURCES)) < 0, 30, "older candles, before the first")
    for interval in ("30m", "d"):
        button(page, interval).click()
        until(lambda: 0 < min(count for *_, count in page.evaluate(SOURCES) or [(0, 0, 0)]) < 600, 30, interval)
    page.get_by_text("Ticks", exact=True).wait_for(timeout=10_000)
    page.get_by_text("Limit up", exact=True).wait_for(timeout=10_000)
    assert [] == desk.errors


@pytest.mark.parametrize("colours", ["en.light", "zh.dark.west"])
def test_every_word_of_every_page_stands_out_from_its_ground(desk: Any, colours: str) -> None:
    """At least 3 to 1, as WCAG 2.1 asks of large text and of what is no sentence."""
    desk.page.context.add_cookies([{"name": "arbig_console", "value": colours, "url": "http://127.0.0.1"}])
    page = opened(desk, "chart")
    page.locator(".level b").first.wait_for(timeout=20_000)
    for name in PAGES:
        page.locator(f'nav a[data-page="{name}"]').click()
        page.wait_for_timeout(800)
        assert [] == page.evaluate(FAINT), name


def test_a_strategy_is_deployed_edited_paused_stopped_and_removed(desk: Any) -> None:
    page = opened(desk, "strategies")
    page.locator(".deploy select").first.select_option("BreakoutStrategy")
    page.locator(".deploy input").first.fill("Second")
    button(page, "Deploy").click()
    button(page, "Press again to deploy").click()
    row = page.locator('tr[data-key="Second"]')
    row.get_by_text("running", exact=True).wait_for(timeout=60_000)
    state = lambda: next((one for one in strategies(desk) if one["strategy_name"] == "Second"), {})
    page.locator(".detail").get_by_text("entry_window", exact=True).wait_for(timeout=20_000)
    assert button(page, "Save").is_disabled(), "nothing is changed yet"
    page.locator(".detail .form input").first.fill("25")
    button(page, "Save").click()
    page.locator(".detail").get_by_role("button", name="Sure?").click()
    until(lambda: state()["parameters"]["entry_window"] == 25 and state()["state"] == "RUNNING", 60, "a new run")
    button(page, "Code").click()
    page.get_by_text("class BreakoutStrategy(CtaTemplate):").wait_for(timeout=20_000)
    row.get_by_role("button", name="Pause").click()
    until(lambda: state()["state"] == "PAUSED", 20, "paused")
    row.get_by_role("button", name="Resume").click(timeout=20_000)
    until(lambda: state()["state"] == "RUNNING", 20, "goes on")
    for name, done in (("Stop", "STOPPED"), ("Remove", None)):
        if name == "Remove":  # what holds lots is not taken away
            wish = {"strategy_name": "Second", "reason": "before it goes"}
            told = desk.house.ask("trading", "POST", "/flatten", wish).get("detail", "")
            until(lambda told=told: "has no lots" in told or flattened(desk) == "DONE", 60, "flat")
        row.get_by_role("button", name=name).click(timeout=20_000)
        row.get_by_role("button", name="Sure?").click()
        until(lambda done=done: state().get("state") == done, 30, name)
    row.wait_for(state="detached", timeout=20_000)
    assert [] == desk.errors


def test_saved_research_is_listed_and_opened_without_an_origin(desk: Any) -> None:
    archive = Archive.of(desk.house.data)
    page_of = "<p id=told>?</p><script>told.textContent = window.origin</script>"
    archive.keep("tearsheet", "One", "The first run", {"sharpe": 1.25, "trials": 3}, page_of)
    archive.keep("sweep", "Two", "A search", {"sharpe": -0.5, "trials": 40}, page_of)
    page = opened(desk, "research")
    page.get_by_text("The first run").first.click(timeout=20_000)
    page.frame_locator("iframe").get_by_text("null", exact=True).wait_for(timeout=20_000)
    button(page, "Compare two").click()
    page.get_by_text("A search").first.click()
    page.get_by_text("+1.75", exact=True).wait_for(timeout=10_000)
    assert page.locator("iframe").count() == 2
    assert [] == desk.errors


def strategies(desk: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = desk.house.ask("strategy", "GET", "/strategies")["strategies"]
    return found


def flattened(desk: Any) -> str:
    jobs: list[dict[str, Any]] = desk.house.ask("trading", "GET", "/flatten")["flattens"]
    return next((str(job["state"]) for job in jobs if job["strategy_name"] == "Second"), "")
