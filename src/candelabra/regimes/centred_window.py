"""Trend and volatility of a window centred on each bar: the labels a person would draw, seeing what came before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.errors import UsageError
from candelabra.regimes.labeller import Reach, at_least, known_after, segmented, short_of_bars
from candelabra.regimes.segmentation import REGIME_LABELS, Segmentation
from candelabra.regimes.short_runs import NEVER

__all__ = ["CentredWindow"]

_LEAST_SAMPLES: Final = 5
"""Windows whose volatility must be known before one can be called volatile."""


@dataclass(frozen=True)
class CentredWindow:
    """Volatile where the window's volatility passes ``volatile`` times its usual level; else bullish, bearish or consolidation by trend.

    The window spans ``window`` bars, half of them after the bar. Its trend is its log return over its volatility times the root of its
    length: bullish at ``trend`` or more, bearish at ``-trend`` or less. The usual level is the median volatility of the windows of the
    last ``reference`` bars. Runs below ``least_run`` bars (0: a third of the window) go to the run before them.
    """

    name: ClassVar[str] = "centred_window"
    labels: ClassVar[tuple[str, ...]] = REGIME_LABELS

    window: int = 48
    trend: float = 1.0
    volatile: float = 1.5
    reference: int = 4320
    least_run: int = 0

    def __post_init__(self) -> None:
        at_least(self.name, window=(self.window, 4), reference=(self.reference, self.window), least_run=(self.least_run, 0))
        if not (self.trend > 0 and self.volatile > 0):
            raise UsageError(f"the labeller {self.name} cannot have trend = {self.trend:g}, volatile = {self.volatile:g}: give above 0")

    @property
    def reach(self) -> Reach:
        """Half the window, and the run that a bar stands in."""
        return Reach(self.window // 2 + self._least_run - 1)

    @property
    def _least_run(self) -> int:
        return self.least_run or max(1, self.window // 3)

    def label(self, candles: Candles) -> Segmentation:
        """The segments of ``candles``; DataError when they are too few to know what is usual."""
        half = self.window // 2
        needed = half * (_LEAST_SAMPLES + 1) + self._least_run  # the last sample's window, and the run that its bar begins
        if len(candles) < needed:
            raise short_of_bars(self.name, candles, needed)
        price = np.log(candles.close)
        trend, volatility = _window(price, half)
        usual = _usual(volatility, half, max(_LEAST_SAMPLES, self.reference // half))
        with np.errstate(invalid="ignore"):
            code = np.where(trend >= self.trend, 0, np.where(trend <= -self.trend, 1, 2))
            code = np.where(volatility > self.volatile * usual, 3, code)
        known = known_after(candles, half)
        code = np.where(np.isnan(usual) | np.isnan(trend) | (known == NEVER), -1, code).astype(np.int16)
        return segmented(self.name, candles, self.labels, code, known, self._least_run)


@njit(cache=True)
def _window(price: NDArray[np.float64], half: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Trend (return over volatility and root of length) and volatility a bar of the window centred on each bar; NaN at both ends."""
    n = len(price)
    trend, volatility = np.full(n, np.nan), np.full(n, np.nan)
    for t in range(half, n - half):
        # summed anew for each window: a running sum over years would round by its beginning
        total = 0.0
        for k in range(t - half + 1, t + half + 1):
            total += (price[k] - price[k - 1]) ** 2
        volatility[t] = np.sqrt(total / (2 * half))
        trend[t] = (price[t + half] - price[t - half]) / np.sqrt(total) if total > 0 else 0.0
    return trend, volatility


def _usual(volatility: NDArray[np.float64], half: int, samples: int) -> NDArray[np.float64]:
    """The median of the last ``samples`` windows, half a window apart, up to each bar; NaN before there are enough of them."""
    n = len(volatility)
    rows = np.arange(half, n - half, half)
    if not len(rows):
        return np.full(n, np.nan)
    padded = np.concatenate([np.full(samples - 1, np.nan), volatility[rows]])
    seen = np.lib.stride_tricks.sliding_window_view(padded, samples)
    known = np.isfinite(seen).sum(axis=1)
    median = np.full(len(rows), np.nan)
    median[known >= _LEAST_SAMPLES] = np.nanmedian(seen[known >= _LEAST_SAMPLES], axis=1)
    place = np.searchsorted(rows, np.arange(n), "right") - 1
    return np.where(place >= 0, median[np.maximum(place, 0)], np.nan)
