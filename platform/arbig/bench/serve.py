"""Serve: a strategy's question to its model, beside a bare Ray Serve echo of the same words in the same run; and what a
strategy's callback costs while the model answers, while it is away, and while it hangs."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime as Time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from arbig.bench.house import BenchFailed, free_offset
from arbig.bench.report import quantile
from arbig.domain.features import MINUTES, FeatureError, Features, Question
from arbig.ml import serving
from arbig.ml.planting import planted
from arbig.ml.sets import SetError
from arbig.ml.training import train
from arbig.runtime.settings import Settings, load_settings
from arbig.strategy.predicting import ModelLine, NoAnswer

WARM = 100
TIMEOUT_SECONDS = 0.2


class Echo:
    """What Ray Serve itself costs: the words come back as they are."""

    async def __call__(self, request: Any) -> Any:
        from starlette.responses import Response

        return Response(await request.body(), media_type="application/json")


def run(folder: Path, rounds: int) -> dict[str, Any]:
    """`rounds` questions to each, in turn, so that both see the same machine."""
    from ray import serve as ray_serve

    from arbig.lab.desk import Desk

    place = folder / "serve"
    desk = Desk(data=place, history=place / "bars")
    desk.history.generate("au2512", "2025-09-01", "2025-09-30", seed=3)
    desk.history.write(planted(desk.history.bars("au2512"), 2.0, 0.02), replace=True)
    train(desk, "ml_gold", "au2512", folds=3, promote=True)
    settings = load_settings(data=place, port_offset=free_offset())
    echo = ray_serve.deployment(Echo, name="echo", ray_actor_options={"num_cpus": 0}, max_ongoing_requests=64)
    try:
        serving.serve(settings, (echo.bind(), "echo", "/echo"))
        model, bare = _measured(settings, rounds)
    except SetError as error:
        raise BenchFailed(str(error)) from None
    finally:
        serving.end()
    away = _callbacks(ModelLine(settings.port("ml"), "none"), rounds)
    with _hanging() as port:
        hangs = _callbacks(ModelLine(port, "none"), rounds)
    return {
        "questions": rounds,
        "predict_p50_ms": quantile(model, 0.5),
        "predict_p99_ms": quantile(model, 0.99),
        "echo_p50_ms": quantile(bare, 0.5),
        "echo_p99_ms": quantile(bare, 0.99),
        "ratio_p50": round(quantile(model, 0.5) / quantile(bare, 0.5), 2),
        "ratio_p99": round(quantile(model, 0.99) / quantile(bare, 0.99), 2),
        "away_p50_ms": quantile(away, 0.5),
        "away_p99_ms": quantile(away, 0.99),
        "hangs_p50_ms": quantile(hangs, 0.5),
        "hangs_p99_ms": quantile(hangs, 0.99),
        "hangs_most_ms": max(hangs),
    }


def _measured(settings: Settings, rounds: int) -> tuple[list[float], list[float]]:
    port, token = settings.port("ml"), settings.ml_token
    line, bare = ModelLine(port, token), ModelLine(port, token, path="/echo")
    body = msgspec.json.encode(Question("ml_gold", _features()))
    model: list[float] = []
    echo: list[float] = []
    for number in range(rounds + WARM):
        asked = _timed(lambda: line.ask("ml_gold", _features(), 5.0))
        said = _timed(lambda: bare.said(body, 5.0))
        if number >= WARM:
            model.append(asked)
            echo.append(said)
    return model, echo


def _callbacks(line: ModelLine, rounds: int) -> list[float]:
    """What asking costs a strategy, one question a callback, while there is no answer to be had."""

    def ask() -> None:
        try:
            line.ask("ml_gold", _features(), TIMEOUT_SECONDS)
        except (NoAnswer, FeatureError):
            return
        raise BenchFailed("somebody answered where nobody should")

    return [_timed(ask) for _ in range(rounds)]


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return round((time.perf_counter() - began) * 1000, 4)


def _features() -> Features:
    values = tuple(np.linspace(0.1, 1.7, len(MINUTES.names)).tolist())
    moment = Time(2025, 10, 20, 9, 30)
    return Features(
        vt_symbol="au2512.SHFE", datetime=moment, fingerprint=MINUTES.fingerprint, names=MINUTES.names, values=values
    )


@contextmanager
def _hanging() -> Iterator[int]:
    """A server that takes every connection and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(64)
        taken: list[socket.socket] = []
        thread = threading.Thread(target=_take, args=(server, taken), daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for line in taken:
                line.close()


def _take(server: socket.socket, taken: list[socket.socket]) -> None:
    while True:
        try:
            taken.append(server.accept()[0])
        except OSError:
            return
