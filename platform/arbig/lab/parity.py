"""Parity: what a live session did beside what the backtest makes of its data, and where the difference comes from.

parity = desk.parity("2025-10-15")
parity.buckets          # yuan by cause; they sum to parity.total
parity.orders           # order by order, side by side
parity.save("parity.html")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from datetime import datetime as Time
from fractions import Fraction
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from arbig.backtest.parity import Bucket, Order, Row, in_cents
from arbig.backtest.result import Result
from arbig.domain.messages import SHANGHAI
from arbig.lab.charts import DOWN_GREEN, UP_RED
from arbig.lab.comparing import Day as Session
from arbig.lab.comparing import Outcome, compare
from arbig.lab.recorded import ParityError as ParityError
from arbig.lab.recorded import Record, Tape, chosen, known, setups
from arbig.lab.sheet import Part, Rows, Sheet, both, cell, heading
from arbig.lab.waterfall import waterfall

if TYPE_CHECKING:
    from arbig.lab.desk import Day, Desk
    from arbig.lab.history import History

LABELS: Mapping[Bucket, tuple[str, str, str]] = {
    Bucket.SIGNAL: ("Signal", "信号", "an order that only one side sent, or that it sent with other lots"),
    Bucket.TIMING: ("Timing", "时延", "the same order at another moment: how far the market had moved"),
    Bucket.PRICE: ("Price", "成交价", "the same moment, another fill price, or only a part filled"),
    Bucket.FEE: ("Fee", "手续费", "the commission differs"),
    Bucket.MISSED: ("Missed data", "缺失行情", "bars or ticks that live did not get"),
    Bucket.MANUAL: ("Manual", "人工交易", "orders of a person, another terminal or the broker"),
    Bucket.RESIDUAL: ("Residual", "未归因", "fills at a moment for which no market price is known"),
}
COLUMNS = (
    "strategy",
    "symbol",
    "direction",
    "offset",
    "cause",
    "live_sent",
    "replay_sent",
    "live_volume",
    "replay_volume",
    "live_traded",
    "replay_traded",
    "live_price",
    "replay_price",
    "live_fee",
    "replay_fee",
    "difference",
    "bucket",
    "words",
)


@dataclass(frozen=True, eq=False, repr=False)
class Parity(Sheet):
    """One day's comparison: live minus replay, in yuan. Shown in a notebook it is a page; `.save(path)` writes it."""

    outcome: Outcome

    @property
    def day(self) -> date:
        return self.outcome.day

    @property
    def strategies(self) -> tuple[str, ...]:
        return self.outcome.strategies

    @cached_property
    def buckets(self) -> dict[str, float]:
        """Yuan by cause, to the cent; they sum to `total`."""
        return {str(bucket): float(amount) for bucket, amount in in_cents(self.outcome.amounts).items()}

    @cached_property
    def total(self) -> float:
        """Live minus replay, to the cent."""
        return float(Fraction(round((self.outcome.live - self.outcome.replay) * 100), 100))

    @property
    def live(self) -> float:
        """What the session's fills earned, valued at the day's settlement price, fees paid."""
        return float(self.outcome.live)

    @property
    def replay(self) -> float:
        """The same of the backtest's fills."""
        return float(self.outcome.replay)

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.outcome.warnings

    @property
    def results(self) -> Mapping[str, Result]:
        """The backtest itself, by strategy."""
        return self.outcome.results

    @cached_property
    def ok(self) -> bool:
        """Every order has its counterpart with the same fills, and nothing differs by a cent."""
        paired = all(row.pair.live is not None and row.pair.replay is not None for _, row in self._traded())
        same = all(_fills(row.pair.live) == _fills(row.pair.replay) for _, row in self._traded())
        return paired and same and not any(self.buckets.values())

    def _traded(self) -> list[tuple[str, Row]]:
        return [(owner, row) for owner, row in self.outcome.rows if any(one and one.fills for one in row.pair)]

    @cached_property
    def orders(self) -> pd.DataFrame:
        """One row per order, in the order of time: what live did, what the replay did, the difference in yuan, its
        main cause, and the sentence that says it."""
        rows = [_table_row(owner, row) for owner, row in self.outcome.rows]
        return pd.DataFrame(rows, columns=list(COLUMNS))

    @property
    def verdict(self) -> str:
        """The day in one sentence."""
        names, orders = ", ".join(self.strategies), len(self._traded())
        if self.ok:
            return f"{names}: live and backtest agree in every order and fill ({orders} orders that traded)."
        largest = max(self.buckets.items(), key=lambda one: abs(one[1]))
        paired = sum(1 for _, row in self._traded() if row.pair.live is not None and row.pair.replay is not None)
        if not any(self.buckets.values()):
            return f"{names}: {paired} of {orders} traded orders are on both sides; the profit is the same."
        more = "more" if self.total >= 0 else "less"
        return (
            f"{names}: live earned {abs(self.total):,.2f} yuan {more} than the backtest "
            f"({self.live:,.2f} against {self.replay:,.2f}); {paired} of {orders} traded orders are on both sides; "
            f"the largest part is {largest[0]}: {largest[1]:+,.2f}."
        )

    def summary(self) -> dict[str, Any]:
        """Plain data, as `arbig parity --json` prints it."""
        return {
            "trading_day": str(self.day),
            "strategies": list(self.strategies),
            "data": "ticks" if self.outcome.on_ticks else "bars",
            "ok": self.ok,
            "live": round(self.live, 2),
            "replay": round(self.replay, 2),
            "total": self.total,
            "buckets": self.buckets,
            "orders": len(self.outcome.rows),
            "missed": {name: {"bars": bars, "ticks": ticks} for name, (bars, ticks) in self.outcome.missed.items()},
            "warnings": list(self.warnings),
        }

    def __repr__(self) -> str:
        lines = [f"parity of {self.day} on {'ticks' if self.outcome.on_ticks else 'bars'}: {self.verdict}"]
        lines += [
            f"  {bucket!s:<12} {self.buckets[bucket]:>14,.2f}  {LABELS[bucket][1]}  {LABELS[bucket][2]}"
            for bucket in Bucket
        ]
        lines.append(f"  {'total':<12} {self.total:>14,.2f}  合计")
        lines += [f"  warning: {line}" for line in self.warnings]
        return "\n".join(lines)


