"""A strategy and its model: answers are kept with their version and found by order; a model that is away, hangs or
drips never hangs the strategy, nor slows another one. Real processes, a model server made by hand."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from contextlib import contextmanager
from datetime import datetime

import pytest

from arbig.domain.features import FeatureError, Features
from arbig.strategy.predicting import FIRST_PAUSE_SECONDS, ModelLine, NoAnswer

ASKS = """
from datetime import timedelta
from arbig import CtaTemplate, Features

class Asks(CtaTemplate):
    model = "gold"
    fallback = -1.0
    times = 1
    age = 0
    value = 0.0
    reason = ""
    bars = 0
    parameters = ["times", "age"]
    variables = ["value", "reason", "bars"]

    def on_init(self):
        pass

    def on_bar(self, bar):
        self.bars += 1
        when = bar.datetime.replace(tzinfo=None) - timedelta(minutes=self.age)
        for _ in range(self.times):
            words = dict(vt_symbol=bar.vt_symbol, datetime=when, fingerprint="f", names=("x",), values=(1.0,))
            found = self.predict(Features(**words), timeout=30)
        self.value, self.reason = found.value, found.reason
        if found.value > 0:
            self.buy(bar.close_price, 1)
        self.put_event()

class Beside(CtaTemplate):
    seen = 0
    variables = ["seen"]
    def on_init(self): pass
    def on_bar(self, bar):
        self.seen += 1
        self.put_event()
"""
YAML = "strategy_name: {0}\nsymbol: au2512\nexchange: SHFE\nparams: {1}\n"
GOOD = json.dumps({"value": 7.25, "model": "gold", "version": "3", "trained_until": "2025-09-30T14:59:00"}).encode()


def reply(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def served(act):
    """`act(connection, request)` for every question; the port."""
    server = _listening()
    ended = threading.Event()

    def talk(line):
        with line:
            while not ended.is_set() and (data := line.recv(1 << 16)):
                act(line, data, ended)

    def accept():
        while not ended.is_set():
            try:
                line, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=quiet, args=(talk, line), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        ended.set()
        server.close()


def quiet(talk, line):
    try:
        talk(line)
    except OSError:
        pass


def _listening():
    """On a port that a house's offset can name."""
    while True:
        server = socket.socket()
        server.bind(("127.0.0.1", 0))
        if 8100 <= server.getsockname()[1] <= 58000:
            server.listen()
            return server
        server.close()


def answers(line, data, ended):
    line.sendall(reply(GOOD))


def hangs(line, data, ended):
    ended.wait(20)


def drips(line, data, ended):
    for byte in reply(GOOD):
        line.sendall(bytes([byte]))
        if ended.wait(0.05):
            return


def refuses(line, data, ended):
    line.sendall(reply(b'{"detail": "gold 3: other features"}', "422 Unprocessable"))


def lies(line, data, ended):
    line.sendall(reply(b'{"value": 1e999, "model": "gold", "version": "3"}'))


def babbles(line, data, ended):
    line.sendall(b"no HTTP at all\r\n\r\n")


QUESTION = Features(
    vt_symbol="au2512.SHFE", datetime=datetime(2025, 10, 9, 9), fingerprint="f", names=("x",), values=(1.0,)
)


@pytest.mark.parametrize("act", [hangs, drips, lies, babbles])
def test_no_question_takes_longer_than_it_may_and_then_nobody_asks_for_a_while(act):
    with served(act) as port:
        line = ModelLine(port, "t")
        began = time.monotonic()
        for _ in range(2):
            with pytest.raises(NoAnswer):
                line.ask("gold", QUESTION, 0.1)
        assert time.monotonic() - began < 1.5
        with pytest.raises(NoAnswer, match="did not answer 2 times; it is asked again later"):
            line.ask("gold", QUESTION, 0.1)


def test_after_the_pause_one_question_decides():
    now = [100.0]
    with served(answers) as port:
        line = ModelLine(port, "t", lambda: now[0])
        line.port, there = 1, port
        for _ in range(2):
            with pytest.raises(NoAnswer, match="no model server on port 1; start it: arbig ml serve"):
                line.ask("gold", QUESTION, 0.2)
        line.port = there
        now[0] += FIRST_PAUSE_SECONDS - 0.1
        with pytest.raises(NoAnswer, match="asked again later"):
            line.ask("gold", QUESTION, 0.2)
        now[0] += 0.2
        assert line.ask("gold", QUESTION, 0.2).value == 7.25
        assert not line.breaker.failures


