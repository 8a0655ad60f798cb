"""`python -m arbig.gateway`."""

from arbig.gateway.service import GatewayService
from arbig.runtime.service import run

run(GatewayService)
