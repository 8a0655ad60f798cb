"""Whence: where an order came from, as a person reads it: code, parameters, the tick or bar behind the signal, and a
picture of its way through the house with the time of each hop.

desk.whence(desk.orders.order_id.iloc[-1])
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Any

import msgspec

from arbig.domain.messages import BarData, TickData, decode
from arbig.lab.live import row_of

if TYPE_CHECKING:
    import pandas as pd

    from arbig.lab.desk import Desk

PLACES = {
    "tick": "the Gateway passes the tick on",
    "signal": "the strategy's signal",
    "stream:order": "on stream:order",
    "inbox": "Trading has judged it",
    "stream:cmd": "committed, on stream:cmd",
    "gateway": "read by the Gateway",
    "journal": "in the Gateway's journal",
    "sent": "sent to the counter",
    "counter": "the counter's first word",
    "stream:order_status": "on stream:order_status",
    "trading": "Trading has written it down",
}
KINDS: dict[str, type[TickData] | type[BarData]] = {"tick": TickData, "stop": TickData, "bar": BarData}
TO_US = 1000.0
WIDTH, ROW, LEFT, RIGHT = 760, 20, 210, 110
BLUE, GREY = "#1a73e8", "#80868b"


@dataclass(frozen=True)
class Hop:
    """A place on the way, when it was passed, and how long the way from the place before took. A stream's own times are
    whole milliseconds, all others microseconds."""

    place: str
    at: datetime
    ms: float | None

    @property
    def words(self) -> str:
        return PLACES[self.place]


class Whence:
    """Where one order came from. `order trades cause run hops source parameters`."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        self.order: dict[str, Any] = told["order"]
        self.trades: list[dict[str, Any]] = told["trades"]
        self.run: dict[str, Any] | None = told["run"]

    @property
    def source(self) -> str | None:
        """The exact text that ran; None for an order that no strategy sent."""
        return self.run["source"] if self.run else None

    @property
    def parameters(self) -> dict[str, Any] | None:
        return self.run["params"] if self.run else None

    @property
    def code_hash(self) -> str | None:
        return self.order.get("code_hash")

    @property
    def params_hash(self) -> str | None:
        return self.run["params_hash"] if self.run else None

    @property
    def run_id(self) -> str | None:
        return self.order.get("run_id")

    @cached_property
    def cause(self) -> TickData | BarData | str | None:
        """The tick or bar that triggered it, as long as Market has it; else its name (`tick:au2512:4711`)."""
        said = self.told["cause"]
        if said is None:
            return None
        kind = KINDS.get(said["kind"])
        message = said.get("message")
        if kind is None or message is None:
            return str(said["cause"])
        return decode(kind, msgspec.json.encode(message))

    @cached_property
    def hops(self) -> list[Hop]:
        """The places that are known, in their order."""
        found: list[Hop] = []
        for one in self.told["hops"]:
            if one["at"] is not None:
                at = datetime.fromisoformat(one["at"])
                found.append(Hop(one["place"], at, _ms(found[-1].at, at) if found else None))
        return found

    @property
    def unknown(self) -> list[str]:
        """Places whose time nobody keeps (any more)."""
        return [one["place"] for one in self.told["hops"] if one["at"] is None]

    @property
    def latencies(self) -> pd.Series[Any]:
        """Milliseconds of each hop."""
        import pandas as pd

        return pd.Series({hop.place: hop.ms for hop in self.hops if hop.ms is not None}, name="ms", dtype=float)

    @property
    def events(self) -> pd.DataFrame:
        """What became of it: every word of the counter, with its stream entry."""
        import pandas as pd

        return pd.DataFrame(self.told["events"], columns=["datetime", "kind", "status", "traded", "entry_id"])

    def __repr__(self) -> str:
        order = self.order
        lines = [
            f"{order['strategy_name'] or 'somebody else'}: {order['direction']} {order['offset']} {order['volume']} "
            f"{order['symbol']} at {order['price']:g}: {order['status']}",
            *(f"  {name:<12} {value}" for name, value in self._facts().items()),
            *(f"  {_shown(hop.ms):>10}  {hop.words}" for hop in self.hops),
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head, *_ = repr(self).splitlines()
        left = "style='text-align:left'"
        facts = "".join(
            f"<tr><th {left}>{escape(name)}</th><td {left}>{escape(value)}</td></tr>"
            for name, value in self._facts().items()
        )
        code = (
            f"<details><summary>{escape(self.run['class_name'])}, code {escape((self.code_hash or '')[:12])}</summary>"
            f"<pre>{escape(self.source or '')}</pre></details>"
            if self.run
            else ""
        )
        return f"<div><b>{escape(head)}</b><table>{facts}</table>{self.picture}{code}</div>"

    def _facts(self) -> dict[str, str]:
        order, counter = self.order, self.told["counter"]
        cause = self.cause
        said = self.told["cause"]
        shown = "" if said is None else str(said["cause"])
        if not isinstance(cause, str) and cause is not None:
            price = cause.last_price if isinstance(cause, TickData) else cause.close_price
            shown += f": {price:g} at {cause.datetime:%Y-%m-%d %H:%M:%S}"
        run = self.run or {}
        parameters = ", ".join(f"{name}={value}" for name, value in (self.parameters or {}).items())
        facts = {
            "cause": shown,
            "run": f"{run['run_id']}, {run['class_name']}" if run else "",
            "parameters": f"{parameters or 'as the class has them'} (hash {run['params_hash'][:12]})" if run else "",
            "code": (self.code_hash or "")[:12],
            "request": order.get("request_id") or "",
            "order": f"{order['order_id']}, exchange's number {counter['order_sys_id']}"
            if counter.get("order_sys_id")
            else str(order["order_id"]),
            "refused": self.told["answer"] or order.get("error_msg") or "",
            "trades": ", ".join(f"{one['volume']} at {one['price']:g} ({one['trade_id']})" for one in self.trades),
        }
        return {name: value for name, value in facts.items() if value}

    @property
    def picture(self) -> str:
        """Its way as a staircase in time (SVG): a step for each hop."""
        hops = self.hops
        if len(hops) < 2:
            return ""
        first, whole = hops[0].at, max(_ms(hops[0].at, hops[-1].at), 0.001)
        room = WIDTH - LEFT - RIGHT
        rows = []
        for number, hop in enumerate(hops):
            start = LEFT + room * _share(_ms(first, hops[max(0, number - 1)].at), whole)
            end = LEFT + room * _share(_ms(first, hop.at), whole)
            y = ROW * number + 4
            rows.append(
                f"<text x='{LEFT - 8}' y='{y + 11}' text-anchor='end' fill='{GREY}'>{escape(hop.words)}</text>"
                f"<rect x='{min(start, end):.1f}' y='{y + 2}' width='{max(2.0, abs(end - start)):.1f}' height='10' "
                f"rx='2' fill='{BLUE}'/>"
                f"<text x='{max(start, end) + 6:.1f}' y='{y + 11}' fill='{GREY}'>{escape(_shown(hop.ms))}</text>"
            )
        height = ROW * len(hops) + 8
        style = f"max-width:{WIDTH}px;width:100%;font:12px sans-serif"
        title = f"<title>{_shown(whole)} from the first place to the last</title>"
        return (
            f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' style='{style}' role='img'>"
            f"{title}{''.join(rows)}</svg>"
        )


def whence(desk: Desk, order_id: str) -> Whence:
    """What `Desk.whence` says."""
    return Whence(desk.live.ask(lambda client: client.whence(str(order_id))))


def tape(desk: Desk, symbol: str, since: datetime | None, limit: int | None) -> pd.DataFrame:
    """What `Desk.ticks` says."""
    import pandas as pd

    from arbig.lab.live import plain

    found = desk.live.ask(lambda client: client.tape(plain(symbol), limit, since)).ticks
    columns = [name for name in TickData.__struct_fields__ if name not in ("v", "datetime", "account_id")]
    rows = [row_of(tick) for tick in found]
    index = pd.DatetimeIndex([row["datetime"] for row in rows], name="datetime")
    return pd.DataFrame([{name: row[name] for name in columns} for row in rows], columns=columns, index=index)


def _ms(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds() * TO_US


def _share(ms: float, whole: float) -> float:
    """Clocks of whole milliseconds may seem to go back by one."""
    return min(1.0, max(0.0, ms / whole))


def _shown(ms: float | None) -> str:
    if ms is None:
        return ""
    return f"{ms:.2f} ms" if abs(ms) < 10 else f"{ms:,.0f} ms"
