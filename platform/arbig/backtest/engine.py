"""Engine: a plan goes in, a result comes out; the plan says which matching."""

from __future__ import annotations

from arbig.backtest.plan import Matching, Plan, Progress
from arbig.backtest.result import Result


def run(plan: Plan, progress: Progress | None = None) -> Result:
    """Run the plan. Raises PlanError for a plan that cannot be run; what a strategy raises ends its run and is a
    Failure in the result, with everything that came before. What `progress` raises passes through."""
    if plan.matching is Matching.VNPY:
        from arbig.backtest import vnpy

        return vnpy.run(plan, progress)
    from arbig.backtest import realistic

    return realistic.run(plan, progress)
