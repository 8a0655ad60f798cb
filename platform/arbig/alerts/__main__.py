"""`python -m arbig.alerts`: the alerts process."""

from arbig.alerts.service import AlertsService
from arbig.runtime.service import run

run(AlertsService)
