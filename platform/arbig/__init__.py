"""ARBIG: the words an outsider needs, each loaded when it is first used."""

from importlib import import_module

_ROOMS = {
    "arbig.domain.messages": (
        "BarData Detail Direction EventData EventType Exchange Interval Offset OrderData OrderRequest OrderType "
        "PositionData Status TickData TradeData"
    ),
    "arbig.domain.template": (
        "BarGenerator CtaSignal CtaTemplate EngineType StopOrder StopOrderStatus StrategyTemplate TargetPosTemplate"
    ),
    "arbig.domain.parameters": "OneOf Range",
    "arbig.domain.arrays": "ArrayManager",
    "arbig.domain.features": "FeaturePipeline FeatureSet Features Prediction",
    "arbig.client.client": "ArbigClient ClientError",
    "arbig.lab.desk": "Desk",
    "arbig.lab.magic": "load_ipython_extension",
    "arbig.backtest.plan": "Plan StrategyPlan",
}
_HOMES = {name: module for module, names in _ROOMS.items() for name in names.split()}

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'arbig' has no {name!r}")
    word: object = getattr(import_module(_HOMES[name]), name)
    globals()[name] = word
    return word


def __dir__() -> list[str]:
    return sorted((*globals(), *_HOMES))
