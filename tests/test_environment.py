"""The environment: what pyproject.toml, environment.yml and constraints.txt say is the same, and safe."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distributions, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

ROOT = Path(__file__).parents[1]
CARD = [
    *("jupyterlab", "ipywidgets", "panel", "bokeh", "redis", "vnpy", "vnpy_ctp"),
    *("pandas", "ta-lib", "papermill", "pyyaml", "pytest", "nbval"),
]
SAFE = {"bokeh": "3.8.2", "jupyterlab": "4.5.7", "jupyter_server": "2.20"}
CONDA_NAMES = {"redis-py": "redis"}


def project() -> dict[str, Requirement]:
    """Every requirement of pyproject.toml, extras included, by its name."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lists = [table["dependencies"], *table["optional-dependencies"].values()]
    return {key(found.name): found for names in lists for found in map(Requirement, names)}


def conda() -> dict[str, Requirement]:
    """Every package environment.yml asks of conda or pip, by the name it has on the index."""
    listed = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    names = [name for name in listed if isinstance(name, str)] + listed[-1]["pip"]
    found = [Requirement(name) for name in names if not name.startswith("-e")]
    return {key(CONDA_NAMES.get(one.name, one.name)): one for one in found}


def key(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_environment_yml_lists_every_package_of_the_card():
    assert {key(name) for name in CARD} <= set(conda())


def test_environment_yml_asks_for_nothing_that_pyproject_does_not_know_and_for_the_same_versions():
    known = project()
    for name, wanted in conda().items():
        if name not in ("python", "pip"):
            assert str(wanted.specifier) == str(known[name].specifier), name


def test_environment_yml_installs_arbig_with_the_ctp_extra():
    assert "-e .[ctp]" in yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"][-1]["pip"]


@pytest.mark.parametrize(("name", "oldest"), SAFE.items())
def test_no_package_with_known_holes_is_asked_for_or_installed(name, oldest):
    assert str(project()[key(name)].specifier) == f">={oldest}"
    assert Version(version(name)) >= Version(oldest)


def test_constraints_pin_every_package_we_ask_for_and_name_no_address():
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pinned = {key(Requirement(line).name) for line in lines}
    assert set(project()) - {"vnpy-ctp"} <= pinned
    assert all(re.fullmatch(r"[\w.\-]+==[\w.+!]+", line) for line in lines)


def test_pythons_own_platform_module_is_what_one_gets_from_the_repository_root():
    said = subprocess.run(
        [sys.executable, "-c", "import platform; print(platform.python_version())"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.strip() == ".".join(map(str, sys.version_info[:3]))


def test_every_make_target_has_a_line_of_help():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
    said = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(targets) == set(re.findall(r"^  make (\w+)", said.stdout, re.M))


def test_every_pinned_package_installs_on_the_oldest_python_that_is_promised():
    """Debian 12 has 3.11.2; a pin that asked for 3.11.5 once left it without an installation."""
    promised = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    oldest = promised.removeprefix(">=") + ".0"
    asked = {found.name: found.metadata["Requires-Python"] or "" for found in distributions()}
    assert not {name: says for name, says in asked.items() if oldest not in SpecifierSet(says)}
