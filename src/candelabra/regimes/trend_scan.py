"""Trend scanning (Lopez de Prado 2020, chapter 5): of the trends that begin at a bar, the one whose slope is most significant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from candelabra.candles.frame import Candles
from candelabra.errors import UsageError
from candelabra.regimes.labeller import Reach, at_least, known_after, segmented, short_of_bars
from candelabra.regimes.segmentation import Segmentation

__all__ = ["TrendScan", "trend_scan"]

_EXACT = 1e-13
"""Residuals below this share of the spread are rounding: a line through its points has no finite t-value."""


@dataclass(frozen=True)
class TrendScan:
    """Bullish where the trend that begins at a bar rises, bearish where it falls, consolidation where |t| stays below ``least_t``.

    Trends of ``shortest`` to ``longest`` bars of log closes are fitted; runs below ``least_run`` bars go to the run before them. Log
    prices that wander without drift have a median |t| of 12 at 5 to 60 bars, for their steps add up: ``least_t`` is no test.
    """

    name: ClassVar[str] = "trend_scan"
    labels: ClassVar[tuple[str, ...]] = ("bullish", "bearish", "consolidation")

    shortest: int = 5
    longest: int = 60
    least_t: float = 12.0
    least_run: int = 6

    def __post_init__(self) -> None:
        at_least(self.name, shortest=(self.shortest, 3), longest=(self.longest, self.shortest), least_t=(self.least_t, 0))
        at_least(self.name, least_run=(self.least_run, 1))

    @property
    def reach(self) -> Reach:
        """The longest trend, for it might have been the most significant, and the run that a bar stands in."""
        return Reach(self.longest + self.least_run - 2)

    def label(self, candles: Candles) -> Segmentation:
        """The segments of ``candles``; DataError when they are fewer than the longest trend."""
        if len(candles) < self.longest:
            raise short_of_bars(self.name, candles, self.longest)
        t_value, _ = trend_scan(np.log(candles.close), self.shortest, self.longest)
        code = np.where(np.abs(t_value) < self.least_t, 2, np.where(t_value > 0, 0, 1))
        code = np.where(np.isnan(t_value), -1, code).astype(np.int16)
        return segmented(self.name, candles, self.labels, code, known_after(candles, self.longest - 1), self.least_run)


def trend_scan(values: ArrayLike, shortest: int, longest: int) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """The t-value of the slope largest in size among lines through the next ``shortest`` to ``longest`` values, and its length, ``(n,)``.

    NaN and 0 where fewer than ``longest`` values follow (the value itself counts). Equal to an ordinary least-squares fit per row and
    length, by running sums from each row on: O(n x longest), without the cancellation of sums over the whole series. Values on an exact
    line have an infinite t-value, equal values one of 0. UsageError for lengths that cannot be.

    >>> t, length = trend_scan([0.0, 1.0, 2.1, 2.9, 4.0, 3.0], 3, 5)
    >>> t.round(1).tolist(), length.tolist()
    ([39.3, 23.1, nan, nan, nan, nan], [5, 4, 0, 0, 0, 0])
    """
    if not 3 <= shortest <= longest:
        raise UsageError(f"trends of {shortest} to {longest} values cannot be: a line with an error needs 3 or more, shortest <= longest")
    return _scan(np.ascontiguousarray(values, np.float64), shortest, longest, _EXACT)


@njit(cache=True)
def _scan(y: NDArray[np.float64], shortest: int, longest: int, exact: float) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    n = len(y)
    best, length = np.full(n, np.nan), np.zeros(n, np.int32)
    for t in range(n - longest + 1):
        sum_y, sum_xy, sum_yy = 0.0, 0.0, 0.0
        largest, chosen, size = -1.0, 0, 0.0
        for k in range(longest):
            d = y[t + k] - y[t]
            sum_y += d
            sum_xy += k * d
            sum_yy += d * d
            count = k + 1
            if count < shortest:
                continue
            s_xx = count * (count * count - 1.0) / 12.0
            s_xy = sum_xy - 0.5 * k * sum_y
            s_yy = sum_yy - sum_y * sum_y / count
            rest = s_yy - s_xy * s_xy / s_xx
            if s_yy <= exact * sum_yy:
                value = 0.0
            elif rest <= exact * s_yy:
                value = np.inf if s_xy > 0 else -np.inf
            else:
                value = s_xy / np.sqrt(s_xx * rest / (count - 2.0))
            if abs(value) > largest:
                largest, chosen, size = abs(value), count, value
        best[t], length[t] = size, chosen
    return best, length
