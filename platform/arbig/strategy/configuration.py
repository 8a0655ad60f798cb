"""Configuration: `config/strategies/*.yaml`, the specification's form, one strategy a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from arbig.domain.messages import Exchange
from arbig.runtime.deployment import RiskConfig
from arbig.runtime.files import Config, SettingsError, load_yaml_model, read_yaml, shown


class StrategyConfig(Config):
    strategy_name: str = Field(min_length=1, max_length=64, pattern=r"^[\w.-]+$", examples=["MaRsiStrategy"])
    class_name: str | None = Field(default=None, min_length=1, examples=["MaRsiStrategy"])
    symbol: str | None = Field(default=None, min_length=1, examples=["au2512"])
    symbols: list[str] | None = Field(default=None, min_length=1, examples=[["au2512", "ag2512"]])
    exchange: Exchange | None = Field(default=None, examples=["SHFE"])
    params: dict[str, Any] = Field(default={}, examples=[{"fast_window": 10}])
    risk: RiskConfig = RiskConfig()
    enabled: bool = True

    @model_validator(mode="after")
    def _one_or_several(self) -> StrategyConfig:
        if (self.symbol is None) == (self.symbols is None):
            found = "neither symbol nor symbols" if self.symbol is None else "both symbol and symbols"
            raise ValueError(f"found {found}, expected one of them; write e.g. symbol: au2512")
        return self

    @property
    def kind(self) -> str:
        """The class; the strategy's own name unless the file names another (two instances of one class)."""
        return self.class_name or self.strategy_name

    @property
    def legs(self) -> tuple[str, ...]:
        return tuple(self.symbols) if self.symbols is not None else (self.symbol or "",)


@dataclass(frozen=True)
class StrategyFile:
    """One file as found: its strategy, or the line that says what is wrong with it."""

    path: Path
    name: str
    config: StrategyConfig | None = None
    error: str | None = None

    @property
    def shown(self) -> str:
        return shown(self.path)


def read_files(folder: Path) -> list[StrategyFile]:
    """Every file of the folder. A bad one stands for itself, the others are not disturbed."""
    found: dict[str, StrategyFile] = {}
    for path in sorted(folder.glob("*.y*ml")):
        one = read_file(path)
        if one.name in found:
            first = found[one.name]
            line = f"{one.shown}: strategy_name: {one.name!r} is already taken by {first.shown}; give it another name"
            one = StrategyFile(path, f"{one.name} ({path.stem})", error=line)
        found[one.name] = one
    return list(found.values())


def read_file(path: Path) -> StrategyFile:
    try:
        config = load_yaml_model(path, StrategyConfig)
    except SettingsError as error:
        return StrategyFile(path, _name_in(path), error=str(error))
    return StrategyFile(path, config.strategy_name, config)


def _name_in(path: Path) -> str:
    """The name a bad file still tells, else the file's own."""
    try:
        values = read_yaml(path)
    except (SettingsError, FileNotFoundError):
        return path.stem
    name = values.get("strategy_name") if isinstance(values, dict) else None
    return name if isinstance(name, str) and name else path.stem
