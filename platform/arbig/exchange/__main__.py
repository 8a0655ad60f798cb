"""`python -m arbig.exchange`: the simulated exchange."""

from arbig.exchange.server import main

main()
