"""Look-ahead in research: the proof of `arbig.backtest.lookahead` on the desk's own history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime as Time
from typing import TYPE_CHECKING, Any

from arbig.backtest.lookahead import CUTS, Report, check
from arbig.backtest.plan import Plan
from arbig.lab.progress import counted
from arbig.lab.signals import with_signals

if TYPE_CHECKING:
    from arbig.lab.desk import Day, Desk, Strategy, Symbols

__all__ = ["Report", "check_lookahead"]


def check_lookahead(
    desk: Desk,
    strategy: Strategy | Plan,
    symbol: Symbols = None,
    start: Day | None = None,
    end: Day | None = None,
    params: Mapping[str, Any] | None = None,
    *,
    cuts: int | Sequence[Time] = CUTS,
    seed: int = 1,
    progress: bool | None = None,
    **options: Any,
) -> Report:
    """Whether the strategy's orders depend on what it could not know yet.

    `cuts`: how many moments to cut the data at, or the moments themselves (the stamp of the last bar to be kept);
    `seed` draws them and the scrambles. `options` as for `Desk.plan`; a `Plan` is checked as it is. The report's `.ok`
    is True only when there were orders, nothing was found and nothing was out of reach; shown in a notebook it names
    the first orders that differ. Raises as `Desk.plan`; Ctrl-C keeps what was found.
    """
    made = strategy if isinstance(strategy, Plan) else desk.plan(strategy, symbol, start, end, params, **options)
    with counted("look-ahead", progress) as tell:
        return check(with_signals(made), cuts, seed, progress=tell)
