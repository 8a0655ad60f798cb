"""Fuzzing of Web: questions and wishes made from its own description, frames that are none, keys that fit nowhere."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import cycle, islice
from typing import Any

import httpx
import msgspec
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from arbig.web.answers import ANSWERS, HTML
from arbig.web.api import PREFIX

Ask = Callable[..., httpx.Response]
NOISY = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
SENT = {"params": "params", "json": "json", "data": "content"}


def questions(about: dict[str, Any], ask: Ask, examples: int, chance: int) -> Counter[int]:
    """Of each operation that is asked something: so many cases that fit its description and as many that do not; how
    often each status came."""
    counted: Counter[int] = Counter()

    def asking(kind: Any) -> Callable[[Case], None]:
        def each(case: Case) -> None:
            whole = case.as_transport_kwargs(base_url="http://web")
            sent = {SENT[name]: value for name, value in whole.items() if name in SENT}
            answer = ask(case.method, case.formatted_path, **sent)
            counted[answer.status_code] += 1
            judge(f"{case.method} {case.formatted_path} {whole}"[:600], answer, kind)

        return each

    for found in schemathesis.openapi.from_dict(about).get_all_operations():
        operation = found.ok()
        kind = ANSWERS.get((operation.method.upper(), operation.path.removeprefix(PREFIX)))
        asks = about["paths"][operation.path][operation.method.lower()]
        for mode in MODES if asks.get("parameters") or asks.get("requestBody") else ():
            each = given(operation.as_strategy(generation_mode=mode))(asking(kind))
            few = settings(max_examples=examples, database=None, deadline=None, phases=[Phase.generate])
            with suppress(Unsatisfiable):  # not every operation can be asked wrongly
                seed(chance)(settings(few, suppress_health_check=NOISY)(each))()
    return counted


def judge(asked: str, answer: httpx.Response, kind: Any) -> None:
    """Never a 500; a refusal has its sentence; what is answered can be read as what the description says."""
    said = f"{asked}: {answer.status_code} {answer.text[:300]}"
    assert answer.status_code < 500 or answer.status_code == 503, said
    if answer.status_code >= 400:
        assert answer.json()["detail"], said
    elif kind not in (HTML, None):
        try:
            msgspec.json.decode(answer.content, type=kind)
        except msgspec.DecodeError as error:
            raise AssertionError(f"{error}: {said}") from None


RIGHT = '{"subscribe": ["trade", "tick:au2512"], "after": {"stream:trade": "1-0"}, "since": {}}'
STRINGS = ("", "trade", "tick:*", "tick:" + "a" * 5000, "stream:cmd", "\x00", "\ud800")
WORDS: tuple[Any, ...] = (None, True, -1, 1e308, [], {}, *STRINGS)


def frames(count: int, chance: int) -> Iterator[str | bytes]:
    """Malformed ones: bytes, cut and bent requests, wrong kinds, deep and long JSON."""
    dice = random.Random(chance)
    makers: tuple[Callable[[], str | bytes], ...] = (
        lambda: dice.randbytes(dice.randrange(200)),
        lambda: RIGHT[: dice.randrange(len(RIGHT))],
        lambda: _bent(RIGHT, dice),
        lambda: json.dumps({"subscribe": dice.choice(WORDS)}),
        lambda: json.dumps({"subscribe": [dice.choice(WORDS)]}),
        lambda: json.dumps({"subscribe": ["trade"], "after": {"stream:trade": dice.choice(WORDS)}}),
        lambda: json.dumps({"subscribe": ["trade"], "after": dice.choice(WORDS)}),
        lambda: json.dumps({"subscribe": ["trade"], "since": {dice.choice(("stream:trade", "x")): dice.choice(WORDS)}}),
        lambda: json.dumps({dice.choice(("subscribe", "order", "halt")): dice.choice(WORDS), "x": 1}),
        lambda: "[" * dice.randrange(1, 3000),
        lambda: json.dumps({"subscribe": [f"tick:a{n}" for n in range(501)]}),
        lambda: "x" * dice.choice((10, 70_000)),
    )
    for _ in range(count):
        yield dice.choice(makers)()


def _bent(text: str, dice: random.Random) -> str:
    place = dice.randrange(len(text))
    return text[:place] + chr(dice.randrange(32, 0x2FFF)) + text[place + 1 :]


def frames_sent(address: str, headers: dict[str, str], count: int, chance: int) -> Counter[int]:
    """Each on a line of its own; how often each close code came. 0: it was a request after all."""
    closed: Counter[int] = Counter()
    for frame in frames(count, chance):
        with connect(address, additional_headers=headers, compression=None) as line:
            line.send(frame)
            closed[_end_of(line)] += 1
    return closed


def _end_of(line: ClientConnection) -> int:
    beats = 0
    try:
        while beats < 2:
            beats += '"heartbeat"' in str(line.recv(5))
    except ConnectionClosed as error:
        assert error.rcvd is not None and error.rcvd.reason, error
        return error.rcvd.code
    return 0


def keys(own: str) -> Iterator[dict[str, str]]:
    """Headers that open nothing: no key, wrong ones, right ones of the wrong kind, foreign pages with a right one."""
    yield {}
    for token in ("0" * 64, own[:-1], own + "0", own.upper(), "null"):
        yield {"Authorization": f"Bearer {token}"}
    yield {"Authorization": "Bearer"}
    for scheme in ("Basic", "bearer:", "Token"):
        yield {"Authorization": f"{scheme} {own}"}
    yield {"Cookie": "arbig_session=" + own}


def strangers(about: dict[str, Any], ask: Ask, own: str, keys_each: int) -> Counter[int]:
    """Every operation, knocked at with so many of the keys that open nothing, each in its turn."""
    counted: Counter[int] = Counter()
    turn = cycle(keys(own))
    for path, methods in about["paths"].items():
        address = path.replace("{symbol}", "au2512").replace("{", "").replace("}", "")
        for method in methods:
            for headers in islice(turn, keys_each):
                counted[ask(method, address, headers=headers).status_code] += 1
    return counted
