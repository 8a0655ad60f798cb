"""Real money starts only when a person has typed whose it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from arbig.cli import app
from arbig.runtime import stack

HOUSE = {"gateway": "ctp", "mode": "live", "account_id": "88001", "symbols": ["au2512"]}


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The accounts whose house was started."""
    accounts: list[str] = []
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "arbig.yaml").write_text(yaml.safe_dump(HOUSE))
    (tmp_path / "config" / "redis_config.yaml").write_text("{host: localhost, port: 6379}")
    monkeypatch.setenv("ARBIG_ROOT", str(tmp_path))
    monkeypatch.delenv("ARBIG_CONFIG", raising=False)
    monkeypatch.delenv("ARBIG_DATA", raising=False)

    def up(settings):
        accounts.append(settings.account_id)
        return ()

    monkeypatch.setattr(stack, "up", up)
    return accounts


@pytest.mark.parametrize(
    ("words", "typed", "line"),
    [
        (["up", "--detach"], "", "mode live: nobody typed the account; say arbig up --live 88001"),
        (["up", "--detach"], "88002\n", "mode live: found '88002', the account is 88001; nothing is started"),
        (["up", "--detach", "--live", "sim"], "", "mode live: found 'sim', the account is 88001"),
    ],
)
def test_without_the_account_typed_nothing_is_started(
    started: list[str], words: list[str], typed: str, line: str
) -> None:
    done = CliRunner().invoke(app, words, input=typed)
    assert (done.exit_code != 0, started) == (True, [])
    assert line in done.output + done.stderr


@pytest.mark.parametrize(
    ("words", "typed"), [(["up", "--detach"], "88001\n"), (["up", "--detach", "--live", "88001"], "")]
)
def test_with_it_the_house_starts(started: list[str], words: list[str], typed: str) -> None:
    CliRunner().invoke(app, words, input=typed)
    assert started == ["88001"]
