"""Deployment: what Web and its clients ask of the Strategy service when a strategy comes in or changes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from arbig.runtime.files import Config

REPLACED = "strategies/replaced"
"""Under the data folder: what a deployment or a notebook cell took the place of."""


class RiskConfig(Config):
    """The specification's block (8.1): percent of the average entry price, lots."""

    stop_loss_pct: float | None = Field(default=None, gt=0, examples=[2.0])
    take_profit_pct: float | None = Field(default=None, gt=0, examples=[5.0])
    max_position: int | None = Field(default=None, gt=0, examples=[2])


class Deployment(Config):
    """What `POST /strategies` asks for. `code_hash`: the source its author has before him; `confirm`: for mode live the
    strategy's name, typed; `replace`: another version may take the place of the one there is; `force`: although orders
    of it work, which are cancelled first."""

    class_name: str = Field(min_length=1, examples=["MaRsiStrategy"])
    strategy_name: str | None = Field(None, min_length=1, max_length=64, pattern=r"^[\w.-]+$")
    symbol: str | None = Field(None, min_length=1, examples=["au2512"])
    symbols: list[str] | None = Field(None, min_length=1)
    params: dict[str, Any] = {}
    risk: RiskConfig = RiskConfig()
    mode: Literal["paper", "live"] = "paper"
    confirm: str = ""
    code_hash: str | None = None
    replace: bool = False
    force: bool = False

    @property
    def name(self) -> str:
        return self.strategy_name or self.class_name


class Edit(Config):
    """What `PATCH /strategies/{name}` changes: parameters by name, the risk block by key."""

    params: dict[str, Any] = {}
    risk: dict[str, Any] = {}
    force: bool = False


class Binding(Config):
    """What Trading asks for when a strategy's lots have moved: contract `symbol` becomes `to`; `then` is what the
    strategy does."""

    symbol: str = Field(min_length=1)
    to: str = Field(min_length=1)
    then: Literal["RUNNING", "PAUSED", "STOPPED"]