def parity(
    desk: Desk,
    day: Day | None = None,
    *,
    strategy: str | None = None,
    since: str | Time | None = None,
    reference: History | None = None,
    variables: Mapping[str, Mapping[str, Any]] | None = None,
) -> Parity:
    """One recorded trading day (default: the newest): every strategy that ran, or the one named.

    `since`: `"2025-10-15T13:30"`, when a strategy was started later than its data begins. `reference`: a history that
    has the day whole; without one only what the house itself kept can tell what live missed. `variables`: by strategy,
    its variables when the session began (the house keeps only the newest).
    Raises ParityError, PlanError, HistoryError (all ValueError) or StrategyFault, one line.
    """
    configured = setups(desk.settings)
    named = known(strategy, configured) if strategy is not None else None
    asked, begin = _day(day), _moment(since)
    record, tape = Record(desk.settings), Tape(desk.settings)
    try:
        picked = chosen(asked, record, tape)
        today = Session.read(desk, record, tape, picked, configured)
    finally:
        record.close()
    wanted = [named] if named is not None else today.ran()
    if not wanted:
        raise ParityError(f"parity: no strategy of config/strategies ran on {picked}; name one: --strategy NAME")
    outcome = compare(today, wanted, named is not None, begin, reference, variables or {})
    return Parity(f"Parity of {picked}", lambda: _page(outcome), lambda: _brief(outcome), outcome)


def _day(day: Day | None) -> date | None:
    if isinstance(day, Time):
        return day.date()
    if day is None or isinstance(day, date):
        return day
    try:
        return date.fromisoformat(day)
    except (TypeError, ValueError):
        raise ParityError(f"parity: date: found {day!r}, expected a trading day, e.g. '2025-10-15'") from None


