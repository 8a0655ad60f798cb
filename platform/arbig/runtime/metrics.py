"""Metrics: the numbers of /status, and whatever a service counts with prometheus-client, in Prometheus' text form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class _Numbers(Collector):
    def __init__(self, status: Mapping[str, object]) -> None:
        self._status = status

    def collect(self) -> Iterator[GaugeMetricFamily]:
        service = str(self._status["service"])
        for name, value in self._status.items():
            if isinstance(value, (int, float)):
                gauge = GaugeMetricFamily(f"arbig_{name}", f"{name} of the service", labels=["service"])
                gauge.add_metric([service], float(value))
                yield gauge


def exposition(status: Mapping[str, object]) -> str:
    own = CollectorRegistry()
    own.register(_Numbers(status))
    return (generate_latest(own) + generate_latest(REGISTRY)).decode()
