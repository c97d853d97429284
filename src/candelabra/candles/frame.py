"""`Candles`: closed OHLCV bars of one symbol at one timeframe, valid by construction."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.errors import DataError

__all__ = ["PRICE_COLUMNS", "VALUE_COLUMNS", "Candles", "format_minute", "format_time", "law_breaks"]

PRICE_COLUMNS: Final = ("open", "high", "low", "close")
VALUE_COLUMNS: Final = (*PRICE_COLUMNS, "volume")


def format_time(time_ms: int) -> str:
    """A time (ms, UTC) for people.

    >>> format_time(1_700_000_000_000)
    '2023-11-14 22:13:20'
    """
    text = str(np.datetime64(int(time_ms), "ms")).replace("T", " ")
    for tail in (".000", ":00"):
        text = text.removesuffix(tail)
    return text


def format_minute(time_ms: int) -> str:
    """The minute a time (ms, UTC) lies in, for people; cuts between ranges lie beside bars, not on them.

    >>> format_minute(1_700_000_000_001)
    '2023-11-14 22:13'
    """
    return str(np.datetime64(int(time_ms) // 60_000, "m")).replace("T", " ")


def law_breaks(
    open_: NDArray[np.float64],
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    close: NDArray[np.float64],
    volume: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Bars that are not candles: a value not finite, a price not positive, volume below 0, or high/low not the extremes."""
    finite = np.isfinite(open_) & np.isfinite(high) & np.isfinite(low) & np.isfinite(close) & np.isfinite(volume)
    with np.errstate(invalid="ignore"):
        lawful = (low <= np.minimum(open_, close)) & (high >= np.maximum(open_, close)) & (low > 0) & (volume >= 0)
    return ~(finite & lawful)