def _moment(since: str | Time | None) -> Time | None:
    if since is None:
        return None
    try:
        found = since if isinstance(since, Time) else Time.fromisoformat(since)
    except (TypeError, ValueError):
        raise ParityError(f"parity: since: found {since!r}, expected a moment, e.g. '2025-10-15T13:30'") from None
    return found if found.tzinfo is not None else found.replace(tzinfo=SHANGHAI)


# ---- order by order


def _fills(order: Order | None) -> list[tuple[float, int, float]]:
    return [] if order is None else [(fill.price, fill.volume, fill.fee) for fill in order.fills]


def _price(order: Order | None) -> float | None:
    if order is None or not order.traded:
        return None
    return sum(fill.price * fill.volume for fill in order.fills) / order.traded


def _fee(order: Order | None) -> float | None:
    return None if order is None else sum(fill.fee for fill in order.fills)


def _table_row(owner: str, row: Row) -> dict[str, Any]:
    live, replay = row.pair
    one = row.pair.any
    caused = next((order.cause for order in (replay, live) if order is not None and order.cause), None)
    return {
        "strategy": owner,
        "symbol": one.symbol,
        "direction": str(one.direction),
        "offset": str(one.offset),
        "cause": "" if caused is None else f"{caused.kind} {caused.moment:%H:%M:%S}" if caused.moment else caused.kind,
        "live_sent": _naive(live),
        "replay_sent": _naive(replay),
        **{f"{side}_volume": order.volume if order else 0 for side, order in _sides(row)},
        **{f"{side}_traded": order.traded if order else 0 for side, order in _sides(row)},
        **{f"{side}_price": _price(order) for side, order in _sides(row)},
        **{f"{side}_fee": _fee(order) for side, order in _sides(row)},
        "difference": round(float(row.difference), 2),
        "bucket": _main(row),
        "words": words(row),
    }


def _sides(row: Row) -> tuple[tuple[str, Order | None], tuple[str, Order | None]]:
    return ("live", row.pair.live), ("replay", row.pair.replay)


def _naive(order: Order | None) -> Time | None:
    return None if order is None else order.sent.replace(tzinfo=None)


def _main(row: Row) -> str:
    if not row.amounts:
        return ""
    return str(max(row.amounts, key=lambda bucket: abs(row.amounts[bucket])))


def words(row: Row) -> str:
    """The order's story in a sentence."""
    live, replay = row.pair
    if live is None or replay is None:
        return _of_one_side(row)
    said: list[str] = []
    late = ((live.arrived or live.first_fill or live.sent) - replay.sent).total_seconds()
    if abs(late) > 0.001:
        said.append(f"live came to the exchange {abs(late):.3g} s {'later' if late > 0 else 'sooner'}")
    if live.volume != replay.volume:
        said.append(f"{live.volume} lots live, {replay.volume} in the backtest")
    elif live.traded != replay.traded:
        said.append(f"{live.traded} of {live.volume} lots filled live, {replay.traded} in the backtest")
    prices = _price(live), _price(replay)
    if None not in prices and prices[0] != prices[1]:
        said.append(f"at {prices[0]:.10g} live, {prices[1]:.10g} in the backtest")
    if (_fee(live) or 0.0) != (_fee(replay) or 0.0) and live.traded == replay.traded:
        said.append(f"fee {_fee(live):.10g} live, {_fee(replay):.10g} in the backtest")
    return "; ".join(said) or "the same"


def _of_one_side(row: Row) -> str:
    one = row.pair.any
    reason = f" ({one.words})" if one.words else ""
    if one.by_hand:
        return f"not a strategy's order{reason}"
    after = row.amounts.keys() - {Bucket.SIGNAL}
    if after and not one.fills:
        return f"only {_side_of(row)} sent it{reason}"
    follows = f": a consequence of {', '.join(map(str, after))}" if after else ""
    return f"only {_side_of(row)} sent it{follows}{reason}"


def _side_of(row: Row) -> str:
    return "live" if row.pair.live is not None else "the backtest"


# ---- the page


