"""Lines: a file of JSON lines that only grows. A line is whole or not there, whoever is killed while writing it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class Lines:
    """Several processes may append to the same file; NaN and infinities are kept as they are."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Iterator[dict[str, Any]]:
        """Every whole line; what is no JSON (a torn line, an editor's doing) is passed over."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for line in file:
                try:
                    words = json.loads(line)
                except ValueError:
                    continue
                if isinstance(words, dict):
                    yield words

    def append(self, words: Mapping[str, Any]) -> None:
        """Raises OSError when it cannot be written; then the file is as it was."""
        line = json.dumps(words, ensure_ascii=False).encode() + b"\n"
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            end = os.lseek(descriptor, 0, os.SEEK_END)
            torn = end > 0 and os.pread(descriptor, 1, end - 1) != b"\n"
            _write(descriptor, b"\n" + line if torn else line, end)
        finally:
            os.close(descriptor)


def _write(descriptor: int, data: bytes, end: int) -> None:
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError:
        os.ftruncate(descriptor, end)
        raise
