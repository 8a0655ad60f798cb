"""Settings: a bad file is one line that names file, field and mend."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from pydantic import Field

from arbig.runtime.broker import check_gateway
from arbig.runtime.files import Config, load_yaml_model
from arbig.runtime.settings import Settings, SettingsError, load_settings

SPECIFICATION = 'host: localhost\nport: 6379\npassword: ""\ndb: 0\n'

BAD_REDIS = {
    "host: localhost\nport: abc": "port: found 'abc', expected an integer; write e.g. port: 6379",
    "host: localhost\nport: 99999": "port: found 99999, expected at most 65535; write e.g. port: 6379",
    "host: localhost": "port: missing, expected an integer; write e.g. port: 6379",
    "host: localhost\nprot: 6379": "prot: unknown key. Did you mean: port?",
    "host: localhost\nport: 1\npassword: 123": 'password: found ***, expected text; write e.g. password: "..."',
    "host: a\nport: 1\nembedded: perhaps": (
        "embedded: found 'perhaps', expected true or false; write e.g. embedded: true"
    ),
    "host: [a\nport: 3": "line 2, column 5: not YAML: expected ',' or ']', but got ':'; write key: value lines",
    "host: a\nport: 1\nport: 2": "line 3, column 1: not YAML: key 'port' stands twice; write key: value lines",
    "- a": "found list ['a'], expected keys and values; write key: value lines",
    "host: a\nport: 1\npassword: ${env:ARBIG_NO_SUCH}": (
        "${env:ARBIG_NO_SUCH}: no such environment variable; write e.g. export ARBIG_NO_SUCH=..."
    ),
}
BAD_HOUSE = {
    "gateway: simm": "gateway: found 'simm', expected text like ^(sim|ctp|vnpy_[a-z0-9_]+)$; write e.g. gateway: sim",
    "symbols: au2512": "symbols: found 'au2512', expected a list; write e.g. symbols: [au2512]",
    "symbols: []": "symbols: found list [], expected a list of at least 1; write e.g. symbols: [au2512]",
    "account: x": "account: unknown key. Did you mean: account_id?",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the specification's redis_config.yaml and nothing else."""
    for name in [name for name in os.environ if name.startswith("ARBIG_")]:
        monkeypatch.delenv(name)
    write(tmp_path, "redis_config.yaml", SPECIFICATION)
    return tmp_path


def write(home: Path, name: str, text: str) -> None:
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / name).write_text(text, "utf-8")


def complaint(home: Path) -> str:
    with pytest.raises(SettingsError) as refused:
        load_settings(root=home)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_specifications_redis_file_works_unchanged_and_means_the_embedded_server(home: Path) -> None:
    settings = load_settings(root=home)
    assert (settings.redis.embedded, settings.gateway, settings.mode) == (True, "sim", "paper")


@pytest.mark.parametrize(("text", "expected"), BAD_REDIS.items())
def test_a_bad_redis_file_is_refused_in_one_line_with_the_mend(home: Path, text: str, expected: str) -> None:
    write(home, "redis_config.yaml", text)
    assert complaint(home) == f"config/redis_config.yaml: {expected}"


@pytest.mark.parametrize(("text", "expected"), BAD_HOUSE.items())
def test_a_bad_house_file_is_refused_in_one_line_with_the_mend(home: Path, text: str, expected: str) -> None:
    write(home, "arbig.yaml", text)
    assert complaint(home) == f"config/arbig.yaml: {expected}"


def test_a_file_that_is_not_utf8_is_refused_in_one_line(home: Path) -> None:
    (home / "config" / "arbig.yaml").write_bytes("account_id: 账户".encode("gb18030"))
    assert complaint(home).startswith("config/arbig.yaml: not a YAML file in UTF-8: ")


