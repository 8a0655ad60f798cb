"""The broker's counter: `config/ctp_config.yaml`, and whether this release can trade there."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from arbig.runtime.files import Config, read_yaml, validated
from arbig.runtime.settings import Settings, SettingsError


class BrokerConfig(Config):
    """`config/ctp_config.yaml`. A secret stands there as a reference, `${env:NAME}` or `${file:PATH}`."""

    user_id: str = Field(min_length=1, examples=["${env:CTP_USER_ID}"])
    password: str = Field("", examples=["${env:CTP_PASSWORD}"], repr=False)
    broker_id: str = Field(min_length=1, examples=["9999"])
    td_address: str = Field(pattern=r"^(tcp|ssl)://.+:\d+$", examples=["tcp://182.254.243.31:30001"])
    md_address: str = Field(pattern=r"^(tcp|ssl)://.+:\d+$", examples=["tcp://182.254.243.31:30011"])
    product_name: str = ""
    app_id: str = Field("", examples=["simnow_client_test"])
    auth_code: str = Field("", examples=["${env:CTP_AUTH_CODE}"], repr=False)
    production_mode: bool = True
    environment: Literal["production", "test"] | None = None

    @property
    def is_production(self) -> bool:
        """`environment` says it in a word; without it the specification's `production_mode` does."""
        return self.production_mode if self.environment is None else self.environment == "production"


def load_broker(settings: Settings) -> BrokerConfig:
    """The file as it stands, its references not looked up. Raises SettingsError, one line."""
    path = settings.config / "ctp_config.yaml"
    try:
        values = read_yaml(path)
    except FileNotFoundError:
        values = {}
    return validated(values, path, BrokerConfig)


def check_gateway(settings: Settings) -> None:
    """Refuses a broker's counter before anything starts; what is wrong with its file is said first."""
    if settings.gateway == "sim":
        return
    load_broker(settings)
    raise SettingsError(
        f"config/arbig.yaml: gateway: found {settings.gateway}, this release has only the simulated exchange; "
        "write gateway: sim"
    )
