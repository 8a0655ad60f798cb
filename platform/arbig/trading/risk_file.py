"""Trading: `config/risk.yaml`, one section a rule. What a section holds is read off the domain's own rule, so that a
new rule there is a new section here.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args, get_type_hints

from pydantic import Field, create_model

from arbig.domain.risk import RiskSettings
from arbig.runtime.files import Config, load_yaml_model
from arbig.runtime.settings import Settings


def _section(rule: type[Any]) -> type[Config]:
    hints = get_type_hints(rule, include_extras=True)
    numbers: dict[str, Any] = {each.name: (hints[each.name], each.default) for each in fields(rule)}
    return create_model(rule.__name__, __base__=Config, **numbers)


_HINTS = get_type_hints(RiskSettings)
_RULES: dict[str, type[Any]] = {each.name: get_args(_HINTS[each.name])[0] for each in fields(RiskSettings)}
_SECTIONS = {name: _section(rule) for name, rule in _RULES.items()}
_FIELDS: dict[str, Any] = {
    name: (section | None, Field(default=section(), examples=[section().model_dump()]))
    for name, section in _SECTIONS.items()
}
RiskFile = create_model("RiskFile", __base__=Config, **_FIELDS)


def load_risk(settings: Settings) -> RiskSettings:
    """Every rule with its numbers. Raises SettingsError, one line."""
    found = load_yaml_model(settings.config / "risk.yaml", RiskFile)
    sections = {name: getattr(found, name) for name in _RULES}
    return RiskSettings(
        **{name: section and _RULES[name](**section.model_dump()) for name, section in sections.items()}
    )
