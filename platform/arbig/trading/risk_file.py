"""Trading: `config/risk.yaml`, one section a rule. The sections are the domain's settings, checked on loading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, get_type_hints

from pydantic import create_model

from arbig.domain.risk import RiskSettings, Rule, rules_from
from arbig.runtime.files import Config, load_yaml_model
from arbig.runtime.settings import Settings

_TYPES = get_type_hints(RiskSettings)
_DEFAULTS = RiskSettings()
_SECTIONS: dict[str, Any] = {
    each.name: (_TYPES[each.name], getattr(_DEFAULTS, each.name)) for each in fields(RiskSettings)
}
RiskFile = create_model("RiskFile", __base__=Config, **_SECTIONS)


def load_rules(settings: Settings) -> Sequence[Rule]:
    """Every rule that is on. Raises SettingsError, one line."""
    found = load_yaml_model(settings.config / "risk.yaml", RiskFile)
    return rules_from(RiskSettings(**{name: getattr(found, name) for name in _SECTIONS}))