def test_a_deep_field_is_named_by_its_path(tmp_path: Path) -> None:
    class Rate(Config):
        per_second: float = Field(5.0, gt=0)

    class Risk(Config):
        order_rate: Rate

    path = tmp_path / "config" / "risk.yaml"
    path.parent.mkdir()
    for text, expected in {
        "order_rate: {per_second: x}": (
            "order_rate.per_second: found 'x', expected a number; write e.g. per_second: 5.0"
        ),
        "order_rate: {per_second: -1}": (
            "order_rate.per_second: found -1, expected more than 0.0; write e.g. per_second: 5.0"
        ),
        "order_rate: {persecond: 1}": "order_rate.persecond: unknown key. Did you mean: per_second?",
        "order_rate: 3": "order_rate: found 3, expected keys and values; write e.g. order_rate: {per_second: ...}",
    }.items():
        path.write_text(text)
        with pytest.raises(SettingsError) as refused:
            load_yaml_model(path, Risk)
        assert str(refused.value) == f"config/risk.yaml: {expected}"


def test_a_secret_can_stand_in_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_REDIS_PASSWORD", "hidden")
    write(home, "redis_config.yaml", "host: localhost\nport: 1\nembedded: false\npassword: ${env:MY_REDIS_PASSWORD}")
    settings = load_settings(root=home)
    assert settings.redis_for("gateway").password == "hidden"
    assert "hidden" not in repr(settings)


def test_arguments_win_over_the_environment_and_the_environment_over_the_folder(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    assert load_settings().data == home / "data"
    monkeypatch.setenv("ARBIG_DATA", str(tmp_path / "other"))
    monkeypatch.setenv("ARBIG_PORT_OFFSET", "200")
    assert (load_settings().data, load_settings().port("web")) == (tmp_path / "other", 8280)
    settings = load_settings(data=tmp_path / "third", port_offset=300)
    assert (settings.data, settings.port("gateway")) == (tmp_path / "third", 8300)


def test_secrets_are_made_once_and_only_we_may_read_them(home: Path) -> None:
    first, second = load_settings(root=home), load_settings(root=home)
    assert first.token == second.token
    assert first.token != first.secret
    assert [mode(first.run), mode(first.run / "token"), mode(first.sockets)] == [0o700, 0o600, 0o700]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_socket_path_fits_however_deep_the_data_folder_lies(home: Path) -> None:
    settings = load_settings(root=home, data=home.joinpath(*["very-long-name"] * 12))
    assert len(str(settings.socket("supervisor"))) < 80


def test_a_data_folder_that_is_a_file_is_refused_in_one_line(home: Path) -> None:
    (home / "data").write_text("")
    with pytest.raises(SettingsError, match=r"data: File exists; a folder we may write to is needed, give one: --data"):
        _ = settings_of(home).run


def settings_of(home: Path) -> Settings:
    return load_settings(root=home)


def test_the_redis_of_a_copy_that_never_started_is_named_with_the_mend(home: Path) -> None:
    with pytest.raises(SettingsError, match=r"redis\.json: the embedded Redis has not started; run: arbig up"):
        settings_of(home).redis_for("gateway")


@pytest.mark.parametrize(
    ("line", "complaint"),
    {
        "": "config/arbig.yaml: account_id: found sim under mode: paper; books of paper and of money stay apart: "
        "write e.g. account_id: paper",
        "td_address: somewhere": "config/ctp_config.yaml: td_address: found 'somewhere', expected text like "
        "^(tcp|ssl)://.+:\\d+$; write e.g. td_address: tcp://182.254.243.31:30001",
        "passwort: x": "config/ctp_config.yaml: passwort: unknown key. Did you mean: password?",
    }.items(),
)
def test_a_brokers_counter_is_refused_in_one_line(home: Path, line: str, complaint: str) -> None:
    """Its file is checked first, without asking for its secrets."""
    shipped = (Path(__file__).parents[2] / "config" / "ctp_config.yaml").read_text("utf-8").splitlines()
    kept = [one for one in shipped if one.partition(":")[0] != line.partition(":")[0]]
    write(home, "ctp_config.yaml", "\n".join([*kept, line]))
    write(home, "arbig.yaml", "gateway: ctp")
    with pytest.raises(SettingsError) as refused:
        check_gateway(load_settings(root=home))
    assert str(refused.value) == complaint
