"""Settings of a CTP account: `config/ctp_config.yaml` with its secrets, which stand nowhere in that file.

The password and the auth code come from `ARBIG_CTP_PASSWORD` and `ARBIG_CTP_AUTH_CODE`, or from where the file refers
to (`runtime/credentials.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from arbig.runtime.broker import broker_secrets, broker_user, is_paper, load_broker
from arbig.runtime.credentials import Secret
from arbig.runtime.settings import Settings

SIMNOW = "9999"


@dataclass(frozen=True)
class CtpSettings:
    """What a connector needs to know of the account."""

    broker_id: str
    user_id: str
    td_address: str
    md_address: str
    app_id: str
    product_name: str
    is_production: bool
    password: Secret
    auth_code: Secret

    @property
    def is_practice(self) -> bool:
        """A counter whose clock may stand anywhere; SimNow is one, though it speaks as production does."""
        return not self.is_production or self.broker_id == SIMNOW

    @property
    def needs_authentication(self) -> bool:
        return bool(self.auth_code)


def load_ctp(settings: Settings) -> CtpSettings:
    """Raises SettingsError, one line that never shows a secret."""
    config = load_broker(settings)
    user_id = broker_user(config)
    password, auth_code = broker_secrets(config, is_needed=not is_paper(settings))
    return CtpSettings(
        broker_id=config.broker_id,
        user_id=user_id,
        td_address=config.td_address,
        md_address=config.md_address,
        app_id=config.app_id,
        product_name=config.product_name,
        is_production=config.is_production,
        password=password,
        auth_code=auth_code,
    )
