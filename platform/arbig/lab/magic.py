"""Magic: what `%load_ext arbig` adds to a notebook: `%%strategy NAME`, and errors of ours in one line."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from arbig.client.client import ClientError
from arbig.runtime.settings import SettingsError, load_settings


def load_ipython_extension(shell: Any) -> None:
    """Called by `%load_ext arbig`."""
    from arbig.backtest.plan import PlanError
    from arbig.lab.history import HistoryError

    shell.register_magic_function(strategy_cell(shell), "cell", "strategy")
    shell.set_custom_exc((ClientError, SettingsError, PlanError, HistoryError), in_one_line)


def in_one_line(
    shell: Any, kind: type[BaseException], error: BaseException, trace: TracebackType, tb_offset: int | None = None
) -> list[str]:
    """What a person can mend needs no traceback."""
    words = [f"{kind.__name__}: {error}"]
    shell._showtraceback(kind, error, words)
    return words


def strategy_cell(shell: Any) -> Any:
    def strategy(line: str, cell: str) -> None:
        """%%strategy NAME: check the cell, save it as strategies/NAME.py, give its class to this notebook."""
        from IPython.core.error import UsageError

        from arbig.lab.authoring import Refused, save

        try:
            saved = save(load_settings(), line, cell)
        except (Refused, SettingsError) as refused:
            raise UsageError(str(refused)) from None
        shell.push({saved.kind.__name__: saved.kind})
        print(saved.told)

    return strategy
