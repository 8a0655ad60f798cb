"""Serving: the registry's models behind `POST /predict` on Ray Serve, port 8100 (+ offset), on this machine only.

In: a `Question`. Out: a `Prediction`. A newly promoted version is loaded beside the one that answers and takes its
place between two questions; one that cannot be loaded is named in `GET /models`, and the old one goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil

from arbig.domain.features import FeatureError, Prediction, Question, refusal
from arbig.ml.ray_start import begun
from arbig.ml.sets import SetError
from arbig.runtime.leftovers import leftovers
from arbig.runtime.models import models_config
from arbig.runtime.settings import EXIT_CONFIG, Settings, SettingsError, load_settings
from arbig.store.models import Model, ModelError, Registry

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

LOOK_SECONDS = 0.5
KEPT = 32
"""Versions asked for by number that stay loaded."""
JSON = "application/json"


class Shelf:
    """The models that answer. What is slow (reading) is done beside; what answers is swapped in one step."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self._current: dict[str, Model] = {}
        self._numbered: dict[str, Model] = {}
        self.problems: dict[str, str] = {}

    def look(self) -> bool:
        """Loads what was promoted since; whether anything changed."""
        changed = False
        for name in self.registry.names():
            version, known = self.registry.current(name), self._current.get(name)
            if version is None or (known is not None and known.manifest.version == version):
                continue
            try:
                loaded = self.registry.load(f"{name}@{version}")
            except ModelError as error:
                changed = changed or self.problems.get(name) != str(error)
                self.problems[name] = str(error)
                continue
            self._current[name] = loaded
            self.problems.pop(name, None)
            changed = True
        return changed

    def answer(self, question: Question) -> Prediction:
        """Raises FeatureError (the question) or ModelError (no such model)."""
        reason = refusal(question.features, None)
        if reason is not None:
            raise FeatureError(reason)
        return self._model(question.model).answer(question.features)

    def _model(self, reference: str) -> Model:
        if "@" not in reference:
            found = self._current.get(reference)
            if found is None:
                raise ModelError(self.problems.get(reference) or f"no model {reference!r} is served")
            return found
        if reference not in self._numbered:
            if len(self._numbered) >= KEPT:
                del self._numbered[next(iter(self._numbered))]
            self._numbered[reference] = self.registry.load(reference)
        return self._numbered[reference]

    def describe(self) -> dict[str, Any]:
        rows = [
            {
                "name": name,
                "version": one.manifest.version,
                "kind": one.manifest.kind,
                "features": one.manifest.features,
                "fingerprint": one.manifest.fingerprint,
                "hash": one.manifest.hash,
                "trained_until": one.manifest.trained_until,
                "metrics": one.manifest.metrics,
                "beats_baseline": one.manifest.beats_baseline,
            }
            for name, one in self._current.items()
        ]
        return {"models": rows, "problems": self.problems}


class ModelServer:
    """One replica. `folder`: the registry; `token`: what opens it."""

    def __init__(self, folder: str, token: str) -> None:
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        self._expected = f"Bearer {token}".encode()
        self._decode = msgspec.json.Decoder(Question).decode
        self._shelf = Shelf(Registry(Path(folder)))
        self._shelf.look()
        self._watching = asyncio.get_running_loop().create_task(self._watch())

    async def __call__(self, request: Request) -> Response:
        route = ROUTES.get((request.method, request.url.path))
        if request.url.path == "/health":
            return answered({"alive": True})
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), self._expected):
            return answered({"detail": "wrong token: expected the content of data/run/ml_token"}, 401)
        if route is None:
            return answered(
                {"detail": f"{request.method} {request.url.path}: there is POST /predict, GET /models"}, 404
            )
        try:
            return answered(route(self, await request.body()))
        except (FeatureError, msgspec.MsgspecError) as error:
            return answered({"detail": str(error)}, 422)
        except ModelError as error:
            return answered({"detail": str(error)}, 404)

    def predict(self, body: bytes) -> Prediction:
        return self._shelf.answer(self._decode(body))

    def models(self, body: bytes) -> dict[str, Any]:
        return self._shelf.describe()

    def schema(self, body: bytes) -> dict[str, Any]:
        _, components = msgspec.json.schema_components([Question, Prediction])
        return {"question": components["Question"], "answer": components["Prediction"], "schemas": components}

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            with contextlib.suppress(OSError):
                await asyncio.to_thread(self._shelf.look)


ROUTES = {
    ("POST", "/predict"): ModelServer.predict,
    ("GET", "/models"): ModelServer.models,
    ("GET", "/schema"): ModelServer.schema,
}


def answered(content: Any, status: int = 200) -> Response:
    from starlette.responses import Response

    return Response(msgspec.json.encode(content), status, media_type=JSON)


def serve(settings: Settings, *others: tuple[Any, str, str]) -> None:
    """Ray and Ray Serve, begun in this process; returns when questions are answered. `others`: further applications
    (app, name, route), for a comparison in the same run. Raises SettingsError."""
    config = models_config(settings.config)
    try:
        begun(cpus=config.cpus)
        from ray import serve as ray_serve
    except (ImportError, SetError) as error:
        raise SettingsError(f"{error}; Ray Serve comes with: pip install 'arbig[ml]'") from None
    quiet = {"log_level": "WARNING", "enable_access_log": False}
    ray_serve.start(
        proxy_location="HeadOnly",
        http_options={"host": "127.0.0.1", "port": settings.port("ml")},
        logging_config=quiet,
    )
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    deployment = ray_serve.deployment(
        ModelServer,
        name="models",
        num_replicas=config.replicas,
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=64,
        logging_config=quiet,
    )
    app = deployment.bind(str(settings.data / "models"), settings.ml_token)
    for one, name, route in (*others, (app, "models", "/")):
        ray_serve.run(one, name=name, route_prefix=route)


def end() -> None:
    """Serve and Ray of this process."""
    import ray
    from ray import serve as ray_serve

    with contextlib.suppress(Exception):
        ray_serve.shutdown()
    ray.shutdown()


def end_former(settings: Settings) -> None:
    """What a server of this house that was killed left of its Ray: parts of it wait for ever."""
    for process in leftovers(settings):
        with contextlib.suppress(psutil.Error):
            if process.ppid() == 1 and process.environ()["ARBIG_SERVICE"] == "ml":
                process.kill()


def main() -> int:
    """`python -m arbig.ml.serving`: until SIGTERM."""
    asked = threading.Event()
    try:
        settings = load_settings()
        end_former(settings)
        serve(settings)
        for signum in (signal.SIGINT, signal.SIGTERM):  # after Ray, which has handlers of its own
            signal.signal(signum, lambda *_: asked.set())
    except SettingsError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIG
    print(json.dumps({"event": "models are served", "port": settings.port("ml")}), flush=True)
    asked.wait()
    end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
