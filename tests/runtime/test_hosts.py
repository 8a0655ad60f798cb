"""Several hosts: where each service listens and is found, and what is refused."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import yaml

from arbig.runtime.programs import BY_NAME, elsewhere, programs_of
from arbig.runtime.settings import Settings, SettingsError, load_settings
from arbig.runtime.status import services_of
from arbig.runtime.supervisor import command_of

ROOT = Path(__file__).parents[2]


def house(folder: Path, **hosts: object) -> Settings:
    (folder / "redis_config.yaml").write_text("host: localhost\nport: 6379\n")
    (folder / "hosts.yaml").write_text(yaml.safe_dump(hosts))
    return load_settings(root=ROOT, config=folder, data=folder / "d")


def test_beyond_this_machine_without_tls_nothing_starts(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"hosts.yaml: .*trading: 10.0.0.4 without tls, expected it .*; write tls:"):
        house(tmp_path, trading="10.0.0.4")
    near = house(tmp_path, trading="127.0.0.3")
    assert "127.0.0.3" == near.host("trading") and not near.speaks_tls("trading")


def test_a_token_that_others_may_read_is_refused(tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    loose.write_text("word")
    loose.chmod(0o644)
    with pytest.raises(SettingsError, match=r"token_file: .* may be read by others \(mode 0644\); run: chmod 600"):
        _ = house(tmp_path, token_file=str(loose)).token
    loose.chmod(0o600)
    settings = house(tmp_path, token_file=str(loose))
    assert "word" == settings.token
    assert str(loose) in command_of(BY_NAME["console"], settings), "who waits for Web asks with the same word"


def test_what_runs_here_is_said_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARBIG_SERVICES", "market, trading")
    assert ["market", "trading"] == [program.name for program in programs_of(house(tmp_path))]
    assert ["gateway", "strategy"] == [program.name for program in elsewhere(house(tmp_path))]
    monkeypatch.setenv("ARBIG_SERVICES", "tradin")
    with pytest.raises(SettingsError, match="ARBIG_SERVICES: found 'tradin', no such service"):
        house(tmp_path)


def test_a_service_alone_on_its_host_is_asked_though_no_supervisor_knows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As systemd or a container starts it."""
    monkeypatch.setenv("ARBIG_SERVICES", "exchange")
    monkeypatch.setenv("ARBIG_PORT_OFFSET", "41300")
    settings = house(tmp_path)
    exchange = ("exchange", "stopped", False)
    assert exchange in [(each.name, each.state, each.healthy) for each in services_of(settings)]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(settings.socket("exchange")))
        listener.listen()
        found = [(each.name, each.state, each.healthy) for each in services_of(settings)]
    assert ("exchange", "ready", True) in found and ("gateway", "stopped", False) in found
