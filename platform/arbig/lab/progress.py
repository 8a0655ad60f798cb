"""Progress: a bar over long work, in a terminal or a notebook; silent elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


def watched(work: Iterable[T], words: str, total: int | None = None, progress: bool | None = None) -> Iterator[T]:
    """The items of `work`, counted on a bar. `progress`: None shows it where somebody looks."""
    from tqdm.auto import tqdm

    shown = _is_looked_at() if progress is None else progress
    with tqdm(work, desc=words, total=total, disable=not shown, leave=False) as bar:
        yield from bar


@contextmanager
def counted(words: str, progress: bool | None = None) -> Iterator[Callable[[int, int], None]]:
    """A bar for work that says itself how much of how much is done."""
    from tqdm.auto import tqdm

    shown = _is_looked_at() if progress is None else progress
    with tqdm(desc=words, disable=not shown, leave=False) as bar:

        def tell(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield tell


@contextmanager
def racing(words: str, total: int, progress: bool | None = None) -> Iterator[Callable[[int, str], None]]:
    """A bar with the best so far beside it: told how many more are done, and that best in words."""
    from tqdm.auto import tqdm

    shown = _is_looked_at() if progress is None else progress
    with tqdm(total=total, desc=words, disable=not shown, leave=False) as bar:

        def tell(more: int, best: str) -> None:
            bar.set_postfix_str(best, refresh=False)
            bar.update(more)

        yield tell


def _is_looked_at() -> bool:
    shell = sys.modules.get("IPython")
    return sys.stderr.isatty() or (shell is not None and hasattr(shell.get_ipython(), "kernel"))
