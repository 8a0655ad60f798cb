"""Puppet: does what the newest lines of a file say, each once; and what a line says to do after the next fill."""

from pathlib import Path

from arbig import CtaTemplate, TickData, TradeData


class PuppetStrategy(CtaTemplate):
    """A line: `buy 880.02 1`, `cancel`, or `buy 880.02 1 then sell 881.00 1`. Lines from before its start are past."""

    parameters = ["wishes"]
    variables = ["then"]
    wishes = ""
    then = ""

    def on_init(self) -> None:
        self.seen = len(self.lines())

    def lines(self) -> list[str]:
        return Path(self.wishes).read_text().splitlines()

    def on_tick(self, tick: TickData) -> None:
        lines = self.lines()
        for line in lines[self.seen :]:
            now, _, self.then = line.partition(" then ")
            self.do(now)
        self.seen = len(lines)

    def on_trade(self, trade: TradeData) -> None:
        then, self.then = self.then, ""
        if then:
            self.do(then)

    def do(self, words: str) -> None:
        verb, *numbers = words.split()
        if verb == "cancel":
            self.cancel_all()
        else:
            price, volume = numbers
            getattr(self, verb)(float(price), int(volume))