def test_a_refused_question_is_no_failure_of_the_server():
    with served(refuses) as port:
        line = ModelLine(port, "t")
        for _ in range(5):
            with pytest.raises(FeatureError, match="gold 3: other features"):
                line.ask("gold", QUESTION, 0.2)
        assert not line.breaker.failures


def test_a_kept_connection_that_the_server_closed_is_made_anew():
    def once(line, data, ended):
        answers(line, data, ended)
        line.shutdown(socket.SHUT_RDWR)

    with served(once) as port:
        line = ModelLine(port, "t")
        assert [line.ask("gold", QUESTION, 0.5).version for _ in range(3)] == ["3"] * 3


def with_model(floor, monkeypatch, port, params="{}"):
    monkeypatch.setenv("ARBIG_PORT_OFFSET", str(port - 8100))
    floor.code(ASKS)
    floor.yaml(YAML.format("Asks", params), "asks.yaml")
    floor.yaml(YAML.format("Beside", "{}"), "beside.yaml")


def test_an_order_leads_to_the_prediction_behind_it(floor, monkeypatch):
    """With its version, the bar it was asked about, and the bar that was being answered."""

    async def run():
        async with floor.open(processes=True) as desk:
            await desk.bar(0, 800)
            (order,) = await desk.some_requests(1)
            store = desk.service.store
            await desk.until(lambda: store.predictions(request_id=order.request_id), "the prediction of the order")
            return order, store.predictions(request_id=order.request_id), store.predictions("Asks")

    with served(answers) as port:
        with_model(floor, monkeypatch, port)
        order, (found,), every = asyncio.run(run())
    assert (found["model"], found["version"], found["value"], found["reason"]) == ("gold", "3", 7.25, "")
    assert (found["cause"], found["features_at"]) == (order.cause, "2025-10-09T09:00:00")
    assert every == [found]


def test_a_strategy_whose_model_hangs_goes_on_with_its_fallback_and_nobody_beside_it_waits(floor, monkeypatch):
    """Ten questions of thirty seconds each in one callback: all of them together stay below what counts as hung."""

    async def run():
        async with floor.open(processes=True) as desk:
            asks, beside = desk.live("Asks"), desk.live("Beside")
            await desk.bar(0, 800)
            await desk.until(lambda: beside.variables["seen"] == 1, "Beside sees the bar")
            assert asks.variables["bars"] == 0  # still waiting for its model
            for minute in (1, 2, 3):
                await desk.bar(minute, 800)
            await desk.until(lambda: asks.variables["bars"] == 4, "Asks has answered every bar")
            await desk.until(lambda: len(desk.service.store.predictions("Asks")) == 40, "every question is kept")
            assert asks.state == "RUNNING" and beside.variables["seen"] == 4
            assert await desk.requests() == []
            return asks.variables, desk.service.store.predictions("Asks")

    with served(hangs) as port:
        with_model(floor, monkeypatch, port, "{times: 10}")
        variables, rows = asyncio.run(run())
    assert variables["value"] == -1.0 and "asked again later" in variables["reason"]
    assert all(row["value"] == -1.0 and row["version"] == "" and row["reason"] for row in rows)
    assert sum(row["milliseconds"] for row in rows) < 1500


def test_stale_features_reach_no_model(floor, monkeypatch):
    asked = []

    def act(line, data, ended):
        asked.append(data)
        answers(line, data, ended)

    async def run():
        async with floor.open(processes=True) as desk:
            await desk.bar(30, 800)
            await desk.until(lambda: desk.live("Asks").variables.get("bars") == 1, "the bar is answered")
            return desk.live("Asks").variables

    with served(act) as port:
        with_model(floor, monkeypatch, port, "{age: 6}")
        variables = asyncio.run(run())
    assert variables["value"] == -1.0 and not asked
    assert variables["reason"] == "stale features: of 2025-10-09 09:24, it is 2025-10-09 09:30, allowed are 300 s"
