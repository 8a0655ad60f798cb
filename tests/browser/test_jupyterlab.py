"""JupyterLab itself in the browser: a notebook runs top to bottom there, and the cockpit stops a strategy."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from house import until

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[2]
NAME = "06_author_and_deploy.ipynb"


def test_the_author_s_notebook_runs_top_to_bottom_and_its_cockpit_stops_a_strategy(desk: Any) -> None:
    shutil.copy(ROOT / "notebooks" / NAME, desk.house.home / "notebooks" / NAME)
    page = desk.page
    page.goto(desk.link("JupyterLab"))
    page.locator(".jp-DirListing").first.wait_for(timeout=60_000)
    page.goto(desk.address(8888, f"/lab/tree/{NAME}?reset"))
    page.get_by_text("| Idle").wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run").first.click()
    page.locator(".lm-Menu-item", has_text="Run All Cells").first.click()
    page.locator(".jp-InputPrompt", has_text="[16]:").wait_for(timeout=150_000)
    halt = page.get_by_role("button", name="HALT")
    halt.scroll_into_view_if_needed()
    row = page.locator(".widget-vbox", has=page.get_by_text("MaRsiStrategy")).last
    row.get_by_role("button", name="stop", exact=True).click()
    row.get_by_role("button", name="stop it?").click()
    row.get_by_text("● STOPPED", exact=True).wait_for(timeout=15_000)
    states = {one["strategy_name"]: one["state"] for one in _strategies(desk)}
    assert (states["MaRsiStrategy"], "GoldPulse" in states) == ("STOPPED", False)
    until(lambda: not [one for one in _strategies(desk) if one["working_orders"]], 10, "nothing of it works")


def _strategies(desk: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = desk.house.ask("strategy", "GET", "/strategies")["strategies"]
    return found
