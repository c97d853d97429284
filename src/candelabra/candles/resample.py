"""Coarser candles from finer ones: only bars that are closed, nothing invented, the same answer by any route."""

from __future__ import annotations

from collections.abc import Iterable

import numba
import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.errors import UsageError

__all__ = ["cascade", "resample"]


def resample(candles: Candles, timeframe_: str | Timeframe) -> Candles:
    """The closed bars of a coarser timeframe.

    A coarse bar exists when its whole span lies inside ``candles.span`` (so the bar still forming at the end, and the one the
    data begins inside, have no row) and at least one finer bar traded in it. ``missing`` counts the source bars absent inside it. The
    route does not matter: 1m -> 1h -> 1d equals 1m -> 1d, prices, ``missing`` and rows exactly, volume to 1e-15 relative (compensated
    sums). Appending later candles changes no bar already made.

    Raises UsageError when bars of ``timeframe_`` are not made of whole bars of ``candles``.

    >>> minutes = [60_000 * m for m in range(5, 16)]
    >>> c = Candles.of("BTC/USDT", "1m", minutes, *[[float(m) for m in range(5, 16)]] * 4, [1.0] * 11)
    >>> five = resample(c, "5m")
    >>> five.close.tolist(), five.volume.tolist()
    ([9.0, 14.0], [5.0, 5.0])
    """
    fine, coarse = candles.timeframe, timeframe_ if isinstance(timeframe_, Timeframe) else timeframe(timeframe_)
    if coarse == fine:
        return candles
    if not fine.divides_into(coarse):
        raise UsageError(
            f"{candles.symbol}: {coarse} bars are not made of whole {fine} bars: "
            + (
                "ask for a longer timeframe, or load finer candles"
                if coarse < fine
                else f"ask for a multiple of {fine}, or load finer candles"
            )
        )
    starts = _starts(candles, coarse)
    if len(starts) == 0:
        empty = candles.rows(slice(0, 0))
        columns = (empty.open_time, list(empty.values()), empty.missing)
        return Candles.sealed(candles.symbol, coarse, *columns, candles.source, candles.span, candles.simulated)
    opens = coarse.floor(candles.open_time[starts])
    # Only the outermost bars can reach beyond the span: every row lies inside it.
    first = int(opens[0] < candles.span[0])
    last = len(starts) - int(coarse.next(opens[-1]) > candles.span[1])
    ends = np.append(starts[1:], len(candles))[first:last]
    starts, opens = starts[first:last], opens[first:last]
    open_, high, low, close, volume, missing = _aggregate(
        candles.open, candles.high, candles.low, candles.close, candles.volume, candles.missing, starts, ends
    )
    missing += _absent(candles, coarse, opens, starts, ends)
    values = [open_, high, low, close, volume]
    return Candles.sealed(candles.symbol, coarse, opens, values, missing, candles.source, candles.span, candles.simulated)


def cascade(candles: Candles, timeframes: Iterable[str | Timeframe]) -> dict[str, Candles]:
    """Several timeframes at once, by name in the order asked for; each is made from the longest one below it that fits.

    The candles' own timeframe may be among them. Raises UsageError as :func:`resample` does.
    """
    wanted = [timeframe(t) for t in timeframes]
    made: dict[Timeframe, Candles] = {candles.timeframe: candles}
    for coarse in sorted(set(wanted)):
        below = [t for t in made if t.divides_into(coarse)]
        made[coarse] = resample(made[max(below)] if below else candles, coarse)
    return {t.name: made[t] for t in wanted}


def _absent(
    candles: Candles, coarse: Timeframe, opens: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Source bars of each coarse bar that lie in finer bars without a row."""

    def count(frame: Timeframe, times: NDArray[np.int64]) -> NDArray[np.int64] | int:
        if not frame.is_calendar:
            return frame.milliseconds // candles.source.milliseconds
        return candles.source.index(frame.next(times)) - candles.source.index(times)

    per_row = count(candles.timeframe, candles.open_time)
    if isinstance(per_row, int):
        present = (ends - starts) * per_row
    else:
        present = np.array([per_row[a:b].sum() for a, b in zip(starts, ends, strict=True)], np.int64)
    return (count(coarse, opens) - present).astype(np.int32)


def _starts(candles: Candles, coarse: Timeframe) -> NDArray[np.int64]:
    """Row of the first finer bar of each coarse bar that holds any."""
    times, fine = candles.open_time, candles.timeframe
    if len(times) == 0:
        return np.zeros(0, np.int64)
    if coarse.is_calendar:
        bar = np.arange(int(coarse.index(times[0])), int(coarse.index(times[-1])) + 1)
        edges = (bar * coarse.count).astype("datetime64[M]").astype("datetime64[ms]").astype(np.int64)
        return np.unique(np.searchsorted(times, np.append(times[0], edges[1:])))
    return _fixed_starts(times, int(coarse.floor(times[0])), fine.milliseconds, coarse.milliseconds)


@numba.njit(cache=True)
def _fixed_starts(times: NDArray[np.int64], origin: int, fine_ms: int, coarse_ms: int) -> NDArray[np.int64]:
    n = len(times)
    starts = np.empty(min(n, (times[-1] - origin) // coarse_ms + 1), np.int64)
    count, row = 0, 0
    while row < n:
        starts[count] = row
        count += 1
        edge = origin + ((times[row] - origin) // coarse_ms + 1) * coarse_ms
        # Times rise by at least one fine bar a row, so the next coarse bar begins at `high` or, after gaps, before it.
        low, high = row + 1, min(n, row + (edge - times[row]) // fine_ms)
        if high > low and times[high - 1] >= edge:
            while low < high:
                middle = (low + high) // 2
                if times[middle] < edge:
                    low = middle + 1
                else:
                    high = middle
        row = high
    return starts[:count].copy() if 2 * count < len(starts) else starts[:count]


@numba.njit(cache=True)
def _aggregate(
    open_: NDArray[np.float64],
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    close: NDArray[np.float64],
    volume: NDArray[np.float64],
    missing: NDArray[np.int32],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int32]]:
    n = len(starts)
    o, h, lo, c, v = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    lost = np.empty(n, np.int32)
    for i in range(n):
        a, b = starts[i], ends[i]
        top, bottom, absent = high[a], low[a], missing[a]
        total, error = volume[a], 0.0
        for j in range(a + 1, b):
            top = max(top, high[j])
            bottom = min(bottom, low[j])
            absent += missing[j]
            # Knuth's exact two-sum: the sum does not depend on how it is cut into parts (to the last bit or so).
            both = total + volume[j]
            part = both - total
            error += (total - (both - part)) + (volume[j] - part)
            total = both
        o[i], h[i], lo[i], c[i] = open_[a], top, bottom, close[b - 1]
        v[i] = total + error
        lost[i] = absent
    return o, h, lo, c, v, lost
