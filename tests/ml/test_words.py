"""The words `arbig ml ...`, the process under the supervisor, and a house without the extra."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from arbig.ml.cli import app
from arbig.runtime.programs import programs_of
from arbig.runtime.settings import SettingsError, load_settings
from arbig.store.models import ModelError, Registry

ROOT = Path(__file__).parents[2]
WITHOUT = """
import sys
for name in ("ray", "lightgbm"):
    sys.modules[name] = None
import arbig.cli, arbig.lab.desk, arbig.lab.sweeps, arbig.strategy.worker, arbig.strategy.service, arbig.web.service
import arbig.ml.cli, arbig.ml.serving, arbig.ml.training, arbig.store.models
from pathlib import Path
from arbig.ml.sets import SetError
from arbig.ml.ray_start import begun
from arbig.store.models import ModelError, Registry
try:
    begun()
except SetError as error:
    print(error)
try:
    Registry(Path(sys.argv[1])).load("ml_gold")
except ModelError as error:
    print(error)
"""


def said(*words: str) -> str:
    return CliRunner().invoke(app, words, catch_exceptions=False).output


@pytest.fixture
def data(gold, tmp_path, monkeypatch):
    monkeypatch.setenv("ARBIG_ROOT", str(ROOT))
    shutil.copytree(gold.folder, tmp_path / "models")
    return tmp_path


def test_status_shows_the_models_and_what_is_wrong_with_one(data):
    text = said("status", "--data", str(data))
    assert "ml_gold" in text and "lightgbm" in text and "yes" in text
    assert "server: none on port 8100; start it: arbig ml serve" in text
    (data / "models" / "ml_gold" / "1" / "model.txt").write_text("tree")
    assert "problem:" in said("status", "--data", str(data))


def test_a_person_promotes_and_reads_a_card(data):
    assert said("promote", "ml_gold@1", "--data", str(data)) == "ml_gold 1 answers from now on\n"
    assert said("card", "ml_gold", "--data", str(data)).startswith("# ml_gold 1")
    refused = CliRunner().invoke(app, ["promote", "ml_gold@7", "--data", str(data)])
    assert refused.exit_code == 1


def test_the_server_is_supervised_when_the_file_says_so(tmp_path):
    shutil.copytree(ROOT / "config", tmp_path / "config")
    settings = load_settings(ROOT, tmp_path / "config", tmp_path / "data")
    assert "ml" not in {one.name for one in programs_of(settings)}
    (tmp_path / "config" / "ml.yaml").write_text("serve: true\n")
    assert "ml" in {one.name for one in programs_of(settings)}
    (tmp_path / "config" / "ml.yaml").write_text("serve: soon\n")
    with pytest.raises(SettingsError, match=r"ml\.yaml: serve: found 'soon'"):
        programs_of(replace(settings))


def test_without_the_extra_the_house_is_whole_and_models_say_what_is_missing(gold):
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT, str(gold.folder)], capture_output=True, text=True, timeout=120
    )
    assert run.stdout.splitlines() == [
        "ray is not installed; write: pip install 'arbig[ml]'",
        "lightgbm is not installed; write: pip install 'arbig[ml]'",
    ], run.stderr


def test_reading_the_registry_writes_nothing(tmp_path):
    registry = Registry(tmp_path / "nowhere")
    assert registry.names() == [] and registry.current("gold") is None
    with pytest.raises(ModelError, match="there: none yet"):
        registry.load("gold")
    assert not (tmp_path / "nowhere").exists()
