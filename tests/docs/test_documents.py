"""Documents cannot rot: what they show is what the code does."""

import re
import runpy
from pathlib import Path

import pytest

from arbig.bus.topics import TOPICS

ROOT = Path(__file__).parents[2]
GENERATED = runpy.run_path(str(Path(__file__).with_name("generated.py")))


def test_the_message_table_and_the_state_diagram_are_those_of_the_code() -> None:
    """`make docs` was run after the last change of a topic or a transition."""
    text = GENERATED["ARCHITECTURE"].read_text("utf-8")
    assert GENERATED["rewritten"](text) == text


def test_every_topic_stands_in_the_message_table() -> None:
    """No channel without a word about it."""
    text = GENERATED["ARCHITECTURE"].read_text("utf-8")
    assert [] == [topic.name for topic in TOPICS if f"`{topic.name}`" not in text]


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md", "CONTRIBUTING.md", "platform/ARCHITECTURE.md"])
def test_every_file_a_document_points_to_is_there(name: str) -> None:
    """No dead link inside the repository."""
    document = ROOT / name
    targets = re.findall(r"\]\(([^)#]+)\)", document.read_text("utf-8"))
    missing = [t for t in targets if "://" not in t and not (document.parent / t).exists()]
    assert [] == missing
