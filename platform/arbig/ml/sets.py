"""Sets: from stored bars to rows of features with what came after them. The same rows, whoever computes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime as Time

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from arbig.backtest.series import BarSeries
from arbig.domain.features import COLUMNS, FeatureSet, table

Floats = NDArray[np.float64]
Times = NDArray[np.datetime64]

LONGEST_BREAK = np.timedelta64(125, "m")
"""A label may reach over the lunch break, not from a night into its day."""


class SetError(ValueError):
    """A set that cannot be trained on. One line."""


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Rows by moment, then contract. `labels`: the move from the next bar's open to the close of the `horizon`-th one
    after, in basis points; `label_ends`: the stamp of that last bar. Times are naive Shanghai."""

    features: FeatureSet
    horizon: int
    symbols: NDArray[np.str_]
    moments: Times
    trading_days: Times
    label_ends: Times
    values: Floats
    labels: Floats

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def hash(self) -> str:
        digest = hashlib.sha256(f"{self.features.fingerprint} {self.horizon} {' '.join(self.symbols)}".encode())
        for column in (self.moments, self.label_ends, self.values, self.labels):
            digest.update(np.ascontiguousarray(column).view(np.uint8).data)
        return digest.hexdigest()


def chunks(series: BarSeries, features: FeatureSet, count: int) -> Iterator[pa.Table]:
    """The bars in so many parts of whole trading days, each with the bars before it that its first rows look at."""
    days = np.unique(series.trading_day)
    for part in np.array_split(days, min(count, len(days))):
        start = int(np.searchsorted(series.trading_day, part[0], side="left"))
        stop = int(np.searchsorted(series.trading_day, part[-1], side="right"))
        lead = min(start, features.bars - 1)
        rows = series.rows(start - lead, stop)
        yield pa.table(
            {
                "symbol": pa.array([series.vt_symbol] * len(rows)),
                "moment": rows.datetime.astype("datetime64[s]").astype(np.int64),
                "trading_day": rows.trading_day.astype("datetime64[D]").astype(np.int64),
                "is_lead": np.arange(len(rows)) < lead,
                **{name: getattr(rows, name) for name in COLUMNS},
            }
        )


def rows_of(part: pa.Table, features: FeatureSet, horizon: int) -> pa.Table:
    """Features and labels of one part. Rows with too few bars before them, or none to label them with, are left out."""
    columns = np.array([part[name].to_numpy() for name in COLUMNS], np.float64)
    moments = part["moment"].to_numpy().astype("datetime64[s]")
    days, lead = part["trading_day"].to_numpy(), part["is_lead"].to_numpy()
    values = table(features, columns, [one.item() for one in moments]) if len(moments) else np.empty((0, 0))
    first = features.bars - 1
    rows = np.arange(first, len(moments) - horizon) if len(moments) > horizon else np.empty(0, np.int64)
    ends = rows + horizon
    near = moments[ends] - moments[rows] <= np.timedelta64(horizon, "m") + LONGEST_BREAK
    rows = rows[(days[ends] == days[rows]) & near & ~lead[rows]]
    ends = rows + horizon
    opened, closed = columns[COLUMNS.index("open")][rows + 1], columns[COLUMNS.index("close")][ends]
    return pa.table(
        {
            "symbol": part["symbol"].take(pa.array(rows)),
            "moment": moments[rows].astype(np.int64),
            "trading_day": days[rows],
            "label_end": moments[ends].astype(np.int64),
            "label": np.log(closed / opened) * 1e4,
            **{name: values[rows - first, column] for column, name in enumerate(features.names)},
        }
    )


def collected(parts: Sequence[pa.Table], features: FeatureSet, horizon: int) -> TrainingSet:
    """The rows of all parts, in their one order. Raises SetError when there are none."""
    whole = pa.concat_tables(parts).sort_by([("moment", "ascending"), ("symbol", "ascending")])
    if not len(whole):
        raise SetError(
            f"no rows: each needs {features.bars} bars before it and {horizon} after it in its trading day; "
            "give a longer range"
        )
    stamps = {name: whole[name].to_numpy().astype("datetime64[s]") for name in ("moment", "label_end")}
    return TrainingSet(
        features=features,
        horizon=horizon,
        symbols=np.array(whole["symbol"].to_pylist(), np.str_),
        moments=stamps["moment"],
        trading_days=whole["trading_day"].to_numpy().astype("datetime64[D]"),
        label_ends=stamps["label_end"],
        values=np.ascontiguousarray(np.array([whole[name].to_numpy() for name in features.names], np.float64).T),
        labels=whole["label"].to_numpy(),
    )


def built(series: Sequence[BarSeries], features: FeatureSet, horizon: int) -> TrainingSet:
    """The set, in this process."""
    return collected(
        [rows_of(part, features, horizon) for one in series for part in chunks(one, features, 1)], features, horizon
    )


def last_moment(rows: TrainingSet) -> Time:
    """The stamp of the newest bar that any label looked at."""
    found: Time = rows.label_ends.max().item()
    return found
