"""`Grid`: the candles of one or several symbols on one time axis, as the account walks over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import DataError, UsageError

__all__ = ["Grid", "bars_a_year"]

Floats = NDArray[np.float64]
_YEAR_MS = 365 * 86_400_000


def bars_a_year(timeframe: Timeframe) -> float:
    """Bars in 365 days: markets of coins do not close.

    >>> bars_a_year(Timeframe("1h")), bars_a_year(Timeframe("1d"))
    (8760.0, 365.0)
    """
    return _YEAR_MS / timeframe.milliseconds


@dataclass(frozen=True, eq=False)
class Grid:
    """Bars of all symbols at every open time that any of them has: arrays ``(bars, symbols)``, NaN where a symbol has no bar.

    ``rows[i]``: where the bars of symbol *i* stand on the grid.
    """

    symbols: tuple[str, ...]
    timeframe: Timeframe
    open_time: NDArray[np.int64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    rows: tuple[NDArray[np.int64] | slice, ...]
    simulated: bool

    @classmethod
    def of(cls, candles: Candles | Sequence[Candles]) -> Grid:
        """Candles of one timeframe, one series a symbol. UsageError for mixed timeframes or a symbol twice, DataError for none."""
        given = [candles] if isinstance(candles, Candles) else list(candles)
        if not given or not all(len(c) for c in given):
            raise DataError("a backtest needs candles of every symbol: give at least one bar of each")
        frames = sorted({c.timeframe for c in given})
        if len(frames) > 1:
            raise UsageError(f"one account decides at one timeframe, got {', '.join(map(str, frames))}: resample to one of them")
        symbols = tuple(c.symbol for c in given)
        if len(set(symbols)) != len(symbols):
            raise UsageError(f"a symbol is given twice ({', '.join(symbols)}): give each once")
        times = given[0].open_time if len(given) == 1 else np.unique(np.concatenate([c.open_time for c in given]))
        one = len(given) == 1
        rows = (slice(None),) if one else tuple(np.searchsorted(times, c.open_time) for c in given)
        columns: list[Floats] = []
        for name in ("open", "high", "low", "close"):
            if one:
                columns.append(getattr(given[0], name)[:, None])
                continue
            column = np.full((len(times), len(given)), np.nan)
            for i, own in enumerate(given):
                column[rows[i], i] = getattr(own, name)
            column.flags.writeable = False  # as candles are: the kernel is compiled for one kind of array
            columns.append(column)
        open_, high, low, close = columns
        return cls(symbols, frames[0], times, open_, high, low, close, rows, any(c.simulated for c in given))

    def __len__(self) -> int:
        return len(self.open_time)

    @cached_property
    def close_time(self) -> NDArray[np.int64]:
        """When each bar closes (ms UTC)."""
        return self.timeframe.next(self.open_time)

    @cached_property
    def bars_a_year(self) -> float:
        """Bars in 365 days."""
        return bars_a_year(self.timeframe)

    @property
    def years(self) -> float:
        """Length of the grid in years of 365 days."""
        return float(self.close_time[-1] - self.open_time[0]) / _YEAR_MS

    def place(self, per_symbol: Sequence[Floats], fill: float = np.nan) -> Floats:
        """Values at each symbol's own bars put on the grid ``(bars, symbols)``; UsageError for a wrong length."""
        if len(per_symbol) != len(self.symbols):
            raise UsageError(f"{len(per_symbol)} columns for {len(self.symbols)} symbols ({', '.join(self.symbols)}): give one for each")
        if len(per_symbol) == 1 and np.shape(per_symbol[0]) == (len(self),):
            return np.ascontiguousarray(per_symbol[0], dtype=np.float64)[:, None]  # no copy where none is needed
        placed = np.full((len(self), len(self.symbols)), fill)
        for i, (values, rows) in enumerate(zip(per_symbol, self.rows, strict=True)):
            bars = len(self) if isinstance(rows, slice) else len(rows)
            if np.shape(values) != (bars,):
                raise UsageError(f"{self.symbols[i]} has {bars} bars but values of shape {np.shape(values)}: give one a bar")
            placed[rows, i] = values
        return placed

    @cached_property
    def marks(self) -> Floats:
        """The last known close at each bar ``(bars, symbols)``; NaN before a symbol's first."""
        return carried(self.close)


def carried(values: Floats) -> Floats:
    """NaN replaced by the value before it, column by column; what is before the first stays NaN.

    >>> carried(np.array([[np.nan], [1.0], [np.nan]])).ravel()
    array([nan,  1.,  1.])
    """
    if np.isfinite(values.sum()):  # without a second array where nothing is missing
        return values
    known = np.isfinite(values)
    last = np.maximum.accumulate(np.where(known, np.arange(len(values))[:, None], -1), axis=0)
    return np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), axis=0), np.nan)
