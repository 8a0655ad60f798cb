"""The picture of a tearsheet: `python tests/docs/picture.py` draws docs/images/tearsheet.png anew, on made prices.

The page is the one that `arbig backtest MeanReversionStrategy au2512 --start 2025-08-01 --end 2025-10-31 --html FILE`
writes for the history of `Desk().history.generate("au2512", "2025-06-02", "2025-10-31", seed=3)`.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from arbig.lab.desk import Desk

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "images" / "tearsheet.png"
WIDTH, LAST_TILE, COLORS = 1180, "distribution", 200

ZOOM = """() => {
  const models = [...Bokeh.documents[0]._all_models.values()];
  globalThis.drawn = models.find((one) => one.type === 'ColumnDataSource' && one.data.half);
  models.find((one) => one.type === 'Range1d' && one.min_interval === 10).setv({start: 9000, end: 11400});
}"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        page = tearsheet(Path(folder))
        shot = Path(folder) / "shot.png"
        photograph(page, shot)
        Image.open(shot).convert("RGB").quantize(COLORS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            PICTURE, optimize=True
        )
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size / 1000:.0f} kB")


def tearsheet(folder: Path) -> Path:
    desk = Desk(root=ROOT, data=folder, history=folder / "bars")
    desk.history.generate("au2512", "2025-06-02", "2025-10-31", seed=3)
    result = desk.backtest("MeanReversionStrategy", "au2512", "2025-08-01", "2025-10-31")
    return result.tearsheet().save(folder / "tearsheet.html")


def photograph(page: Path, shot: Path) -> None:
    """From the head to the tiles of months and round trips, five days of candles in view."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        tab.goto(page.as_uri())
        tab.wait_for_function("globalThis.Bokeh?.documents?.[0]?.is_idle")
        tab.evaluate(ZOOM)
        tab.wait_for_function("Math.max(...drawn.data.count) === 8 && drawn.data.start[0] >= 8992")
        tile = tab.locator(f"section#{LAST_TILE}").bounding_box()
        assert tile is not None
        bottom = tile["y"] + tile["height"] + 14
        tab.screenshot(path=shot, full_page=True, clip={"x": 0, "y": 0, "width": WIDTH, "height": bottom})
        browser.close()


if __name__ == "__main__":
    main()
