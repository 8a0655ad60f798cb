"""The generated parts of platform/ARCHITECTURE.md: message table and order states. `make docs` writes them anew."""

import re
import sys
from pathlib import Path

from arbig.bus.topics import TOPICS, group_of
from arbig.domain.orders import diagram

ARCHITECTURE = Path(__file__).parents[2] / "platform" / "ARCHITECTURE.md"


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


PARTS = {"messages": message_table, "order-states": order_states}


def rewritten(text: str) -> str:
    """The document with each part between `<!-- generated: NAME -->` and `<!-- end -->` made anew."""
    for name, make in PARTS.items():
        pattern = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"{ARCHITECTURE.name}: no part marked <!-- generated: {name} -->")
        body = make()
        text = pattern.sub(rf"\g<1>{body}\n\g<2>", text)
    return text


if __name__ == "__main__":
    current = ARCHITECTURE.read_text("utf-8")
    ARCHITECTURE.write_text(rewritten(current), "utf-8")
    sys.stdout.write(f"{ARCHITECTURE}: {'unchanged' if rewritten(current) == current else 'rewritten'}\n")
