"""`python -m arbig.strategy`."""

from arbig.runtime.service import run
from arbig.strategy.service import StrategyService

if __name__ == "__main__":
    run(StrategyService)
