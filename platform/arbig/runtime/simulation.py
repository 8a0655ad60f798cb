"""The simulated exchange's settings: `config/simulation.yaml`, read by the exchange and by the Gateway."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from pydantic import Field

from arbig.runtime.files import Config, load_yaml_model
from arbig.runtime.settings import Settings


class RejectConfig(Config):
    """An order to refuse, by its number."""

    at_order: int = Field(ge=1, examples=[3])
    error_id: int | None = Field(None, ge=1, examples=[31])
    message: str | None = None


class ProductConfig(Config):
    """How a product's prices behave; shares of price are per trading day."""

    start_price: float = Field(gt=0, examples=[880])
    price_limit: float = Field(0.08, gt=0, lt=1, examples=[0.14])
    volatility: float = Field(0.011, gt=0, lt=0.2, examples=[0.011])
    gap: float = Field(0.0025, ge=0, lt=0.1)
    activity: float = Field(0.7, gt=0, le=1)
    lots_per_tick: float = Field(4.0, gt=0)
    depth: float = Field(12.0, gt=0)
    open_interest: int = Field(180_000, ge=1)


class SimulationConfig(Config):
    seed: int = Field(1, ge=0)
    first_day: date = Field(date(2025, 10, 15), examples=["2025-10-15"])
    speed: float = Field(60.0, ge=1, le=1000)
    capital: float = Field(5_000_000.0, gt=0)
    history_days: int = Field(15, ge=0, le=250)
    closing_grace: float = Field(6.0, ge=6, le=60)
    wait_for: list[str] = Field(["market", "trading", "strategy"], examples=[["market"]])
    reconnect_seconds: list[float] = Field([5.0, 10.0, 30.0, 60.0], min_length=1)
    replay: Path | None = Field(None, examples=["data/ticks/au2512/2025-10-15.parquet"])
    rejects: list[RejectConfig] = Field([], examples=[[{"at_order": 3, "error_id": 31}]])
    products: dict[str, ProductConfig] = Field({}, examples=[{"au": {"start_price": 880}}])


def load_simulation(settings: Settings) -> SimulationConfig:
    """Raises SettingsError, one line."""
    return load_yaml_model(settings.config / "simulation.yaml", SimulationConfig)
