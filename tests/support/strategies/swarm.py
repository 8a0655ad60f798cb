"""Swarm: one of several strategies that trade several contracts far too often. Never more than three lots of each."""

from collections import Counter

from arbig import StrategyTemplate, TickData


class SwarmStrategy(StrategyTemplate):
    """Every `pace` ticks of a contract one of: buy or short at the best price, cross the spread, cancel, close."""

    parameters = ["pace", "shift"]
    pace = 100
    shift = 0

    def on_init(self) -> None:
        self.seen: Counter[str] = Counter()

    def on_tick(self, tick: TickData) -> None:
        name = tick.vt_symbol
        self.seen[name] += 1
        if self.seen[name] % self.pace:
            return
        step = (self.seen[name] // self.pace + self.shift) % 6
        across = 2 * self.get_pricetick(name)
        held = self.get_pos(name)
        if step == 5:
            self.cancel_all()
        elif held >= 3:
            self.sell(name, tick.bid_price_1 - across, held)
        elif held <= -3:
            self.cover(name, tick.ask_price_1 + across, -held)
        elif step in (0, 2):
            self.buy(name, tick.ask_price_1 + across if step == 2 else tick.bid_price_1, 1)
        elif step == 1:
            self.short(name, tick.ask_price_1, 1)
        elif held > 0:
            self.sell(name, tick.bid_price_1 - across, 1)
        elif held < 0:
            self.cover(name, tick.ask_price_1 + across, 1)

    def on_bars(self, bars: dict) -> None:
        """Ticks are enough."""
