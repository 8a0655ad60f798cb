"""`python -m arbig.scheduler`: the Scheduler service."""

from arbig.runtime.service import run
from arbig.scheduler.service import SchedulerService

run(SchedulerService)
