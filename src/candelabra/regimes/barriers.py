"""Triple-barrier labels (Lopez de Prado 2018, chapter 3): which comes first, a rise, a fall, or the end of patience."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.hindsight import Hindsight
from candelabra.errors import DataError, UsageError
from candelabra.regimes.labeller import Reach, at_least, segmented, short_of_bars
from candelabra.regimes.segmentation import Segmentation
from candelabra.regimes.volatility import weighted_volatility

__all__ = ["BarrierLabels", "TripleBarrier", "triple_barrier"]


@dataclass(frozen=True, eq=False)
class BarrierLabels(Hindsight):
    """What each bar's close led to, per bar ``(n,)``.

    ``label`` int8: 1 the upper barrier was touched first, -1 the lower, 0 neither within the patience. ``returns`` float64: log return
    from the close to the barrier touched (to the last close at 0), NaN where unknown. ``touch_row`` int32: the bar that touched or
    ended it, -1 where unknown. ``known_at`` int64 ms: close of the touching bar, end of the patience at 0, int64 maximum where unknown.
    """

    label: NDArray[np.int8]
    returns: NDArray[np.float64]
    touch_row: NDArray[np.int32]
    known_at: NDArray[np.int64]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which labels are known at all."""
        return self.touch_row >= 0


@dataclass(frozen=True)
class TripleBarrier:
    """Bullish where the upper barrier is touched first, bearish where the lower is, consolidation where neither is within ``patience``.

    Barriers lie ``up`` and ``down`` volatilities of ``patience`` bars away (exponentially weighted over ``span`` bars, known at the
    close). Runs below ``least_run`` bars go to the run before them.
    """

    name: ClassVar[str] = "triple_barrier"
    labels: ClassVar[tuple[str, ...]] = ("bullish", "bearish", "consolidation")

    patience: int = 24
    up: float = 1.0
    down: float = 1.0
    span: int = 200
    least_run: int = 6

    def __post_init__(self) -> None:
        at_least(self.name, patience=(self.patience, 1), span=(self.span, 1), least_run=(self.least_run, 1))
        if not (self.up > 0 and self.down > 0):
            raise UsageError(f"the labeller {self.name} cannot have up = {self.up:g}, down = {self.down:g}: give numbers above 0")

    @property
    def reach(self) -> Reach:
        """The patience, and the run that a bar stands in."""
        return Reach(self.patience + self.least_run - 1)

    def label(self, candles: Candles) -> Segmentation:
        """The segments of ``candles``; DataError when they end before the first patience does."""
        if len(candles) <= self.patience:
            raise short_of_bars(self.name, candles, self.patience + 1)
        sigma = weighted_volatility(candles, self.span) * np.sqrt(self.patience)
        made = triple_barrier(candles, sigma, self.patience, up=self.up, down=self.down)
        code = np.where(made.known, np.array([2, 0, 1], np.int16)[made.label], -1).astype(np.int16)
        return segmented(self.name, candles, self.labels, code, made.known_at, self.least_run)


def triple_barrier(
    candles: Candles,
    volatility: ArrayLike,
    patience: int,
    *,
    up: float = 2.0,
    down: float = 2.0,
    max_absent: float = 0.05,
) -> BarrierLabels:
    """Labels with barriers ``up`` and ``down`` times ``volatility`` above and below each close (in logs), for ``patience`` bars of time.

    ``volatility`` ``(bars,)``: standard deviation of a log return, known at each close (e.g. ``exp(level) * sqrt(patience)``); NaN
    leaves the label unknown. A barrier is touched by a bar's high or low; where both lie inside one bar's range, the one nearer to its
    open counts. A label is unknown where the candles end too early, or where more than ``max_absent`` of the bars up to its end are
    absent. Raises UsageError for impossible settings, DataError when ``volatility`` does not fit the candles.
    """
    sigma = np.asarray(volatility, np.float64)
    if sigma.shape != (len(candles),):
        raise DataError(f"volatility has shape {sigma.shape} for {len(candles)} bars: give one value a bar")
    if patience < 1 or up <= 0 or down <= 0:
        raise UsageError(f"barriers up {up}, down {down} within {patience} bars cannot be: all must be above 0")
    label, returns, touch = _first_touch(
        np.log(candles.open),
        np.log(candles.high),
        np.log(candles.low),
        np.log(candles.close),
        candles.bar,
        sigma,
        patience,
        up,
        down,
        max_absent,
    )
    ended = np.where(label == 0, candles.timeframe.after(candles.close_time, patience), candles.close_time[np.maximum(touch, 0)])
    known_at = np.where(touch >= 0, ended, np.iinfo(np.int64).max)
    return BarrierLabels(label, returns, touch, known_at)


@njit(cache=True)
def _first_touch(
    open_: NDArray[np.float64],
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    close: NDArray[np.float64],
    bar: NDArray[np.int64],
    sigma: NDArray[np.float64],
    patience: int,
    up: float,
    down: float,
    max_absent: float,
) -> tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.int32]]:
    n = len(close)
    label = np.zeros(n, np.int8)
    returns = np.full(n, np.nan)
    touch = np.full(n, -1, np.int32)
    for t in range(n):
        if not sigma[t] > 0:
            continue
        upper, lower = close[t] + up * sigma[t], close[t] - down * sigma[t]
        end, found, last = bar[t] + patience, 0, t
        k = t + 1
        while k < n and bar[k] <= end:
            last = k
            rises, falls = high[k] >= upper, low[k] <= lower
            if rises and falls:
                found = 1 if upper - open_[k] <= open_[k] - lower else -1
            elif rises:
                found = 1
            elif falls:
                found = -1
            if found != 0:
                break
            k += 1
        if found == 0 and (last == t or (bar[last] != end and k >= n)):
            continue
        span = bar[last] - bar[t] if found != 0 else patience
        if span - (last - t) > max_absent * span:
            continue
        label[t] = found
        touch[t] = last
        returns[t] = (upper if found == 1 else lower if found == -1 else close[last]) - close[t]
    return label, returns, touch
