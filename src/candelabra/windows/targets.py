"""Targets: what the future turned out to be. Hindsight by nature; every value carries ``known_at``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.hindsight import Hindsight
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.errors import UsageError
from candelabra.windows.alignment import asof_index
from candelabra.windows.recipe import Recipe, horizon_steps
from candelabra.windows.series import Series

__all__ = ["FLAT_RETURN", "MAX_ABSENT", "Targets", "candle_targets", "make_targets"]

MAX_ABSENT: Final = 0.05
"""A target is unknown when more than this share of the bars in its span is absent."""

FLAT_RETURN: Final = 1e-5
"""Root mean square return per bar (0.1 basis points) below which prices count as flat: the floor of realised volatility."""


@dataclass(frozen=True, eq=False)
class Targets(Hindsight):
    """Returns and realised volatility after the close of each base bar; NaN where the future is absent or full of gaps.

    ``returns`` float64 ``(bars, horizons)``: log(close[t+h] / close[t]). ``log_volatility`` float64 ``(bars, horizons)``:
    0.5 * log(sum of squared log returns of ``volatility_timeframe`` bars over the horizon); not annualised.
    ``known_at`` int64 ms ``(bars, horizons)``: when the value became known (close of bar t + horizon). ``horizons`` durations, ``steps``
    the same in base bars.
    """

    horizons: tuple[Timeframe, ...]
    steps: tuple[int, ...]
    volatility_timeframe: Timeframe
    returns: NDArray[np.float64]
    log_volatility: NDArray[np.float64]
    known_at: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.returns)


def make_targets(series: Series, recipe: Recipe, *, max_absent: float = MAX_ABSENT) -> Targets:
    """Targets of every base bar of ``series`` as ``recipe`` states them; see `candle_targets`."""
    return candle_targets(series.base_candles, recipe.horizons, series.candles[recipe.volatility_timeframe.name], max_absent=max_absent)


def candle_targets(
    candles: Candles,
    horizons: Sequence[str | Timeframe],
    volatility_candles: Candles | None = None,
    *,
    max_absent: float = MAX_ABSENT,
) -> Targets:
    """Targets of every bar of ``candles`` (the base timeframe) over ``horizons``, which are whole numbers of base bars.

    A return ends at the close of the bar that closes exactly one horizon later; it is NaN when that bar is absent, or when more than
    ``max_absent`` of the bars in between are. Realised volatility sums the squared log returns, close to close, of the
    ``volatility_candles`` (the base ones when None; never coarser) that close inside the horizon: the first of them starts at the last
    close known at the decision, a return across a gap counts once, in full. It is floored at `FLAT_RETURN` a bar.
    Raises UsageError for a horizon or a volatility timeframe that does not fit the base.
    """
    base = candles.timeframe
    frames = tuple(timeframe(h) for h in horizons)
    steps = tuple(horizon_steps(base, h) for h in frames)
    finer = candles if volatility_candles is None else volatility_candles
    if finer.timeframe != base and not (finer.timeframe < base and finer.timeframe.divides_into(base)):
        raise UsageError(
            f"realised volatility over {base} bars cannot be made from {finer.timeframe} returns: choose a timeframe that {base} "
            f"is a whole number of, or {base} itself"
        )
    shape = (len(candles), len(frames))
    returns, log_volatility = np.full(shape, np.nan), np.full(shape, np.nan)
    known_at = np.zeros(shape, np.int64)
    log_close = np.log(candles.close)
    squares_high, squares_low = _squared_return_sums(finer)
    start = asof_index(candles.close_time, finer.close_time)
    for column, step in enumerate(steps):
        known_at[:, column] = base.after(candles.close_time, step)
        later = _row_at(candles, step)
        rows = np.flatnonzero(later >= 0)
        absent = step - (later[rows] - rows)
        rows = rows[absent <= max_absent * step]
        returns[rows, column] = log_close[later[rows]] - log_close[rows]

        first, last = start[rows], start[later[rows]]
        expected = (finer.timeframe.index(candles.close_time[later[rows]]) - finer.timeframe.index(candles.close_time[rows])).astype(
            np.int64
        )
        enough = (first >= 0) & (last - first >= (1 - max_absent) * expected)
        rows, first, last, expected = rows[enough], first[enough], last[enough], expected[enough]
        variance = (squares_high[last] - squares_high[first]) + (squares_low[last] - squares_low[first])
        log_volatility[rows, column] = 0.5 * np.log(np.maximum(variance, expected * FLAT_RETURN**2))
    return Targets(frames, steps, finer.timeframe, returns, log_volatility, known_at)


def _row_at(candles: Candles, step: int) -> NDArray[np.int64]:
    """Row of the bar ``step`` bars later on the grid, -1 where it is absent."""
    wanted = candles.bar + step
    rows = np.searchsorted(candles.bar, wanted)
    inside = rows < len(candles)
    found = np.zeros(len(candles), bool)
    found[inside] = candles.bar[rows[inside]] == wanted[inside]
    return np.where(found, rows, -1).astype(np.int64)


def _squared_return_sums(candles: Candles) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    returns = np.diff(np.log(candles.close), prepend=np.log(candles.close[:1]))
    return _double_cumsum(returns * returns)


@njit(cache=True)
def _double_cumsum(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    # A running sum kept as high + low (Knuth's two-sum), so that a calm window after a crash does not drown in
    # the rounding of everything that came before it.
    high, low = np.empty_like(values), np.empty_like(values)
    total, rest = 0.0, 0.0
    for i in range(len(values)):
        added = total + values[i]
        part = added - total
        rest += (total - (added - part)) + (values[i] - part)
        total = added
        high[i], low[i] = total, rest
    return high, low
