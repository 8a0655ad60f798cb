"""Predictions in a backtest: the plan's predictor answers in this process; what live would refuse is refused here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime as Time

from arbig.domain.features import FeatureError, Features, Prediction, Predictor, refusal
from arbig.domain.messages import SHANGHAI
from arbig.domain.template import BaseTemplate

MOMENT = "%Y-%m-%d %H:%M"


class NoModels:
    """Of a plan that names none."""

    def answer(self, model: str, features: Features) -> Prediction:
        raise FeatureError(f"the plan has no models, so not {model!r}")


@dataclass
class Asked:
    """One strategy's questions in a run. The first refusal and the first look ahead are warnings."""

    predictor: Predictor
    warn: Callable[[str], None]
    warned: set[str] = field(default_factory=set)

    def answer(self, strategy: BaseTemplate, features: Features, now: Time) -> Prediction:
        naive = now.astimezone(SHANGHAI).replace(tzinfo=None) if now.tzinfo else now
        reason = refusal(features, naive, strategy.max_age)
        if reason is None:
            try:
                return self._checked(self.predictor.answer(strategy.model, features), features)
            except FeatureError as error:
                reason = str(error)
        self._warn("refused", f"predict: {reason}; the fallback stands")
        assert strategy.fallback is not None
        return Prediction(value=strategy.fallback, model=strategy.model, reason=reason)

    def _checked(self, prediction: Prediction, features: Features) -> Prediction:
        if looks_ahead(prediction, features):
            self._warn(
                "ahead",
                f"predict: {prediction.model} {prediction.version} was trained on data up to "
                f"{prediction.trained_until:{MOMENT}} and is asked about {features.datetime:{MOMENT}}: it looks ahead",
            )
        return prediction

    def _warn(self, kind: str, line: str) -> None:
        if kind not in self.warned:
            self.warned.add(kind)
            self.warn(line)


def looks_ahead(prediction: Prediction, features: Features) -> bool:
    """Whether the model's training saw the bar it is asked about, or a later one."""
    return prediction.trained_until is not None and prediction.trained_until >= features.datetime


@dataclass
class Witness:
    """A predictor that remembers the first answer of each model that looked ahead."""

    predictor: Predictor
    seen: dict[str, tuple[Features, Prediction]] = field(default_factory=dict)

    def answer(self, model: str, features: Features) -> Prediction:
        prediction = self.predictor.answer(model, features)
        if looks_ahead(prediction, features):
            self.seen.setdefault(model, (features, prediction))
        return prediction