@dataclass(frozen=True, eq=False)
class Candles:
    """Closed OHLCV bars of one symbol at one timeframe, in strictly rising open time.

    ``open_time`` int64 ms UTC ``(n,)``; ``open high low close volume`` float64 ``(n,)``; ``missing`` int32 ``(n,)``: how
    many source bars are absent inside a resampled bar (0 for fetched bars). A bar that is absent altogether is a *gap*: it has no row.
    ``source`` is the timeframe that was fetched (its own for fetched bars) and that ``missing`` counts in; ``span`` (ms, from/to) is the
    stretch of time the source covered: what has no row inside it was absent, what lies outside is unknown. Both make resampling
    associative. ``simulated`` marks bars of a simulated market, and stays with whatever is made of them; it is no part of their values
    (the fingerprint is the same).
    Build with :meth:`of`, which checks and raises DataError with the first offending row; arrays are read-only.
    """

    symbol: str
    timeframe: Timeframe
    open_time: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    missing: NDArray[np.int32]
    source: Timeframe
    span: tuple[int, int]
    simulated: bool = False

    @classmethod
    def of(
        cls,
        symbol: str,
        timeframe_: str | Timeframe,
        open_time: ArrayLike,
        open_: ArrayLike,
        high: ArrayLike,
        low: ArrayLike,
        close: ArrayLike,
        volume: ArrayLike,
        missing: ArrayLike | None = None,
        *,
        source: str | Timeframe | None = None,
        span: tuple[int, int] | None = None,
        simulated: bool = False,
        copy: bool = True,
    ) -> Candles:
        """Checked candles from columns; times in ms UTC, on the timeframe's grid.

        ``source`` defaults to the timeframe itself, ``span`` to first open .. last close. ``copy=False`` keeps arrays of the right type as
        they are and makes them read-only: for arrays that nobody else holds.

        >>> c = Candles.of("BTC/USDT", "1h", [0, 3_600_000], [1, 2], [3, 3], [1, 1], [2, 2], [5, 0])
        >>> len(c), int(c.close_time[-1])
        (2, 7200000)
        """
        frame = timeframe(timeframe_)
        times = _column(open_time, np.int64, copy)
        values = [_column(v, np.float64, copy) for v in (open_, high, low, close, volume)]
        lost = np.zeros(len(times), np.int32) if missing is None else _column(missing, np.int32, copy)
        where = f"{symbol} {frame}"
        for name, column in zip((*VALUE_COLUMNS, "missing"), (*values, lost), strict=True):
            if len(column) != len(times):
                raise DataError(f"{where}: {name} has {len(column)} values for {len(times)} open times: give columns of one length")
        _check_times(where, frame, times)
        bad = law_breaks(*values)
        if bad.any():
            row = int(np.argmax(bad))
            o, h, lo, c, v = (float(x[row]) for x in values)
            raise DataError(
                f"{where}: row {row} ({format_time(int(times[row]))}) is not a valid candle: open {o:g} high {h:g} low {lo:g} "
                f"close {c:g} volume {v:g} ({int(bad.sum())} such rows): low <= min(open, close), high >= max(open, close), "
                "prices > 0 and volume >= 0 must hold; run `candelabra check` on the file, and mend or drop these rows"
            )
        origin = frame if source is None else timeframe(source)
        if not origin.divides_into(frame):
            raise DataError(f"{where}: bars of {frame} cannot be made of {origin} bars: give the timeframe that was fetched as source")
        if span is not None and len(times) and not (span[0] <= times[0] and frame.next(times[-1]) <= span[1]):
            raise DataError(
                f"{where}: the span {format_time(span[0])} .. {format_time(span[1])} does not hold the bars "
                f"{format_time(int(times[0]))} .. {format_time(int(frame.next(times[-1])))}: leave the span out or widen it"
            )
        return cls.sealed(symbol, frame, times, values, lost, origin, span, simulated)

    def __len__(self) -> int:
        return len(self.open_time)

    @cached_property
    def close_time(self) -> NDArray[np.int64]:
        """When each bar closed and became known (ms UTC)."""
        return self.timeframe.next(self.open_time)

    @cached_property
    def bar(self) -> NDArray[np.int64]:
        """Running bar numbers on the timeframe's grid: a step above 1 is a gap."""
        return self.timeframe.index(self.open_time)

    @cached_property
    def run_starts(self) -> NDArray[np.int64]:
        """Rows where a gap-free run begins (row 0 included)."""
        if len(self) == 0:
            return np.zeros(0, np.int64)
        return np.concatenate([[0], np.flatnonzero(np.diff(self.bar) != 1) + 1]).astype(np.int64)

    def rows(self, index: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Candles:
        """The candles at a slice, or at rising row numbers, or where a mask holds."""
        values = [v[index] for v in self.values()]
        columns = (self.open_time[index], values, self.missing[index])
        return self.sealed(self.symbol, self.timeframe, *columns, self.source, simulated=self.simulated)

    @classmethod
    def sealed(
        cls,
        symbol: str,
        frame: Timeframe,
        times: NDArray[np.int64],
        values: Sequence[NDArray[np.float64]],
        missing: NDArray[np.int32],
        source: Timeframe,
        span: tuple[int, int] | None = None,
        simulated: bool = False,
    ) -> Candles:
        """Candles from arrays known to be lawful (made from checked candles): no check, no copy; the arrays become read-only."""
        columns: list[NDArray[Any]] = [times, *values, missing]
        for column in columns:
            column.flags.writeable = False
        open_, high, low, close, volume = values
        if span is None:
            span = (int(times[0]), int(frame.next(times[-1]))) if len(times) else (0, 0)
        return cls(symbol, frame, times, open_, high, low, close, volume, missing, source, span, simulated)

    def between(self, start_ms: int | None = None, end_ms: int | None = None) -> Candles:
        """Bars that open at or after ``start_ms`` and *close* at or before ``end_ms``."""
        first = 0 if start_ms is None else int(np.searchsorted(self.open_time, start_ms, "left"))
        last = len(self) if end_ms is None else int(np.searchsorted(self.close_time, end_ms, "right"))
        return self.rows(slice(first, max(first, last)))

    def values(self) -> tuple[NDArray[np.float64], ...]:
        """``open, high, low, close, volume``."""
        return self.open, self.high, self.low, self.close, self.volume

    def append(self, later: Candles) -> Candles:
        """These candles followed by ``later`` ones (checked again)."""
        if (later.symbol, later.timeframe, later.source) != (self.symbol, self.timeframe, self.source):
            raise DataError(
                f"cannot append {later.symbol} {later.timeframe} (from {later.source}) to "
                f"{self.symbol} {self.timeframe} (from {self.source}): "
                "append candles of one symbol, timeframe and source"
            )
        if not len(self) or not len(later):
            return self if len(self) else later
        open_, high, low, close, volume = (np.concatenate([a, b]) for a, b in zip(self.values(), later.values(), strict=True))
        times = np.concatenate([self.open_time, later.open_time])
        missing = np.concatenate([self.missing, later.missing])
        span = (min(self.span[0], later.span[0]), max(self.span[1], later.span[1]))
        columns = (times, open_, high, low, close, volume, missing)
        simulated = self.simulated or later.simulated
        return Candles.of(self.symbol, self.timeframe, *columns, source=self.source, span=span, simulated=simulated)

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) over symbol, timeframe, source and every value: same fingerprint, same candles."""
        digest = hashlib.sha256(f"{self.symbol}|{self.timeframe}|{self.source}".encode())
        for column in (self.open_time, *self.values(), self.missing):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()

    def to_arrow(self) -> Any:
        """A ``pyarrow.Table`` with ``open_time`` as timestamp[ms, UTC] and the value columns."""
        import pyarrow as pa

        columns: dict[str, Any] = {"open_time": pa.array(self.open_time, pa.timestamp("ms", "UTC"))}
        columns |= {n: pa.array(v) for n, v in zip(VALUE_COLUMNS, self.values(), strict=True)}
        return pa.table(columns | {"missing": pa.array(self.missing)})

    def __repr__(self) -> str:
        if len(self) == 0:
            return f"Candles({self.symbol} {self.timeframe}, empty)"
        span = f"{format_time(int(self.open_time[0]))} .. {format_time(int(self.close_time[-1]))}"
        return f"Candles({self.symbol} {self.timeframe}, {len(self):,} bars, {span} UTC, {len(self.run_starts) - 1} gaps)"


def same_candles(a: Candles, b: Candles) -> bool:
    """Whether two candle series hold exactly the same values."""
    return a.fingerprint == b.fingerprint


def _column(values: ArrayLike | Sequence[float], dtype: type, copy: bool) -> NDArray[Any]:
    column: NDArray[Any] = np.array(values, dtype=dtype) if copy else np.ascontiguousarray(values, dtype=dtype)  # ours is made read-only
    if column.ndim != 1:
        raise DataError(f"a column of candles must be one-dimensional, got shape {column.shape}")
    return column


def _check_times(where: str, frame: Timeframe, times: NDArray[np.int64]) -> None:
    if len(times) == 0:
        return
    steps = np.diff(times)
    if (steps <= 0).any():
        row = int(np.argmax(steps <= 0)) + 1
        what = "repeats" if steps[row - 1] == 0 else "is earlier than"
        raise DataError(
            f"{where}: row {row} ({format_time(int(times[row]))}) {what} the row before it ({int((steps <= 0).sum())} such rows): "
            "open times must rise strictly; run `candelabra check` on the file, then sort it and keep one row per bar"
        )
    off = frame.floor(times) != times
    if off.any():
        row = int(np.argmax(off))
        raise DataError(
            f"{where}: row {row} opens at {format_time(int(times[row]))}, which is not on the {frame} grid ({int(off.sum())} such "
            "rows): is the timeframe right, are these close times, or is the time zone not UTC?"
        )
