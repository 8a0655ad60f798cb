from arbig.client.client import ArbigClient as ArbigClient
from arbig.domain.arrays import ArrayManager as ArrayManager
from arbig.domain.messages import BarData as BarData
from arbig.domain.messages import Detail as Detail
from arbig.domain.messages import Direction as Direction
from arbig.domain.messages import EventData as EventData
from arbig.domain.messages import EventType as EventType
from arbig.domain.messages import Exchange as Exchange
from arbig.domain.messages import Interval as Interval
from arbig.domain.messages import Offset as Offset
from arbig.domain.messages import OrderData as OrderData
from arbig.domain.messages import OrderRequest as OrderRequest
from arbig.domain.messages import OrderType as OrderType
from arbig.domain.messages import PositionData as PositionData
from arbig.domain.messages import Status as Status
from arbig.domain.messages import TickData as TickData
from arbig.domain.messages import TradeData as TradeData
from arbig.domain.template import BarGenerator as BarGenerator
from arbig.domain.template import CtaSignal as CtaSignal
from arbig.domain.template import CtaTemplate as CtaTemplate
from arbig.domain.template import EngineType as EngineType
from arbig.domain.template import StopOrder as StopOrder
from arbig.domain.template import StopOrderStatus as StopOrderStatus
from arbig.domain.template import StrategyTemplate as StrategyTemplate
from arbig.domain.template import TargetPosTemplate as TargetPosTemplate

__version__: str
