"""The layers: upper rooms import lower ones, and a service loads nothing that it does not need to start."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SERVICES = {
    "exchange": "arbig.exchange.server",
    "gateway": "arbig.gateway.service",
    "market": "arbig.market.service",
    "trading": "arbig.trading.service",
    "strategy": "arbig.strategy.service",
    "scheduler": "arbig.scheduler.service",
    "web": "arbig.web.service",
}
HEAVY = {"pandas", "exchange_calendars", "alembic", "panel", "bokeh", "talib", "typer", "papermill"}
OUTSIDE = {"asyncio", "socket", "sqlite3", "logging", "subprocess"}


def loaded_by(*modules: str) -> set[str]:
    """What a fresh Python has loaded after importing these."""
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert said.returncode == 0, said.stderr
    return set(said.stdout.split())


def test_every_room_stands_in_the_layers_and_imports_only_what_is_below():
    said = subprocess.run([Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_without_the_weight_of_tables_and_pages(service):
    assert loaded_by(SERVICES[service]) & HEAVY == set()


def test_a_strategy_loads_neither_network_nor_disk_nor_log_with_its_words():
    """What the third parties under it load for themselves is their own affair."""
    below = loaded_by("msgspec", "numpy", "zoneinfo", "uuid")
    assert (loaded_by("arbig.domain.template", "arbig.domain.orders") - below) & OUTSIDE == set()
