"""Trades, and the bars they make: seconds and longer on the grid of time, every bar whole, none invented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.candles.frame import Candles, format_time
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.errors import DataError, UsageError

__all__ = ["Trades", "bars_between", "covered", "trade_bars", "unlawful_trades"]

_DAY_MS: Final = 86_400_000


@dataclass(frozen=True, eq=False)
class Trades:
    """Trades of one symbol in rising time: ``time`` int64 ms UTC ``(n,)``, ``price`` and ``amount`` (base units) float64 ``(n,)``.

    Trades of one millisecond stay in the order given. Build with :meth:`of`, which checks and raises DataError; arrays are read-only.

    >>> Trades.of("BTC/USDT", [0, 10], [100.0, 101.0], [0.5, 0.25])
    Trades(BTC/USDT, 2 trades, 1970-01-01 00:00 .. 1970-01-01 00:00:00.010 UTC)
    """

    symbol: str
    time: NDArray[np.int64]
    price: NDArray[np.float64]
    amount: NDArray[np.float64]

    @classmethod
    def of(cls, symbol: str, time: ArrayLike, price: ArrayLike, amount: ArrayLike) -> Trades:
        """Checked trades; they are sorted by time when they are not."""
        columns: list[NDArray[Any]] = [np.array(time, np.int64), np.array(price, np.float64), np.array(amount, np.float64)]
        if len({c.shape for c in columns}) != 1 or columns[0].ndim != 1:
            raise DataError(f"{symbol}: time, price and amount of trades must be of one length, got {[c.shape for c in columns]}")
        bad = unlawful_trades(columns[1], columns[2])
        if bad.any():
            at = int(np.argmax(bad))
            raise DataError(
                f"{symbol}: trade {at} at {format_time(int(columns[0][at]))} has price {columns[1][at]:g} and amount {columns[2][at]:g} "
                f"({int(bad.sum())} such trades): both must be finite and above 0"
            )
        if (np.diff(columns[0]) < 0).any():
            order = np.argsort(columns[0], kind="stable")
            columns = [c[order] for c in columns]
        for column in columns:
            column.flags.writeable = False
        return cls(symbol, *columns)

    def __len__(self) -> int:
        return len(self.time)

    def __repr__(self) -> str:
        span = f", {format_time(int(self.time[0]))} .. {format_time(int(self.time[-1]))} UTC" if len(self) else ""
        return f"Trades({self.symbol}, {len(self):,} trades{span})"


def unlawful_trades(price: NDArray[np.float64], amount: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Trades that cannot be: a price or an amount that is not finite or not above 0."""
    with np.errstate(invalid="ignore"):
        return ~(np.isfinite(price) & np.isfinite(amount) & (price > 0) & (amount > 0))


def trade_bars(trades: Trades, frame: str | Timeframe, *, span: tuple[int, int] | None = None) -> Candles:
    """Candles of any timeframe from 1s up to 1d made of trades; a bar in which nothing was traded has no row.

    ``span`` (ms, from/to) is the stretch of time that the trades cover in full: bars reaching outside it are left out. Without it the
    trades are taken to begin with the day when the first lies in the first bar of one, else at the first whole bar, and to end with the
    last trade, so that the bar it lies in may still be forming and is left out. Raises DataError when no bar is whole.

    >>> t = Trades.of("BTC/USDT", [100, 900, 1500, 3200], [10.0, 12.0, 11.0, 11.0], [1.0, 2.0, 1.0, 1.0])
    >>> bars = trade_bars(t, "1s")
    >>> bars.high.tolist(), bars.volume.tolist(), (bars.open_time // 1000).tolist()
    ([12.0, 11.0], [3.0, 1.0], [0, 1])
    """
    step = timeframe(frame)
    if step.is_calendar or _DAY_MS % step.milliseconds:
        raise UsageError(f"bars of {step} are not made of trades: make bars that divide a day, such as 1s, 1m or 1h, and resample them")
    if not len(trades):
        raise DataError(f"{trades.symbol}: there are no trades to make bars of")
    begin, end = covered(int(trades.time[0]), int(trades.time[-1]), step) if span is None else span
    bucket = step.floor(trades.time)
    whole = (bucket >= begin) & (step.next(bucket) <= end)
    if not whole.any():
        raise DataError(
            f"{trades.symbol}: no {step} bar lies whole within {format_time(int(trades.time[0]))} .. {format_time(int(trades.time[-1]))}: "
            "make shorter bars or give more trades"
        )
    times = bucket[whole]
    starts = np.flatnonzero(np.concatenate([[True], times[1:] != times[:-1]]))
    values = bars_between(trades.price[whole], trades.amount[whole], starts)
    first = int(step.ceil(begin))
    return Candles.of(trades.symbol, step, times[starts], *values, span=(first, max(int(step.floor(end)), int(step.next(times[-1])))))


def covered(first_ms: int, last_ms: int, step: Timeframe) -> tuple[int, int]:
    """From when to when trades tell whole bars, by the times of the first and the last."""
    opened = int(step.floor(first_ms))
    begun = opened if opened % _DAY_MS == 0 or opened == first_ms else int(step.next(opened))
    return begun, int(step.floor(last_ms))


def bars_between(price: NDArray[np.float64], amount: NDArray[np.float64], starts: NDArray[np.int64]) -> tuple[NDArray[np.float64], ...]:
    """``open, high, low, close, volume`` of the stretches of trades that begin at ``starts``."""
    ends = np.append(starts[1:], len(price)) - 1
    high, low = np.maximum.reduceat(price, starts), np.minimum.reduceat(price, starts)
    return price[starts], high, low, price[ends], np.add.reduceat(amount, starts)
