"""A model's forecasts of the next bar as expectations: how deep in their tails a return lies, and how much movement they expect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from candelabra.errors import DataError
from candelabra.regimes.anomaly_laws import MOST, StudentLaw

__all__ = ["BarForecasts", "forecast_sd", "quantile_surprise"]

Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class BarForecasts:
    """Quantiles ``(n, levels)`` of the log return of the bar *after* each bar, made at its close; NaN rows: none was made."""

    quantiles: Array
    levels: tuple[float, ...]

    @classmethod
    def of(cls, quantiles: ArrayLike, levels: tuple[float, ...]) -> BarForecasts:
        """From one horizon of a ``ModelOutput``: ``BarForecasts.of(output.quantiles[:, h], output.levels)``."""
        return cls(np.asarray(quantiles, np.float64), tuple(float(level) for level in levels))

    def for_each_bar(self) -> Array:
        """What was forecast of each bar: the rows one bar later."""
        out = np.full(self.quantiles.shape, np.nan)
        out[1:] = self.quantiles[:-1]
        return out


def quantile_surprise(quantiles: ArrayLike, actual: ArrayLike, levels: Sequence[float]) -> Array:
    """How deep ``actual`` ``(n,)`` lies in the tails of forecast ``quantiles`` ``(n, levels)``: -log10 of the two-sided probability.

    Linear between quantiles. Beyond the outermost the tail falls as a power of the distance from the median, as it does between the two
    outermost quantiles of that side: right for fat tails, cautious for thin ones. NaN where either is.
    """
    q, y, taus = np.asarray(quantiles, np.float64), np.asarray(actual, np.float64), np.asarray(levels, np.float64)
    if taus.ndim != 1 or len(taus) < 5 or np.any(np.diff(taus) <= 0) or not taus[1] < 0.5 < taus[-2]:
        raise DataError(f"tails cannot be read from quantile levels {tuple(levels)}: they need two on each side of the median, rising")
    if q.shape != (len(y), len(taus)):
        raise DataError(f"quantiles of shape {q.shape} for {len(y)} bars and {len(taus)} levels: give a row a bar")
    middle = int(np.argmin(np.abs(taus - 0.5)))
    at = np.clip((q <= y[:, None]).sum(axis=1) - 1, 0, len(taus) - 2)
    row = np.arange(len(y))
    left, gap = q[row, at], q[row, at + 1] - q[row, at]
    part = np.clip(np.where(gap > 0, (y - left) / np.where(gap > 0, gap, 1.0), 0.5), 0, 1)
    cdf = taus[at] + part * (taus[at + 1] - taus[at])
    log_tail = np.log(np.minimum(cdf, 1 - cdf))
    for outer, inner, level, next_, beyond in (
        (q[:, 0], q[:, 1], taus[0], taus[1], y < q[:, 0]),
        (q[:, -1], q[:, -2], 1 - taus[-1], 1 - taus[-2], y > q[:, -1]),
    ):
        far, near, here = (np.maximum(np.abs(x - q[:, middle]), 1e-12) for x in (outer, inner, y))
        # Degenerate forecasts (two quantiles on one value) would give an endless slope.
        power = np.log(next_ / level) / np.maximum(np.log(far / near), 0.05)
        log_tail = np.where(beyond, np.log(level) - power * np.log(np.maximum(here / far, 1.0)), log_tail)
    found = -(log_tail + np.log(2)) / np.log(10)
    unknown = ~np.isfinite(y) | ~np.isfinite(q).all(axis=1)
    return np.asarray(np.where(unknown, np.nan, np.clip(found, 0.0, MOST)))


def forecast_sd(quantiles: Array, levels: tuple[float, ...], law: StudentLaw) -> Array:
    """Log of what the level would have to be for the built-in law to have the forecast's interquartile range."""
    taus = np.asarray(levels)
    low, high = int(np.argmin(np.abs(taus - 0.25))), int(np.argmin(np.abs(taus - 0.75)))
    usual = law.scale * (stats.t.ppf(taus[high], law.degrees) - stats.t.ppf(taus[low], law.degrees))
    spread = quantiles[:, high] - quantiles[:, low]
    return np.asarray(np.log(np.where(spread > 0, spread, np.nan) / usual))