def _of(outcome: Outcome) -> Parity:
    return Parity("", lambda: (), lambda: "", outcome)


def _page(outcome: Outcome) -> Rows:
    found = _of(outcome)
    data = "ticks · 逐笔行情" if outcome.on_ticks else "one-minute bars · 一分钟K线"
    head = f"<h1><b>ARBIG</b>Parity of {outcome.day}</h1><small>实盘与回测对比 · {data}</small>"
    steps = [(LABELS[bucket][0], found.buckets[bucket]) for bucket in Bucket]
    return [
        [Part("head", head + _verdict(found))],
        [
            Part(
                "waterfall",
                heading("From backtest to live", "从回测到实盘"),
                waterfall(found.replay, steps, found.live),
            ),
            Part("causes", heading("Why they differ", "差异来源") + _causes(found)),
        ],
        [Part("orders", heading("Order by order", "逐笔对照") + _orders(found))],
    ]


def _brief(outcome: Outcome) -> str:
    found = _of(outcome)
    return f"<h1><b>ARBIG</b>Parity of {outcome.day}</h1>{_verdict(found)}{_causes(found)}{_orders(found, most=12)}"


def _verdict(found: Parity) -> str:
    lines = [found.verdict, *(f"warning: {line}" for line in found.warnings)]
    lines += [
        f"{name}: live missed {bars} bars and {ticks} ticks" for name, (bars, ticks) in found.outcome.missed.items()
    ]
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _causes(found: Parity) -> str:
    widest = max(map(abs, found.buckets.values())) or 1.0
    body = "".join(_cause(bucket, found.buckets[bucket], widest) for bucket in Bucket)
    total = (
        f"<tr><th>{both('Total', '合计')}</th>{cell(f'{found.total:,.2f}', _sign(found.total))}<td></td><td></td></tr>"
    )
    return f"<table><tbody>{body}{total}</tbody></table>"


def _cause(bucket: Bucket, amount: float, widest: float) -> str:
    """A row with a bar as long as its amount."""
    english, chinese, words = LABELS[bucket]
    color = UP_RED if amount > 0 else DOWN_GREEN
    bar = f'<div style="height:9px;width:{120 * abs(amount) / widest:.0f}px;background:{color}"></div>'
    left = "style='text-align:left'"
    return (
        f"<tr><th>{both(english, chinese)}</th>{cell(f'{amount:,.2f}', _sign(amount))}"
        f"<td {left}>{bar}</td><td {left}>{escape(words)}</td></tr>"
    )


def _sign(amount: float) -> str:
    return "up" if amount > 0 else "down" if amount < 0 else ""


SHOWN = {
    "strategy": "strategy",
    "cause": "cause",
    "direction": "side",
    "offset": "offset",
    "live_sent": "live",
    "replay_sent": "backtest",
    "live_traded": "lots",
    "replay_traded": "lots",
    "live_price": "price",
    "replay_price": "price",
    "difference": "difference",
    "bucket": "why",
    "words": "in words",
}
WORDS = ("strategy", "cause", "words")


def _orders(found: Parity, most: int | None = None) -> str:
    """All of them with the reason in words, or the `most` telling ones, narrow enough for a notebook."""
    names = {name: words for name, words in SHOWN.items() if most is None or name != "words"}
    table = found.orders
    shown = (
        table if most is None else table.reindex(table["difference"].abs().sort_values(ascending=False).index[:most])
    )
    head = "".join(f"<th>{escape(words)}</th>" for words in names.values())
    body = "".join(
        "<tr>" + "".join(cell(_written(row[name]), "left" if name in WORDS else "one") for name in names) + "</tr>"
        for _, row in shown.sort_index().iterrows()
    )
    more = "" if len(shown) == len(table) else f"<p>{len(table) - len(shown)} more orders, with smaller differences</p>"
    return (
        f'<div class="wide"><table class="cmp"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}'
    )


def _written(value: Any) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, Time):
        return f"{value:%H:%M:%S.%f}"[:-3]
    return f"{value:,.2f}" if isinstance(value, float) else str(value)
