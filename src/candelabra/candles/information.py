"""Bars by what was traded instead of by the clock: so many coins, or so much money, each. They lie on no grid, so are no `Candles`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from candelabra.candles.frame import format_time
from candelabra.candles.trades import Trades, bars_between
from candelabra.errors import DataError, UsageError

__all__ = ["InformationBars", "dollar_bars", "volume_bars"]

Measure = Literal["volume", "dollar"]


@dataclass(frozen=True, eq=False)
class InformationBars:
    """Bars that each close with the trade that fills ``size`` (base units for ``volume``, quote units for ``dollar``).

    ``open_time`` and ``close_time`` int64 ms UTC ``(n,)`` are those of a bar's first and last trade (bars may share a millisecond);
    ``open high low close volume`` and ``quote`` (price x amount) float64 ``(n,)``; ``trades`` int64 ``(n,)``. A trade belongs to one bar
    whole, so a bar may hold more than ``size``; what comes after the last full bar is still forming and left out.
    They have no timeframe and cannot be resampled, aligned or stored as `Candles` are.
    """

    symbol: str
    measure: Measure
    size: float
    open_time: NDArray[np.int64]
    close_time: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    quote: NDArray[np.float64]
    trades: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.open_time)

    def __repr__(self) -> str:
        if not len(self):
            return f"InformationBars({self.symbol}, {self.measure} {self.size:g}, none)"
        span = f"{format_time(int(self.open_time[0]))} .. {format_time(int(self.close_time[-1]))}"
        return f"InformationBars({self.symbol}, {self.measure} {self.size:g}, {len(self):,} bars, {span} UTC)"


def volume_bars(trades: Trades, size: float) -> InformationBars:
    """A bar each time ``size`` base units were traded.

    >>> t = Trades.of("BTC/USDT", [0, 10, 20, 30], [10.0, 12.0, 11.0, 9.0], [1.0, 1.0, 2.0, 1.0])
    >>> bars = volume_bars(t, 2.0)
    >>> bars.close.tolist(), bars.volume.tolist(), bars.trades.tolist()
    ([12.0, 11.0], [2.0, 2.0], [2, 1])
    """
    return _bars(trades, "volume", size, trades.amount)


def dollar_bars(trades: Trades, size: float) -> InformationBars:
    """A bar each time ``size`` units of the quote currency changed hands."""
    return _bars(trades, "dollar", size, trades.price * trades.amount)


def _bars(trades: Trades, measure: Measure, size: float, traded: NDArray[np.float64]) -> InformationBars:
    if not (np.isfinite(size) and size > 0):
        raise UsageError(f"the size of a bar must be a number above 0, got {size!r}")
    ends = _ends(traded, float(size))
    if not len(ends):
        raise DataError(
            f"{trades.symbol}: {len(trades):,} trades of together {float(traded.sum()):g} fill no bar of {size:g}: make smaller bars"
        )
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)
    last = int(ends[-1]) + 1
    values = bars_between(trades.price[:last], trades.amount[:last], starts)
    quote = np.add.reduceat((trades.price * trades.amount)[:last], starts)
    columns = (trades.time[starts], trades.time[ends], *values, quote, ends - starts + 1)
    for column in columns:
        column.flags.writeable = False
    return InformationBars(trades.symbol, measure, float(size), *columns)


@njit(cache=True)
def _ends(traded: NDArray[np.float64], size: float) -> NDArray[np.int64]:
    """The trade that fills each bar: every bar begins anew with the trade after it, so one large trade makes one bar, not several."""
    ends = np.empty(len(traded), np.int64)
    count, total = 0, 0.0
    for at in range(len(traded)):
        total += traded[at]
        # Sums that should be equal differ in their last digits; a bar is full within a billionth of its size.
        if total >= size * (1 - 1e-9):
            ends[count] = at
            count, total = count + 1, 0.0
    return ends[:count]
