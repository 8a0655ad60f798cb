"""Guard: stop orders and the risk block, on every tick, whatever the strategy's own code is doing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from arbig.domain import protection
from arbig.domain.messages import BarData, Offset, OrderData, Status, TickData
from arbig.domain.protection import Exit, is_locked
from arbig.domain.template import StopOrder, StopOrderStatus, round_to
from arbig.store.strategies import Effects, Lots
from arbig.strategy.desk import Desk, Item, Outcome
from arbig.strategy.frames import SendOrder
from arbig.strategy.stops import crossing_price, fires_on_bar, fires_on_tick


class Guard:
    """`tell` hands news to the strategy."""

    def __init__(self, desk: Desk, tell: Callable[[list[Item]], None]) -> None:
        self.desk = desk
        self.house = desk.house
        self.tell = tell
        self.due: set[str] = set()  # stop orders that a bar has shown to be reached
        self._alarmed: set[str] = set()
        self._must_keep = False

    @property
    def is_needed(self) -> bool:
        risk = self.desk.risk
        waiting = self.desk.stop_orders or self.desk.exits or self._must_keep
        return bool(waiting or risk.stop_loss_pct or risk.take_profit_pct)

    def hear_bar(self, bar: BarData) -> None:
        self.due |= {one.stop_orderid for one in self._stops_of(bar.symbol) if fires_on_bar(one, bar)}

    async def hear_tick(self, tick: TickData) -> None:
        """Never waits for the disk: what cannot be written now is tried again with the next tick."""
        if self.desk.is_low and not self.house.wrote(self.desk.reserve):
            return
        if self._must_keep:
            self._keep_exits()
        for stop_order in self._stops_of(tick.symbol):
            if stop_order.stop_orderid in self.due or fires_on_tick(stop_order, tick):
                await self._fire(stop_order, tick)
        await self._protect(tick)

    def hear_order(self, order: OrderData) -> None:
        """A close of ours that was rejected waits before the next one."""
        for symbol, exit in self.desk.exits.items():
            if exit.order == order.vt_orderid and order.status is Status.REJECTED:
                self.desk.exits[symbol] = protection.refused(exit, self.house.clock.monotonic())
                self.desk.log(f"the close of {symbol} was rejected: {order.error_msg or order.detail}")

    # ---- stop orders

    def _stops_of(self, symbol: str) -> list[StopOrder]:
        return [one for one in self.desk.stop_orders.values() if one.vt_symbol.partition(".")[0] == symbol]

    async def _fire(self, stop_order: StopOrder, tick: TickData) -> None:
        """Triggered and sent in one transaction: it can never be sent twice."""
        desk, name = self.desk, stop_order.stop_orderid
        if desk.user_paused and stop_order.offset is Offset.OPEN:
            return
        if is_locked(stop_order.direction, tick):
            await self._alarm_once(name, tick)
            return
        price = crossing_price(stop_order.direction, tick)
        requests = desk.requests_of_stop(stop_order, price, f"stop:{tick.symbol}:{tick.seq}")
        reason = next((text for one in requests if (text := desk.refusal(one))), None)
        if reason is not None:
            said = f"{name} has triggered and is refused: {reason}"
            requests, status = [], StopOrderStatus.CANCELLED
        else:
            said, status = f"{name} has triggered at {tick.last_price:g}", StopOrderStatus.TRIGGERED
        outcome = Outcome()
        outcome.tell_of_stop(stop_order, status=status, vt_orderids=tuple(one.request_id for one in requests))
        effects = Effects(desk.name, stop_orders=tuple(outcome.stop_orders), requests=tuple(requests))
        if not self.house.wrote(lambda: self.house.store.commit(effects)):
            return
        desk.log(said)
        del desk.stop_orders[name]
        self.due.discard(name)
        self._alarmed.discard(name)
        for request in requests:
            desk.accept(request, outcome)
        await self.house.send(outcome.requests, desk.name, kept=True)
        self.tell(outcome.news)

    async def _alarm_once(self, name: str, tick: TickData) -> None:
        if name not in self._alarmed:
            self._alarmed.add(name)
            said = f"{self.desk.name}: {name} has triggered, but {tick.symbol} is locked at {tick.last_price:g}"
            await self.house.alarm(said, self.desk.name, tick.symbol)

    # ---- the risk block

    async def _protect(self, tick: TickData) -> None:
        desk, symbol = self.desk, tick.symbol
        lots = self.house.lots(desk.name, symbol)
        exit = desk.exits.get(symbol)
        if exit is None:
            reason = protection.breach(lots, tick.last_price, desk.risk)
            if reason is None:
                return
            exit = desk.exits[symbol] = Exit(reason)
            self._keep_exits()
            await self.house.alarm(f"{desk.name}: closing {symbol}: {reason}", desk.name, symbol)
        if lots.volume:
            await self._step(exit, lots, tick)
        elif exit.order not in desk.orders:
            del desk.exits[symbol]
            self._keep_exits()
            desk.log(f"{symbol} is flat: the risk block is done ({exit.reason})")

    def _keep_exits(self) -> None:
        """A close that has begun is finished after a restart, wherever the price is then."""
        reasons = {symbol: exit.reason for symbol, exit in self.desk.exits.items()}
        self._must_keep = not self.house.wrote(lambda: self.house.store.set_exits(self.desk.name, reasons))

    async def _step(self, exit: Exit, lots: Lots, tick: TickData) -> None:
        desk, symbol = self.desk, tick.symbol
        if desk.is_settling(symbol):
            return  # the fill comes before the next close, or we would close too much
        instrument = self.house.instruments.get(symbol)
        working = {name: one.request for name, one in desk.orders.items() if one.request.symbol == symbol}
        now = self.house.clock.monotonic()
        step = protection.next_step(exit, lots, tick, instrument.price_tick, working, now)
        desk.exits[symbol] = step.exit
        outcome = Outcome()
        for name in step.cancel:
            desk.cancel(name, outcome)
        if step.price is not None:
            price = round_to(step.price, instrument.price_tick)
            direction = protection.closing_direction(lots)
            wish = SendOrder(desk.request_id(), instrument.vt_symbol, direction, Offset.CLOSE, price, abs(lots.volume))
            request = desk.request(wish, f"tick:{symbol}:{tick.seq}")
            desk.accept(request, outcome)
            desk.exits[symbol] = replace(step.exit, order=request.request_id)
        await self.house.send(outcome.requests, desk.name, kept=False)
        if step.alarm is not None:
            await self.house.alarm(f"{desk.name}: {step.alarm}", desk.name, symbol)
