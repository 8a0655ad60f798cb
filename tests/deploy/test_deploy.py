"""What lies under deploy/ says the same names, ports and commands as the code."""

from __future__ import annotations

import configparser
import ipaddress
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from arbig.runtime.programs import BY_NAME
from arbig.runtime.settings import EXIT_CONFIG, HOSTED, PORTS, Settings, load_settings
from arbig.store.place import PostgresAddress

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((DEPLOY / name).read_text("utf-8"))
    return parser


def address(service: str) -> str:
    return str(COMPOSE["services"][service]["networks"]["house"]["ipv4_address"])


@pytest.mark.parametrize("service", HOSTED)
def test_each_service_of_the_compose_file_is_the_program_on_its_port(service: str) -> None:
    found = COMPOSE["services"][service]
    assert ["python", "-m", "arbig.runtime.lean", BY_NAME[service].module] == found["command"]
    assert [str(PORTS[service])] == found["expose"]
    assert {"ARBIG_SERVICE": service, "ARBIG_SERVICES": service} == found["environment"]
    assert f"{service}:/data" in found["volumes"] and service in COMPOSE["volumes"]


def test_nothing_of_the_house_is_published_and_every_address_is_its_own() -> None:
    services = COMPOSE["services"]
    assert {"redis", "postgres", "exchange", *HOSTED} == set(services)
    assert not [name for name, found in services.items() if "ports" in found]
    addresses = [address(name) for name in ("redis", "postgres", *HOSTED)]
    [subnet] = COMPOSE["networks"]["house"]["ipam"]["config"]
    assert len(addresses) == len(set(addresses))
    assert all(ipaddress.ip_address(each) in ipaddress.ip_network(subnet["subnet"]) for each in addresses)


def test_the_simulated_exchange_shares_data_folder_and_sockets_with_the_gateway_and_nothing_else() -> None:
    """Both find the socket by the name of the data folder, under /tmp."""
    exchange, gateway = COMPOSE["services"]["exchange"], COMPOSE["services"]["gateway"]
    assert exchange["command"][-1] == BY_NAME["exchange"].module
    assert exchange["profiles"] == ["sim"] and exchange["network_mode"] == "none"
    assert exchange["volumes"] == gateway["volumes"] and "sockets:/tmp" in gateway["volumes"]


def test_whatever_ends_is_started_again() -> None:
    assert {"unless-stopped"} == {found["restart"] for found in COMPOSE["services"].values()}


def test_the_units_start_what_there_is() -> None:
    house, one = unit("arbig.service"), unit("arbig@.service")
    assert house["Service"]["ExecStart"].endswith("/bin/arbig up")
    assert house["Service"]["ExecStop"].endswith("/bin/arbig down")
    assert one["Service"]["ExecStart"].endswith("python -m arbig.runtime.lean arbig.%i")
    assert all(BY_NAME[service].module == f"arbig.{service}" for service in HOSTED)
    assert str(EXIT_CONFIG) == one["Service"]["RestartPreventExitStatus"]


def test_the_image_holds_what_the_compose_file_counts_on() -> None:
    said = (DEPLOY / "Dockerfile").read_text("utf-8")
    assert "ARBIG_DATA=/data" in said and "ARBIG_CONFIG=/config" in said and ".[postgres]" in said
    assert "ARG CTP" in said and "arbig" == COMPOSE["services"]["gateway"]["image"]
    assert ["gateway"] == [name for name, found in COMPOSE["services"].items() if "build" in found]
    assert "postgres = [" in (ROOT / "pyproject.toml").read_text("utf-8")
    assert (ROOT / "constraints.txt").exists()


