"""`python -m arbig.market`: the Market service."""

from arbig.market.service import MarketService
from arbig.runtime.service import run

run(MarketService)
