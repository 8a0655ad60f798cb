"""Viewers: browsers that look at the console, in a process of their own, told what to do by lines on standard input.

`{"do": "enter", "link": ...}` logs in; `{"do": "ready", "address": ..., "rounds": 5}` loads a page and says in how many
milliseconds it stood; `{"do": "watch", "pages": [[address, contract], ...]}` opens them and keeps looking;
`{"do": "seen"}` gives what was drawn since, as [contract, price, wall time in ms]; `{"do": "leave"}` closes them.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import Awaitable, Callable
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-renderer-backgrounding",
    "--disable-backgrounding-occluded-windows",
    "--disable-background-timer-throttling",
)
PATIENCE_MILLISECONDS = 60_000

READY = """
window.__ready = null;
const stands = () => {
  const documents = window.Bokeh ? window.Bokeh.documents : [];
  if (!documents.length || !documents[0].is_idle) return false;
  const pages = documents[0].roots().find(root => root.css_classes.includes("pages"));
  return !pages || pages.children.length > 0;
};
const look = () => { if (stands()) window.__ready = performance.now(); else requestAnimationFrame(look); };
requestAnimationFrame(look);
"""
DRAWN = """
(contract) => {
  const find = (root, name) => {
    for (const node of root.querySelectorAll('*')) {
      if (node.matches(name)) return node;
      const inside = node.shadowRoot && find(node.shadowRoot, name);
      if (inside) return inside;
    }
  };
  const source = [...Bokeh.documents[0]._all_models.values()].filter(model => model.type === 'ColumnDataSource'
    && 'close' in model.data && 'middle' in model.data).find(model => model.data.i.length && model.data.i[0] >= 0);
  const price = find(document, '.quote strong');
  if (!source || !price || !price.textContent) return false;
  window.__seen = [];
  let last = '';
  const look = () => {
    const text = price.isConnected ? price.textContent : find(document, '.quote strong').textContent;
    const {close} = source.data, shown = Number(text.replace(/,/g, ''));
    if (text !== last && Math.abs(close[close.length - 1] - shown) < 1e-6) {
      last = text;
      requestAnimationFrame(() => window.__seen.push([contract, shown, Date.now()]));
    }
    requestAnimationFrame(look);
  };
  look();
  return true;
}
"""


class Viewers:
    """A window for loading, and those that look: each in a window of its own, for one draws only its front."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser
        self._context: Any = None
        self._pages: list[Any] = []

    async def _opened(self, **given: Any) -> Any:
        return await self._browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US", **given)

    async def enter(self, link: str) -> bool:
        self._context = await self._opened()
        page = await self._context.new_page()
        await page.goto(link)
        await page.close()
        return True

    async def ready(self, address: str, rounds: int) -> list[float]:
        """In a window that has been there before: the browser's caches are warm."""
        page = await self._context.new_page()
        await page.add_init_script(READY)
        found = []
        for _ in range(rounds + 1):
            await page.goto(address, wait_until="commit")
            await page.wait_for_function("window.__ready !== null", timeout=PATIENCE_MILLISECONDS)
            found.append(float(await page.evaluate("window.__ready")))
            await page.goto("about:blank")
        await page.close()
        return found[1:]

    async def watch(self, pages: list[list[str]]) -> bool:
        session = await self._context.storage_state()
        for address, contract in pages:
            context = await self._opened(storage_state=session)
            page = await context.new_page()
            self._pages.append(page)
            await page.goto(address)
            await page.get_by_role("button", name=contract, exact=True).click(timeout=PATIENCE_MILLISECONDS)
            await page.wait_for_function(DRAWN, arg=contract, timeout=PATIENCE_MILLISECONDS, polling=500)
        return True

    async def seen(self) -> list[Any]:
        taken = [await page.evaluate("window.__seen.splice(0)") for page in self._pages]
        return [one for each in taken for one in each]

    async def leave(self) -> bool:
        for page in self._pages:
            await page.context.close()
        self._pages.clear()
        return True


async def converse() -> None:
    from playwright.async_api import async_playwright

    chromium = next((found for name in NAMES if (found := shutil.which(name))), None)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        viewers = Viewers(browser)
        deeds: dict[str, Callable[..., Awaitable[Any]]] = {
            name: getattr(viewers, name) for name in ("enter", "ready", "watch", "seen", "leave")
        }
        while line := await asyncio.to_thread(sys.stdin.readline):
            wish = json.loads(line)
            try:
                answer = {"answer": await deeds[wish.pop("do")](**wish)}
            except Exception as error:  # whatever the browser meets is told to who asked
                answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0]}
            print(json.dumps(answer), flush=True)
        await browser.close()


if __name__ == "__main__":
    asyncio.run(converse())
