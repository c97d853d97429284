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
from candelabra.sources.provenance import Span, runs, union
from candelabra.sources.reading import Reading
from candelabra.sources.settle import distinct, saved_ms
from candelabra.sources.stamps import opened

__all__ = ["Columns", "Piece", "Settler", "settle_candles", "settle_trades"]

Columns = tuple[NDArray[Any], ...]
"""``open_time, open, high, low, close, volume`` of bars, or the columns a spool holds."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Bars of a piece (``columns``) and where its other rows went; ``doubtful``: times of rejected rows, whose bars are absent for no known
    reason.
    """

    columns: Columns
    kept: int
    left_out: dict[str, int] = field(default_factory=dict)
    rejected: list[tuple[Rejected, str]] = field(default_factory=list)
    doubtful: list[Span] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Settler:
    """What is known of a whole series when its pieces are settled: ``spans``: first and last time (ms, as stamped) by file."""

    symbol: str
    frame: Timeframe
    stamps: Stamps
    readings: Sequence[Reading]
    reasons: Mapping[tuple[int, int], str]
    spans: Mapping[int, Span]
    now_ms: int

    @cached_property
    def now_open(self) -> int:
        """When the bar that is forming now has opened: bars from there on are not closed."""
        return int(self.frame.floor(self.now_ms))

    @cached_property
    def cut_off(self) -> dict[int, int]:
        """When the last bar of a file opens, where it was still forming as the file was saved."""
        found = {}
        for member, (_, last) in self.spans.items():
            opens = int(self.frame.floor(int(opened(np.array([last], np.int64), self.frame, self.stamps)[0])))
            if opens <= saved_ms(self.readings[member].member.name) < int(self.frame.next(opens)):
                found[member] = opens
        return found

    @cached_property
    def covered(self) -> list[Span]:
        """The stretches of time that files cover: from the first bar of each to its last that is closed."""
        found = []
        for member, (first, last) in self.spans.items():
            times = opened(np.array([first, last], np.int64), self.frame, self.stamps)
            start, stop = int(self.frame.floor(int(times[0]))), int(self.frame.next(self.frame.floor(int(times[1]))))
            found.append((start, min(stop, self.now_open, self.cut_off.get(member, stop))))
        return union(found)

    @cached_property
    def whole(self) -> Span:
        """From when to when trades tell whole bars."""
        if not self.spans:
            return 0, 0
        first, last = min(s[0] for s in self.spans.values()), max(s[1] for s in self.spans.values())
        return covered(first, min(last, self.now_ms), self.frame)

    def forming(self, time: NDArray[np.int64], member: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Which rows are bars that were not closed."""
        out = (time >= self.now_open) & (time <= self.now_ms)
        for one, opens in self.cut_off.items():
            out |= (time == opens) & (member == one)
        return out

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
    forming = settler.forming(time, member)
    left_out = {"forming": int(forming.sum())} if forming.any() else {}
    if forming.any():
        time, values, row, member = time[~forming], tuple(v[~forming] for v in values), row[~forming], member[~forming]
    sound = bool((time[1:] > time[:-1]).all()) and bool((settler.frame.floor(time) == time).all()) and not law_breaks(*values).any()
    if sound and (not len(time) or last_ms < int(time[0]) <= int(time[-1]) <= settler.now_ms):
        return Piece((time, *values), len(time), left_out)
    zeros, file = np.zeros(len(time), np.int32), np.zeros(len(time), np.int32)
    open_, high, low, close, volume = values
    bad = bad_rows(RawCandles(settler.symbol, settler.frame, time, open_, high, low, close, volume, zeros, ("",), file, row))
    bad.pop("disorder")
    again = bad.pop("identical duplicate")
    bad["conflicting duplicate"] |= time <= last_ms
    rejected: list[tuple[Rejected, str]] = []
    out = np.zeros(len(time), np.bool_)
    for kind, mask in ({"opens in the future": time > settler.now_ms} | bad).items():
        fresh = mask & ~out
        for at in np.flatnonzero(fresh).tolist():
            shown = " ".join(f"{n} {float(v[at]):g}" for n, v in zip(VALUE_COLUMNS, values, strict=True))
            rejected.append((settler.rejection(int(member[at]), int(row[at]), int(time[at]), kind, shown), kind))
        out |= fresh
    again &= ~out
    if again.any():
        left_out["identical duplicate"] = int(again.sum())
    keep = ~again & ~out
    doubtful = runs(distinct(settler.frame.floor(time[out])), settler.frame)
    return Piece((time[keep], *(v[keep] for v in values)), int(keep.sum()), left_out, rejected, doubtful)


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
