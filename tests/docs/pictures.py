"""The pictures of the console: `make pictures` starts a house of its own and draws docs/images/console-*.webp anew."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from house import House, until  # noqa: E402

from arbig.lab.desk import Desk  # noqa: E402

IMAGES = ROOT / "docs" / "images"
PORT_OFFSET = 9700
WIDE, PHONE = (1360, 850), (390, 844)
QUALITY, MOST_BYTES = 72, 150_000
PICTURES = {
    "overview": ("overview", "en", WIDE),
    "chart": ("chart", "en.dark", WIDE),
    "trade": ("trade", "en", WIDE),
    "strategies": ("strategies", "en", WIDE),
    "services": ("services", "en.dark", WIDE),
    "research": ("research", "en", WIDE),
    "notebooks": ("notebooks", "en", WIDE),
    "chinese": ("trade", "zh.dark", WIDE),
    "phone": ("overview", "zh", PHONE),
}
"""Of each picture: the page, what the browser remembers of its owner, the window."""
SETTLE_MILLISECONDS = 4000
TRADED = 12


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        house = House(Path(folder) / "house", PORT_OFFSET)
        save_research(house)
        with house.running():
            until(lambda: len(house.ask("web", "GET", "/api/v1/trades")["trades"]) >= TRADED, 600, "a dozen trades")
            photograph(house, Path(folder))


def save_research(house: House) -> None:
    """A tearsheet for the page Research, on made prices."""
    desk = Desk(root=house.home, data=house.data, history=house.home / "bars")
    desk.history.generate("au2512", "2025-07-01", "2025-10-31", seed=3)
    desk.backtest("MeanReversionStrategy", "au2512", "2025-08-01", "2025-10-31").tearsheet().save()


def photograph(house: House, folder: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (page, taste, (width, height)) in PICTURES.items():
            context = browser.new_context(viewport={"width": width, "height": height}, locale="en-US")
            context.add_cookies([{"name": "arbig_console", "value": taste, "url": "http://127.0.0.1"}])
            shoot(context.new_page(), house, page, folder / f"{name}.png")
            context.close()
            keep(folder / f"{name}.png", IMAGES / f"console-{name}.webp")
        browser.close()


def shoot(tab: Page, house: House, page: str, path: Path) -> None:
    found = re.search(r"console\s+(http\S+)", house.arbig("links").stdout)
    assert found is not None
    tab.goto(found[1])
    tab.locator(".lamp.live").wait_for(timeout=60_000)
    tab.locator(f'nav a[data-page="{page}"]').click()
    if page == "research":
        tab.locator("tbody tr:visible", has_text="2025-10-31").first.click()
    tab.wait_for_timeout(SETTLE_MILLISECONDS)
    tab.screenshot(path=path)


def keep(shot: Path, picture: Path) -> None:
    Image.open(shot).convert("RGB").save(picture, quality=QUALITY, method=6)
    size = picture.stat().st_size
    print(f"{picture.relative_to(ROOT)}: {size / 1000:.0f} kB")
    assert size < MOST_BYTES, f"{picture.name} is {size} bytes, expected less than {MOST_BYTES}"


if __name__ == "__main__":
    began = time.monotonic()
    main()
    print(f"{time.monotonic() - began:.0f} s")
