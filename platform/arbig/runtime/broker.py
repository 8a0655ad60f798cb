"""The broker's counter: `config/ctp_config.yaml`, and whether this machine can trade there."""

from __future__ import annotations

import importlib.util
import locale
import os
import platform
import shutil
from typing import Literal

from pydantic import Field

from arbig.runtime.credentials import Secret, secret_of, variables_of, word_of
from arbig.runtime.files import Config, load_yaml_model, read_yaml, validated
from arbig.runtime.settings import Settings, SettingsError

FILE = "config/ctp_config.yaml"
PASSWORD, AUTH_CODE = "ARBIG_CTP_PASSWORD", "ARBIG_CTP_AUTH_CODE"
CHINESE = "zh_CN.GB18030"
CTP = "ctp"
PAPER = "paper"
"""The mode in which no order leaves, and how the name of its account begins."""
SIMULATED = "sim"
"""The account of the simulated exchange."""


class BrokerConfig(Config):
    """`config/ctp_config.yaml`. A secret stands there as a reference (`runtime/credentials.py`)."""

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


class VnpyConfig(Config):
    """`config/vnpy_tts.yaml` for `gateway: vnpy_tts`: what its BaseGateway's `connect` takes, in its own words."""

    settings: dict[str, str | int | float | bool] = Field(examples=[{"用户名": "${env:TTS_USER}"}], repr=False)
    gateway_class: str | None = None
    gateway_name: str | None = None
    practice: bool = False


def load_vnpy(settings: Settings) -> VnpyConfig:
    """With its references looked up. Raises SettingsError, one line."""
    return load_yaml_model(settings.config / f"{settings.gateway}.yaml", VnpyConfig)


def broker_user(config: BrokerConfig) -> str:
    return word_of(FILE, "user_id", config.user_id)


def broker_secrets(config: BrokerConfig, is_needed: bool = True) -> tuple[Secret, Secret]:
    """Password and auth code; no code is needed where no AppID is asked for, and neither by one who only looks at the
    market (a front of market data takes an empty password). Raises SettingsError."""
    if not is_needed:
        given = os.environ.get(PASSWORD, "") or _known(config.password)
        return Secret(given), Secret("")
    password = secret_of(FILE, "password", config.password, PASSWORD)
    auth_code = secret_of(FILE, "auth_code", config.auth_code, AUTH_CODE) if config.app_id else Secret("")
    return password, auth_code


def _known(written: str) -> str:
    try:
        return secret_of(FILE, "password", written, PASSWORD).reveal()
    except SettingsError:
        return ""


def secret_variables(settings: Settings) -> tuple[str, ...]:
    """The environment's names that hold a secret of the broker's: the Gateway alone is told them."""
    if settings.gateway == "sim":
        return ()
    name, keys = ("ctp_config", ("password", "auth_code")) if settings.gateway == CTP else (settings.gateway, ())
    try:
        values = read_yaml(settings.config / f"{name}.yaml")
    except (FileNotFoundError, SettingsError):
        return (PASSWORD, AUTH_CODE)
    written = [values.get(key) for key in keys] or list((values.get("settings") or {}).values())
    referred = (variable for word in written for variable in variables_of(str(word)))
    return tuple(dict.fromkeys((PASSWORD, AUTH_CODE, *referred)))


def is_paper(settings: Settings) -> bool:
    """At a broker's, with no order leaving the house."""
    return settings.gateway != "sim" and settings.mode == PAPER


def is_live(settings: Settings) -> bool:
    """At a broker's, with real money."""
    return settings.gateway != "sim" and settings.mode != PAPER


def check_gateway(settings: Settings) -> None:
    """Everything a broker's counter needs, looked at before anything starts. Raises SettingsError, one line."""
    if settings.gateway == "sim":
        return
    config = load_broker(settings) if settings.gateway == CTP else None
    on_paper = is_paper(settings)
    if on_paper != settings.account_id.startswith(PAPER):
        raise SettingsError(
            f"config/arbig.yaml: account_id: found {settings.account_id} under mode: {settings.mode}; books of paper "
            f"and of money stay apart: write e.g. account_id: {PAPER if on_paper else 'simnow'}"
        )
    if settings.account_id == SIMULATED:
        raise SettingsError(
            f"config/arbig.yaml: account_id: found {SIMULATED}, whose books are the simulated exchange's; "
            "write e.g. account_id: simnow"
        )
    if config is not None:
        broker_user(config)
        broker_secrets(config, is_needed=not on_paper)
        check_library()
        return
    load_vnpy(settings)
    for package in (settings.gateway, "vnpy"):
        if importlib.util.find_spec(package) is None:
            raise SettingsError(f"config/arbig.yaml: gateway: {package} is not installed; pip install {package}")


def check_library() -> None:
    """Whether vnpy_ctp can be used on this machine. Raises SettingsError, one line with the mend."""
    for complaint in (_without_library(), _without_locale()):
        if complaint:
            raise SettingsError(complaint)


def _without_library() -> str | None:
    if importlib.util.find_spec("vnpy_ctp") is not None:
        return None
    compiler = "" if shutil.which("g++") or shutil.which("c++") else "sudo apt-get install g++ python3-dev && "
    return f"vnpy_ctp is not installed; it is built with a C++ compiler: {compiler}pip install --no-deps vnpy vnpy_ctp"


def _without_locale() -> str | None:
    """Without this locale the library ends the whole process at the first text it hears."""
    if platform.system() != "Linux":
        return None
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, CHINESE)
    except locale.Error:
        return (
            f"the locale {CHINESE} is not there, the CTP library aborts without it; "
            f"sudo apt-get install locales && sudo localedef -i zh_CN -f GB18030 {CHINESE}"
        )
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    return None
