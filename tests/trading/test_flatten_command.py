"""`arbig flatten` by a person wants a word typed; a script is not asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from arbig import cli
from arbig.runtime import halting, http

ROOT = Path(__file__).parents[2]


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What Trading was asked for."""
    wishes: list[Any] = []

    def ask(settings: Any, service: str, method: str, path: str, json: Any = None) -> dict[str, Any]:
        wishes.append((service, method, path, json["symbol"]))
        return {"id": "f1", "state": "DONE"}

    monkeypatch.setenv("ARBIG_ROOT", str(ROOT))
    monkeypatch.setenv("ARBIG_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("ARBIG_CONFIG", raising=False)
    monkeypatch.setattr(http, "ask", ask)
    monkeypatch.setattr(halting, "follow", lambda settings, job: ())
    return wishes


@pytest.mark.parametrize(
    ("words", "at_a_terminal", "typed", "is_done"),
    [
        ([], True, "FLATTEN\n", True),
        ([], True, "yes\n", False),
        ([], True, "", False),
        (["--yes"], True, "", True),
        ([], False, "", True),
    ],
)
def test_at_a_terminal_nothing_is_closed_before_the_word_is_typed(
    asked: list[Any], monkeypatch: pytest.MonkeyPatch, words: list[str], at_a_terminal: bool, typed: str, is_done: bool
) -> None:
    monkeypatch.setattr(cli, "_at_a_terminal", lambda: at_a_terminal)
    done = CliRunner().invoke(cli.app, ["flatten", "--symbol", "au2512", *words], input=typed)
    assert (done.exit_code == 0) is is_done, done.output
    assert asked == ([("trading", "POST", "/flatten", "au2512")] if is_done else [])
