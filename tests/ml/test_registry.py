"""The registry: a version is whole, unaltered and made for these features, or it is refused in one line."""

from __future__ import annotations

import json
import shutil
from datetime import datetime

import pytest

from arbig.domain.features import FEATURE_SETS, MINUTES, FeatureError, Features, FeatureSet
from arbig.store.models import ModelError, Registry, RegistryPredictor


@pytest.fixture
def registry(gold, tmp_path):
    shutil.copytree(gold.folder, tmp_path / "models")
    return Registry(tmp_path / "models")


def features_of(names=MINUTES.names, fingerprint=None):
    values = tuple(0.5 for _ in names)
    fingerprint = fingerprint or MINUTES.fingerprint
    when = datetime(2025, 10, 20, 9, 30)
    return Features(vt_symbol="au2512.SHFE", datetime=when, fingerprint=fingerprint, names=names, values=values)


def test_a_model_file_cut_short_or_altered_is_refused(registry):
    file = registry.folder / "ml_gold" / "1" / "model.txt"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"model\.txt: cut short or altered .* promote another version of ml_gold"):
        registry.load("ml_gold")
    file.write_bytes(whole.replace(b"leaf_value=", b"leaf_value=1 ", 1))
    with pytest.raises(ModelError, match="cut short or altered"):
        registry.load("ml_gold@1")
    file.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        registry.load("ml_gold")


def test_what_is_known_of_a_model_cannot_be_rewritten(registry):
    file = registry.folder / "ml_gold" / "1" / "model.json"
    found = json.loads(file.read_text())
    found["trained_until"] = "2025-01-01T00:00:00"
    file.write_text(json.dumps(found))
    with pytest.raises(ModelError, match=r"model\.json: was altered after training"):
        registry.load("ml_gold")


def test_a_model_whose_features_differ_is_refused(registry, monkeypatch):
    model = registry.load("ml_gold")
    with pytest.raises(FeatureError, match="other features than the model's: missing time_of_day"):
        model.answer(features_of(MINUTES.names[:-1]))
    with pytest.raises(FeatureError, match="computed in another way"):
        model.answer(features_of(fingerprint="0" * 16))
    changed = FeatureSet("minutes", MINUTES.names, 30, lambda window: [float(window.close[-1])] * 13)
    monkeypatch.setitem(FEATURE_SETS, "minutes", changed)
    with pytest.raises(ModelError, match="trained with other features than the set 'minutes' has now"):
        registry.load("ml_gold")


def test_a_version_is_there_as_a_whole_or_not_at_all(registry):
    (registry.folder / "ml_gold" / ".new-halfway").mkdir()
    (registry.folder / "ml_gold" / ".new-halfway" / "model.txt").write_text("tree")
    before = registry.versions("ml_gold")
    assert registry.load("ml_gold").manifest.version == "1"
    manifest = registry.manifest("ml_gold@1")
    text = (registry.folder / "ml_gold" / "1" / "model.txt").read_text()
    made = registry.save(manifest, text, lambda one: f"# {one.name} {one.version}\n")
    assert registry.versions("ml_gold") == [*before, made.version]
    assert registry.current("ml_gold") == "1"
    assert registry.promote(f"ml_gold@{made.version}").version == registry.current("ml_gold") == made.version
    assert registry.card("ml_gold") == f"# ml_gold {made.version}\n"
    with pytest.raises(RuntimeError):
        registry.save(manifest, text, broken_card)
    assert registry.versions("ml_gold") == [*before, made.version]


def broken_card(manifest):
    raise RuntimeError("the card could not be written")


def test_an_unknown_model_or_version_is_named(registry):
    with pytest.raises(ModelError, match=r"no model 'gold' .* \(there: ml_gold.*\)"):
        registry.load("gold")
    with pytest.raises(ModelError, match="found version '9', there are 1"):
        registry.load("ml_gold@9")
    with pytest.raises(ModelError, match=r"no model '\.\./ml_gold'"):
        registry.load("../ml_gold")
    with pytest.raises(FeatureError, match="was not named before the run"):
        RegistryPredictor(registry, ["ml_gold"]).answer("other", features_of())


def test_the_card_says_what_a_trader_must_know(gold):
    text = Registry(gold.folder).card("ml_gold@1")
    manifest = gold.trained.manifest
    for word in (
        "au2512.SHFE",
        manifest.hash[:16],
        manifest.origin.hash[:16],
        "2025-10-17 14:5",
        "beats the linear baseline",
    ):
        assert word in text
