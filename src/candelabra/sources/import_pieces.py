"""A month of candle rows, or a day of trades, settled: which rows become bars, which are left out, and why others are rejected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import VALUE_COLUMNS, format_time, law_breaks
from candelabra.candles.quality import bad_rows
from candelabra.candles.raw import RawCandles
from candelabra.candles.timeframe import Timeframe
from candelabra.candles.trades import bars_between, covered, unlawful_trades
from candelabra.sources.collect import trade_order
from candelabra.sources.import_report import Rejected
from candelabra.sources.layout import Stamps
from candelabra.sources.provenance import Span, runs
from candelabra.sources.reading import Reading
from candelabra.sources.settle import saved_ms
from candelabra.sources.stamps import opened

__all__ = ["Columns", "Piece", "Settler", "settle_candles", "settle_trades"]

Columns = tuple[NDArray[Any], ...]
"""``open_time, open, high, low, close, volume`` of bars, or the columns a spool holds."""



@dataclass(frozen=True, eq=False)
class Piece:
    """Bars of a piece (``columns``) and where its other rows went; ``doubtful`` are times of rejected rows: why no bar is there is unknown."""

    columns: Columns
    kept: int
    left_out: dict[str, int] = field(default_factory=dict)
    rejected: list[tuple[Rejected, str]] = field(default_factory=list)
    doubtful: list[Span] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Settler:
    """What is known of a whole series when its pieces are settled: ``spans`` are first and last times (ms, as stamped) in each file."""

    symbol: str
    frame: Timeframe
    stamps: Stamps
    readings: Sequence[Reading]
    reasons: Mapping[tuple[int, int], str]
    spans: Sequence[Span]
    now_ms: int

    @cached_property
    def newest(self) -> int:
        """When the newest bar opens."""
        last = max((span[1] for span in self.spans), default=0)
        return int(opened(np.array([last], np.int64), self.frame, self.stamps)[0])

    @cached_property
    def open_end(self) -> int:
        """Where closed bars end at the latest: a bar may be forming still, or have been when its file was saved."""
        floor = int(self.frame.floor(self.newest))
        closes = int(self.frame.next(floor))
        saved = [saved_ms(r.member.name) for r in self.readings]
        forming = closes > self.now_ms or any(floor <= s < closes for s in saved)
        return floor if forming else closes

    @cached_property
    def whole(self) -> Span:
        """From when to when trades tell whole bars."""
        first, last = min(s[0] for s in self.spans), max(s[1] for s in self.spans)
        return covered(first, last, self.frame)

    def rejection(self, member: int, row: int, time_ms: int, reason: str, values: str) -> Rejected:
        """A rejected row with its place."""
        reading = self.readings[member]
        line = row + reading.first_line if reading.first_line else 0
        why = self.reasons.get((member, row), reason)
        return Rejected(reading.member.name, row, line, format_time(time_ms), why, self.symbol, values)


def settle_candles(columns: Columns, settler: Settler, last_ms: int) -> Piece:
    """Rows ``time, open, high, low, close, volume, row, member`` of a month as bars; all lie after ``last_ms``."""
    time = opened(columns[0], settler.frame, settler.stamps)
    values, row, member = columns[1:6], columns[6], columns[7]
    if not bool((time[1:] > time[:-1]).all()):
        falling = bool((time[1:] < time[:-1]).all())
        order: Any = slice(None, None, -1) if falling else np.argsort(time, kind="stable")
        time, values, row, member = time[order], tuple(v[order] for v in values), row[order], member[order]
    sound = bool((time[1:] > time[:-1]).all()) and bool((settler.frame.floor(time) == time).all()) and not law_breaks(*values).any()
    if sound and len(time) and int(time[-1]) < settler.open_end and int(time[0]) > last_ms:
        return Piece((time, *values), len(time))
    zeros, file = np.zeros(len(time), np.int32), np.zeros(len(time), np.int32)
    bad = bad_rows(RawCandles(settler.symbol, settler.frame, time, *values, zeros, ("",), file, row))
    bad.pop("disorder")
    again = bad.pop("identical duplicate")
    forming = time >= settler.open_end
    future = time > settler.now_ms
    keep = ~again & ~forming
    rejected: list[tuple[Rejected, str]] = []
    out = np.zeros(len(time), np.bool_)
    kinds = {"opens in the future": future, "conflicting duplicate": time <= last_ms} | bad
    for kind, mask in kinds.items():
        fresh = mask & ~out & ~(again & (kind != "opens in the future")) & ~(forming & (kind != "opens in the future"))
        if kind == "conflicting duplicate":
            fresh = (fresh | (bad[kind] & ~out & ~forming)) & ~again
        for at in np.flatnonzero(fresh).tolist():
            shown = " ".join(f"{n} {float(v[at]):g}" for n, v in zip(VALUE_COLUMNS, values, strict=True))
            rejected.append((settler.rejection(int(member[at]), int(row[at]), int(time[at]), kind, shown), kind))
        out |= fresh
    left_out = {"identical duplicate": int((again & ~out & ~forming).sum()), "forming": int((forming & ~out).sum())}
    keep &= ~out
    floor = np.unique(settler.frame.floor(time[out]))
    return Piece(
        (time[keep], *(v[keep] for v in values)), int(keep.sum()), {k: n for k, n in left_out.items() if n}, rejected,
        runs(floor, settler.frame),
    )  # fmt: skip


def settle_trades(columns: Columns, settler: Settler, last_ms: int) -> Piece:
    """Rows ``time, price, amount, row, member, id`` of a day as bars; what lies in bars that are not whole is left out."""
    time, price, amount, row, member, identity = columns
    begin, end = settler.whole
    bad = unlawful_trades(price, amount)
    future = time > settler.now_ms
    rejected = []
    for at in np.flatnonzero(bad | future).tolist():
        kind = "opens in the future" if future[at] else "no trade"
        shown = f"price {float(price[at]):g} amount {float(amount[at]):g}"
        rejected.append((settler.rejection(int(member[at]), int(row[at]), int(time[at]), kind, shown), kind))
    some = np.flatnonzero(~(bad | future))
    has_ids = bool((identity != -1).any())
    order, again = trade_order(time[some], identity[some] if has_ids else None, price[some], amount[some])
    kept = some[order[~again]]
    bucket = settler.frame.floor(time[kept])
    whole = (bucket >= begin) & (settler.frame.next(bucket) <= min(end, settler.now_ms))
    left_out = {"identical duplicate": int(again.sum()), "bar not whole": int((~whole).sum())}
    kept, bucket = kept[whole], bucket[whole]
    made: Columns = tuple(np.zeros(0, np.int64 if k == 0 else np.float64) for k in range(6))
    if len(kept):
        starts = np.flatnonzero(np.concatenate([[True], bucket[1:] != bucket[:-1]]))
        made = (bucket[starts], *bars_between(price[kept], amount[kept], starts))
    return Piece(made, len(kept), {k: n for k, n in left_out.items() if n}, rejected)


