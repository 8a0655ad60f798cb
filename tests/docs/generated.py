"""The generated parts of the documents: tables and pictures of what the code does. `make docs` writes them anew."""

import re
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from fastapi import FastAPI

from arbig.bus.memory import MemoryBus
from arbig.bus.topics import TOPICS, group_of
from arbig.domain.orders import diagram
from arbig.lab.desk import Desk
from arbig.runtime.clock import WallClock
from arbig.runtime.loader import load_class
from arbig.runtime.settings import load_settings
from arbig.web.api import PREFIX
from arbig.web.description import description, reference
from arbig.web.service import WebService

ROOT = Path(__file__).parents[2]
ARCHITECTURE = ROOT / "platform" / "ARCHITECTURE.md"
DOCUMENTS = {
    ARCHITECTURE: ("messages", "order-states"),
    ROOT / "docs" / "api.md": ("api",),
    ROOT / "docs" / "vnpy.md": ("vnpy-and-realistic",),
    ROOT / "docs" / "vnpy.zh-CN.md": ("vnpy-and-realistic",),
}


def message_table() -> str:
    """Every channel and stream, who writes it and which group reads it."""
    rows = ["| name | message | written by | read by | about |", "|---|---|---|---|---|"]
    for topic in TOPICS:
        readers = ", ".join(group_of(r) if topic.is_stream else r for r in topic.readers) or "people"
        rows.append(
            f"| `{topic.name}` | `{topic.message.__name__}` | {', '.join(topic.writers)} | {readers} | {topic.about} |"
        )
    return "\n".join(rows)


def order_states() -> str:
    """The transition table as a picture."""
    return f"```mermaid\n{diagram()}\n```"


VNPYS = {"turtle_signal_strategy": "TurtleSignalStrategy", "double_ma_strategy": "DoubleMaStrategy"}


@cache
def vnpy_and_realistic() -> str:
    """Two of vnpy's own strategies, read from its package, on one seeded history in both matchings."""
    package = find_spec("vnpy_ctastrategy")
    assert package is not None and package.submodule_search_locations
    folder = Path(package.submodule_search_locations[0]) / "strategies"
    rows = ["| strategy | matching | fills | net profit, yuan | fees | slippage |", "|---|---|--:|--:|--:|--:|"]
    with TemporaryDirectory() as data:
        desk = Desk(root=ROOT, data=data)
        desk.history.generate("au2512", "2025-07-11", "2025-08-15", seed=1, progress=False)
        for file, name in VNPYS.items():
            kind = load_class(folder / f"{file}.py", name)
            for matching in ("vnpy", "realistic"):
                found = desk.backtest(
                    kind, "au2512", "2025-08-01", "2025-08-15", capital=5_000_000, matching=matching, progress=False
                )
                figures = found.statistics
                money = (figures[word] for word in ("total_net_pnl", "total_commission", "total_slippage"))
                shown = " | ".join(f"{round(amount):,}" for amount in money)
                rows.append(f"| {name} | `{matching}` | {len(found.result.trades):,} | {shown} |")
    return "\n".join(rows)


def api() -> str:
    """Every route of Web's, and every schema it speaks in."""
    with TemporaryDirectory() as data:
        service = WebService(load_settings(root=ROOT, data=data), MemoryBus(), WallClock())
        app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
        service.routes(app)
        service.pending.close()
        service.door.close()
    return reference(description(app.routes, PREFIX))


PARTS = {"messages": message_table, "order-states": order_states, "vnpy-and-realistic": vnpy_and_realistic, "api": api}


def rewritten(path: Path) -> str:
    """The document with each part between `<!-- generated: NAME -->` and `<!-- end -->` made anew."""
    text = path.read_text("utf-8")
    for name in DOCUMENTS[path]:
        pattern = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"{path.name}: no part marked <!-- generated: {name} -->")
        body = PARTS[name]()
        text = pattern.sub(rf"\g<1>{body}\n\g<2>", text)
    return text


if __name__ == "__main__":
    for document in DOCUMENTS:
        current, new = document.read_text("utf-8"), rewritten(document)
        document.write_text(new, "utf-8")
        sys.stdout.write(f"{document}: {'unchanged' if new == current else 'rewritten'}\n")
