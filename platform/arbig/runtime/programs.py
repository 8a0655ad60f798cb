"""Programs: what runs, in which order, and how one sees that it is ready."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from arbig.runtime.alerting import wants_alerts
from arbig.runtime.models import models_config
from arbig.runtime.settings import HOSTED, Settings

Probe = Literal["port", "socket", "ready", "page"]


@dataclass(frozen=True)
class Program:
    """One supervised process: `python -m module`. `after`: not even begun before that service is ready. `page`: the
    path whose answer shows that a page is served."""

    name: str
    module: str
    probe: Probe
    after: str | None = None
    page: str = "/"


PROGRAMS = (
    Program("redis", "arbig.runtime.redis_server", "port"),
    Program("exchange", "arbig.exchange", "socket"),
    Program("gateway", "arbig.gateway", "ready"),
    Program("market", "arbig.market", "ready"),
    Program("trading", "arbig.trading", "ready"),
    Program("strategy", "arbig.strategy", "ready"),
    Program("web", "arbig.web", "ready"),
    Program("scheduler", "arbig.scheduler", "ready", after="web"),
    Program("alerts", "arbig.alerts", "ready"),
    Program("console", "arbig.web.console", "page", after="web"),
    Program("ml", "arbig.ml.serving", "page", after="web", page="/health"),
    Program("jupyter", "arbig.web.jupyter", "page", after="web", page="/api"),
)
BY_NAME = {program.name: program for program in PROGRAMS}
TRADING_PATH = ("redis", "exchange", "gateway", "market", "trading", "strategy")


def programs_of(settings: Settings) -> tuple[Program, ...]:
    """An outside Redis and a broker's counter are not ours to run; without a target nobody is to be alerted; a
    model server is there when config/ml.yaml says so."""
    absent = {"redis"} if not settings.redis.embedded else set()
    if settings.gateway != "sim":
        absent.add("exchange")
    if not wants_alerts(settings):
        absent.add("alerts")
    if not models_config(settings.config).serve:
        absent.add("ml")
    return tuple(each for each in PROGRAMS if each.name not in absent and settings.runs_here(each.name))


def elsewhere(settings: Settings) -> tuple[Program, ...]:
    """The services of this house that run on other hosts."""
    return tuple(BY_NAME[name] for name in HOSTED if not settings.runs_here(name))
