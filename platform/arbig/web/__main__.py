"""`python -m arbig.web`: the Web service."""

from arbig.runtime.service import run
from arbig.web.service import WebService

run(WebService)
