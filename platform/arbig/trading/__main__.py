"""`python -m arbig.trading`"""

from arbig.runtime.service import run
from arbig.trading.service import TradingService

run(TradingService)