def test_into_the_image_goes_only_what_it_runs() -> None:
    """Neither secrets nor books: what is let in is said by name."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    assert "*" == next(line for line in lines if not line.startswith("#"))
    let_in = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert {"LICENSE", "README.md", "constraints.txt", "platform", "pyproject.toml", "strategies"} == let_in
    assert {"deploy/config/", "deploy/secrets/"} <= set((ROOT / ".gitignore").read_text("utf-8").splitlines())


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """deploy/ after prepare.sh, whose chown only writes down what it was asked."""
    shutil.copytree(ROOT / "config", tmp_path / "config")
    (tmp_path / "deploy").mkdir()
    shutil.copy(DEPLOY / "prepare.sh", tmp_path / "deploy")
    (tmp_path / "chown").write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/owners\n')
    (tmp_path / "chown").chmod(0o755)
    prepare(tmp_path / "deploy")
    return tmp_path / "deploy"


def prepare(deploy: Path) -> None:
    path = f"{deploy.parent}:{os.environ['PATH']}"
    subprocess.run([deploy / "prepare.sh"], env={"PATH": path}, check=True, capture_output=True)


def settings_of(deploy: Path) -> Settings:
    """What a container reads, with deploy/secrets in the place of /secrets."""
    for file in ("hosts.yaml", "redis_config.yaml", "arbig.yaml"):
        path = deploy / "config" / file
        path.write_text(path.read_text("utf-8").replace("/secrets/", f"{deploy}/secrets/"), "utf-8")
    return load_settings(root=ROOT, config=deploy / "config", data=deploy.parent / "data", port_offset=0)


def test_what_is_prepared_are_the_addresses_of_the_compose_file(prepared: Path) -> None:
    settings = settings_of(prepared)
    assert {name: address(name) for name in HOSTED} == {name: settings.host(name) for name in HOSTED}
    assert settings.redis_for("trading").host == address("redis") and settings.redis_for("trading").tls
    database = settings.database("trading")
    assert isinstance(database, PostgresAddress)
    said = COMPOSE["services"]["postgres"]["environment"]
    assert (address("postgres"), said["POSTGRES_USER"], said["POSTGRES_DB"]) == (
        database.host, database.user, database.database,
    )  # fmt: skip
    assert (prepared / "secrets/database_password").read_text().strip() == database.password
    assert len(settings.token) == 48


def test_each_secret_is_for_its_one_user_and_no_authority_s_key_is_left(prepared: Path) -> None:
    files = {path.name: path.stat().st_mode & 0o777 for path in (prepared / "secrets").iterdir()}
    services, servers = {"token", "redis_password", "database_password", "host.key"}, {"redis.conf", "server.key"}
    certificates = {"ca.pem", "host.pem", "server.pem"}
    assert files == dict.fromkeys(services | servers, 0o600) | dict.fromkeys(certificates, 0o644)
    owners = [line.split() for line in (prepared.parent / "owners").read_text().splitlines()]
    assert ["-R", "1000", "../config"] == owners[0]
    assert {"1000": services, "999": servers} == {user: set(names) for user, *names in owners[1:]}


@pytest.mark.parametrize(("name", "served"), [("server", ("redis", "postgres")), ("host", HOSTED)])
def test_the_certificates_name_their_addresses(prepared: Path, name: str, served: tuple[str, ...]) -> None:
    for service in served:
        words = ["openssl", "verify", "-CAfile", "ca.pem", "-verify_ip", address(service), f"{name}.pem"]
        subprocess.run(words, cwd=prepared / "secrets", check=True, capture_output=True)


def test_a_second_time_makes_new_certificates_and_leaves_the_rest(prepared: Path) -> None:
    (prepared / "config/arbig.yaml").write_text("gateway: ctp\n")
    names = ("token", "redis_password", "database_password", "redis.conf", "ca.pem", "host.key", "server.pem")
    before = {name: (prepared / "secrets" / name).read_text() for name in names}
    prepare(prepared)
    changed = {name for name in names if (prepared / "secrets" / name).read_text() != before[name]}
    assert {"ca.pem", "host.key", "server.pem"} == changed
    assert "gateway: ctp\n" == (prepared / "config/arbig.yaml").read_text()
