"""Models: `config/ml.yaml`, and whether this house has a model server under its supervisor."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from arbig.runtime.files import Config, load_yaml_model


class ModelsConfig(Config):
    """`serve`: the model server is started and watched with the other services. `cpus`: what Ray may use here."""

    serve: bool = False
    cpus: int = Field(2, ge=1, le=256)
    replicas: int = Field(1, ge=1, le=64)


def models_config(config: Path) -> ModelsConfig:
    """Of the folder `config/`. Raises SettingsError."""
    return load_yaml_model(config / "ml.yaml", ModelsConfig)
