"""Lean: a start without what others would load only because they find it. `python -m arbig.runtime.lean MODULE`"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Inside, importing one of these packages fails as if it were not installed; one already loaded stays."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def main() -> None:
    # structlog would draw tracebacks with rich: a fifth of a second in every process, and our logs are JSON.
    with without("rich"):
        import structlog  # noqa: F401
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
