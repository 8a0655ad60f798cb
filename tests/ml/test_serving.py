"""The model server answers what the registry answers, takes over a new version between two questions, and lets in
nobody without its token. The server itself, without Ray; one test at the end has Ray around it."""

from __future__ import annotations

import json
import shutil
import threading
import time
from contextlib import contextmanager

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from arbig import FeaturePipeline
from arbig.domain.features import FeatureError
from arbig.ml.serving import ModelServer, Shelf
from arbig.store.models import Registry, RegistryPredictor
from arbig.strategy.predicting import ModelLine, NoAnswer


@pytest.fixture
def registry(gold, tmp_path):
    shutil.copytree(gold.folder, tmp_path / "models")
    return Registry(tmp_path / "models")


def gold_of(told):
    """Other tests may have trained models of other names beside it."""
    return [row for row in told["models"] if row["name"] == "ml_gold"]


@pytest.fixture(scope="module")
def questions(gold):
    series = gold.desk.history.bars("au2512", "2025-10-20", "2025-10-20")
    pipeline = FeaturePipeline()
    return [found for bar in series.bars() if (found := pipeline.on_bar(bar))]


@contextmanager
def served(registry, token="secret"):
    made = []

    async def handle(request):
        if not made:
            made.append(ModelServer(str(registry.folder), token))
        return await made[0](request)

    app = Starlette(routes=[Route("/{rest:path}", handle, methods=["GET", "POST"])])
    config = uvicorn.Config(app, port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


def test_the_server_says_what_a_backtest_says_to_the_last_bit(registry, questions):
    here = RegistryPredictor(registry, ["ml_gold"])
    with served(registry) as port:
        line = ModelLine(port, "secret")
        for features in questions[:100]:
            assert line.ask("ml_gold", features, 2) == here.answer("ml_gold", features)
        assert line.ask("ml_gold@1", questions[0], 2).version == "1"
        line.close()


def test_what_is_asked_wrongly_is_refused_with_the_reason(registry, questions):
    other = type(questions[0])(
        vt_symbol="au2512.SHFE", datetime=questions[0].datetime, fingerprint="0", names=("x",), values=(1.0,)
    )
    with served(registry) as port:
        line = ModelLine(port, "secret")
        with pytest.raises(FeatureError, match="ml_gold 1: other features than the model's: missing return_1"):
            line.ask("ml_gold", other, 2)
        with pytest.raises(FeatureError, match="no model 'silver' is served"):
            line.ask("silver", questions[0], 2)
        with pytest.raises(NoAnswer, match="answered 401: wrong token"):
            ModelLine(port, "guess").ask("ml_gold", questions[0], 2)
        line.close()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            mine = {"Authorization": "Bearer secret"}
            assert client.get("/health").json() == {"alive": True}
            assert client.get("/models").status_code == 401
            for body in (b"", b"{", b'{"model": 3}', b'{"model": "ml_gold", "features": {"values": ["x"]}}'):
                assert client.post("/predict", content=body, headers=mine).status_code == 422
            assert client.get("/predict", headers=mine).status_code == 404
            (row,) = gold_of(client.get("/models", headers=mine).json())
            assert (row["name"], row["version"], row["trained_until"]) == ("ml_gold", "1", "2025-10-17T14:59:00")
            assert "features" in json.dumps(client.get("/schema", headers=mine).json()["question"])


def test_a_new_version_takes_over_and_no_question_is_dropped(registry, questions):
    manifest = registry.manifest("ml_gold@1")
    text = (registry.folder / "ml_gold" / "1" / "model.txt").read_text()
    second = registry.save(manifest, text.replace("tree\n", "tree\n", 1), lambda one: "card")
    seen = []
    with served(registry) as port:
        line = ModelLine(port, "secret")
        began = time.monotonic()
        while not seen or seen[-1] != second.version:
            seen.append(line.ask("ml_gold", questions[len(seen) % 50], 2).version)
            if len(seen) == 20:
                registry.promote(f"ml_gold@{second.version}")
            assert time.monotonic() - began < 20
        line.close()
    assert seen == sorted(seen, key=int) and set(seen) == {"1", second.version}


def test_a_broken_new_version_leaves_the_old_one_answering(registry, questions):
    shelf = Shelf(registry)
    assert shelf.look() and not shelf.look()
    manifest = registry.manifest("ml_gold@1")
    text = (registry.folder / "ml_gold" / "1" / "model.txt").read_text()
    second = registry.save(manifest, text, lambda one: "card")
    registry.promote(f"ml_gold@{second.version}")
    file = registry.folder / "ml_gold" / second.version / "model.txt"
    file.write_text(text[:-100])
    assert shelf.look()
    (row,) = gold_of(shelf.describe())
    assert row["version"] == "1" and "cut short or altered" in shelf.describe()["problems"]["ml_gold"]
    file.write_text(text)
    assert shelf.look() and not shelf.problems
    (row,) = gold_of(shelf.describe())
    assert row["version"] == second.version
