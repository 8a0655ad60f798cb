"""What lies under deploy/ says the same names, ports and commands as the code."""

from __future__ import annotations

import configparser
import ipaddress
from pathlib import Path
from typing import Any

import pytest
import yaml

from arbig.runtime.programs import BY_NAME
from arbig.runtime.settings import EXIT_CONFIG, HOSTED, PORTS

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((DEPLOY / name).read_text("utf-8"))
    return parser


@pytest.mark.parametrize("service", HOSTED)
def test_each_service_of_the_compose_file_is_the_program_on_its_port(service: str) -> None:
    found = COMPOSE["services"][service]
    assert ["python", "-m", "arbig.runtime.lean", BY_NAME[service].module] == found["command"]
    assert [str(PORTS[service])] == found["expose"]
    assert {"ARBIG_SERVICE": service, "ARBIG_SERVICES": service} == found["environment"]
    assert f"{service}:/data" in found["volumes"] and service in COMPOSE["volumes"]


def test_nothing_of_the_house_is_published_and_every_address_is_its_own() -> None:
    services = COMPOSE["services"]
    assert {"redis", "postgres", *HOSTED} == set(services)
    assert not [name for name, found in services.items() if "ports" in found]
    addresses = [found["networks"]["house"]["ipv4_address"] for found in services.values()]
    [subnet] = COMPOSE["networks"]["house"]["ipam"]["config"]
    assert len(addresses) == len(set(addresses))
    assert all(ipaddress.ip_address(each) in ipaddress.ip_network(subnet["subnet"]) for each in addresses)


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
    assert "postgres = [" in (ROOT / "pyproject.toml").read_text("utf-8")
    assert (ROOT / "constraints.txt").exists()
