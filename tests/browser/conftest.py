"""A real house in a real browser: every process started by `arbig up`, the page drawn by the system's Chromium."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from house import House
from playwright.sync_api import Browser, Page, sync_playwright

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PORT_OFFSET = 9100 + 50 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
"""Two workers may have a house each."""
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Looked for before anything is started."""
    if CHROMIUM is None:
        pytest.fail("no Chromium on the PATH; the browser tests need it: apt-get install chromium", pytrace=False)
    return CHROMIUM


@pytest.fixture(scope="module")
def house(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The house as it comes, MaRsiStrategy at work."""
    with House(tmp_path_factory.mktemp("browser"), PORT_OFFSET).running() as house:
        yield house


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Desk:
    """One browser window. It remembers every address it asked and every error it met."""

    house: House
    page: Page
    asked: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def address(self, port: int, path: str = "") -> str:
        return f"http://127.0.0.1:{port + self.house.port_offset}{path}"

    def link(self, place: str, *words: str) -> str:
        """A fresh link as `arbig links` prints it."""
        found = re.search(rf"{place}\s+(http\S+)", self.house.arbig("links", *words).stdout)
        assert found is not None
        return found[1]

    def log_in(self) -> Desk:
        self.page.goto(self.link("console"))
        self.page.locator(".lamp.live").wait_for(timeout=30_000)
        return self

    def open(self, page: str) -> Desk:
        """One of the console's pages, by its link."""
        self.page.locator(f'nav a[data-page="{page}"]').click()
        return self

    def pid(self, service: str) -> int | None:
        rows = self.house.ask("web", "GET", "/api/v1/services")["services"]
        return next(row["pid"] for row in rows if row["name"] == service)

    def row(self, key: str) -> str:
        """The text of a table's row."""
        return self.page.locator(f'tr[data-key="{key}"]:visible').inner_text(timeout=30_000)


@pytest.fixture
def desk(house: House, browser: Browser) -> Iterator[Desk]:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
    desk = Desk(house, context.new_page())
    desk.page.on("request", lambda request: desk.asked.append(request.url))
    desk.page.on("websocket", lambda socket: desk.asked.append(socket.url))
    desk.page.on("pageerror", lambda error: desk.errors.append(str(error)))
    desk.page.on("console", lambda said: desk.errors.append(said.text) if said.type == "error" else None)
    yield desk
    context.close()
