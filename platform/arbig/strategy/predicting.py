"""Predicting: the strategy's process asks the model server, over one kept connection, and never waits past a deadline.

A server that does not answer is left alone for a while (`Breaker`), so that a strategy whose model is away is as quick
as one without a model.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import isfinite

import httptools
import msgspec

from arbig.domain.features import FeatureError, Features, Prediction, Question

LIMIT = 2
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 60.0
CALLBACK_SECONDS = 0.4
"""The longest all questions of one callback may take: a callback has 0.8 s before it counts as hung."""


class NoAnswer(Exception):
    """The model server does not answer, or not in time."""


class _Detail(msgspec.Struct, frozen=True):
    detail: str


@dataclass
class Breaker:
    """Open (nobody is asked) for a while after failures in a row; then one question decides."""

    failures: int = 0
    until: float = 0.0

    def is_open(self, now: float) -> bool:
        return now < self.until

    def failed(self, now: float) -> None:
        self.failures += 1
        if self.failures >= LIMIT:
            pause = min(FIRST_PAUSE_SECONDS * 2 ** (self.failures - LIMIT), LONGEST_PAUSE_SECONDS)
            self.until = now + pause

    def answered(self) -> None:
        self.failures, self.until = 0, 0.0


class _Reply:
    """One HTTP answer, as far as it has come."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.body = bytearray()
        self.is_whole = False

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        self.is_whole = True


class ModelLine:
    """The way to the model server of this machine."""

    def __init__(
        self, port: int, token: str, monotonic: Callable[[], float] = time.monotonic, path: str = "/predict"
    ) -> None:
        self.port = port
        self.path = path
        self.token = token
        self.monotonic = monotonic
        self.breaker = Breaker()
        self._socket: socket.socket | None = None

    def ask(self, model: str, features: Features, seconds: float) -> Prediction:
        """Raises NoAnswer, or FeatureError when the server refuses the question."""
        began = self.monotonic()
        if self.breaker.is_open(began):
            raise NoAnswer(f"the model server did not answer {self.breaker.failures} times; it is asked again later")
        try:
            status, body = self._exchange(msgspec.json.encode(Question(model, features)), began + seconds)
            answer = self._read(status, body)
        except FeatureError:
            self.breaker.answered()
            raise
        except (OSError, msgspec.MsgspecError, httptools.HttpParserError, NoAnswer) as error:
            self.close()
            self.breaker.failed(self.monotonic())
            if isinstance(error, TimeoutError):
                raise NoAnswer(f"the model server took longer than {seconds:g} s") from None
            if isinstance(error, ConnectionRefusedError):
                raise NoAnswer(f"no model server on port {self.port}; start it: arbig ml serve") from None
            raise NoAnswer(f"the model server: {error}") from None
        self.breaker.answered()
        return answer

    def said(self, body: bytes, seconds: float) -> bytes:
        """The answer to a body, whatever is in it. Raises NoAnswer or OSError."""
        status, answer = self._exchange(body, self.monotonic() + seconds)
        if status != 200:
            raise NoAnswer(f"answered {status}")
        return answer

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _read(self, status: int, body: bytes) -> Prediction:
        if status == 200:
            answer = msgspec.json.decode(body, type=Prediction)
            if not isfinite(answer.value) or not answer.version or answer.reason:
                raise NoAnswer(f"answered {answer.value} of version {answer.version!r}")
            return answer
        try:
            detail = msgspec.json.decode(body, type=_Detail).detail
        except msgspec.MsgspecError:
            detail = "no reason given"
        if status in (404, 422):
            raise FeatureError(detail)
        raise NoAnswer(f"answered {status}: {detail}")

    def _exchange(self, body: bytes, deadline: float) -> tuple[int, bytes]:
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        request = head.encode() + body
        was_kept = self._socket is not None
        try:
            return self._once(request, deadline)
        except (ConnectionError, NoAnswer) as error:
            # a server that ended closes what was kept: the same question once more, on a connection of its own
            if not was_kept or isinstance(error, ConnectionRefusedError):
                raise
            self.close()
            return self._once(request, deadline)

    def _once(self, request: bytes, deadline: float) -> tuple[int, bytes]:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=self._left(deadline))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(self._left(deadline))
        self._socket.sendall(request)
        reply = _Reply()
        while not reply.is_whole:
            self._socket.settimeout(self._left(deadline))
            data = self._socket.recv(1 << 16)
            if not data:
                raise NoAnswer("closed the connection")
            reply.parser.feed_data(data)
        if not reply.parser.should_keep_alive():
            self.close()
        return reply.parser.get_status_code(), bytes(reply.body)

    def _left(self, deadline: float) -> float:
        left = deadline - self.monotonic()
        if left <= 0:
            raise TimeoutError
        return left
