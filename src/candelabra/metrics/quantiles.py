"""How well forecast quantiles describe what came: pinball loss, CRPS, coverage and width of intervals, PIT.

Quantiles have the levels on their last axis, ``(..., levels)``; outcomes have the shape without it. Rows with a NaN in either are NaN.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.errors import DataError

__all__ = ["central_pairs", "covered", "crps", "level_weights", "pinball", "pit_histogram", "pit_values", "width"]

Floats = NDArray[np.float64]


def _checked(quantiles: ArrayLike, actual: ArrayLike, levels: Sequence[float]) -> tuple[Floats, Floats, Floats]:
    q, y, taus = np.asarray(quantiles, np.float64), np.asarray(actual, np.float64), np.asarray(levels, np.float64)
    if taus.ndim != 1 or not taus.size or taus[0] <= 0.0 or taus[-1] >= 1.0 or np.any(np.diff(taus) <= 0.0):
        raise DataError(f"quantile levels {tuple(levels)} cannot be: they must rise and lie between 0 and 1")
    if q.shape != (*y.shape, taus.size):
        raise DataError(
            f"quantiles of shape {q.shape} do not fit outcomes of shape {y.shape} and {taus.size} levels: expected {(*y.shape, taus.size)}"
        )
    return q, y, taus


def pinball(quantiles: ArrayLike, actual: ArrayLike, levels: Sequence[float]) -> Floats:
    """Pinball loss ``(..., levels)``: max(tau (y - q), (tau - 1) (y - q)); least in expectation at the true quantile.

    >>> pinball([[1.0, 2.0]], [3.0], (0.5, 0.9))
    array([[1. , 0.9]])
    """
    q, y, taus = _checked(quantiles, actual, levels)
    error = y[..., None] - q
    return np.asarray(np.maximum(taus * error, (taus - 1.0) * error))


def level_weights(levels: Sequence[float]) -> Floats:
    """How much of (0, 1) each level stands for: from half-way to the level below to half-way to the level above; sums to 1.

    >>> level_weights((0.1, 0.3, 0.5, 0.7, 0.9)).round(3).tolist()
    [0.2, 0.2, 0.2, 0.2, 0.2]
    """
    taus = np.asarray(levels, np.float64)
    edges = np.concatenate([[0.0], (taus[1:] + taus[:-1]) / 2.0, [1.0]])
    return np.asarray(np.diff(edges))


def crps(quantiles: ArrayLike, actual: ArrayLike, levels: Sequence[float]) -> Floats:
    """Continuous ranked probability score per row: sum over levels of weight x 2 x pinball, never negative.

    CRPS = 2 integral_0^1 pinball_tau d tau (Gneiting and Ranjan 2011), by the midpoint-cell rule of `level_weights`: for evenly spaced
    levels it is the plain mean of 2 x pinball. A weighted sum of pinball losses is proper whatever the levels.
    """
    return np.asarray(2.0 * pinball(quantiles, actual, levels) @ level_weights(levels))


def central_pairs(levels: Sequence[float]) -> tuple[tuple[int, int], ...]:
    """Positions of the levels that make central intervals (tau, 1 - tau), the widest first.

    >>> central_pairs((0.01, 0.05, 0.5, 0.95, 0.99))
    ((0, 4), (1, 3))
    """
    pairs = []
    for low, level in enumerate(levels):
        for high in range(len(levels) - 1, low, -1):
            if abs(level + levels[high] - 1.0) < 1e-9:
                pairs.append((low, high))
    return tuple(pairs)


def _pair(levels: Sequence[float], coverage: float) -> tuple[int, int]:
    for low, high in central_pairs(levels):
        if abs(levels[high] - levels[low] - coverage) < 1e-9:
            return low, high
    there = ", ".join(f"{levels[high] - levels[low]:.0%}" for low, high in central_pairs(levels))
    raise DataError(f"no central interval of {coverage:.0%} can be read from these quantile levels: there are {there or 'none'}")


def covered(quantiles: ArrayLike, actual: ArrayLike, levels: Sequence[float], coverage: float) -> Floats:
    """1 where the outcome lies in the central interval of nominal ``coverage`` (ends included), 0 where not, NaN where unknown.

    Its share with a standard error for overlapping horizons is ``forecast.share(covered(...), horizon)``. Raises DataError when the
    levels hold no such interval.
    """
    q, y, _ = _checked(quantiles, actual, levels)
    low, high = _pair(levels, coverage)
    bottom, top = q[..., low], q[..., high]
    inside = ((y >= bottom) & (y <= top)).astype(np.float64)
    return np.asarray(np.where(np.isnan(y) | np.isnan(bottom) | np.isnan(top), np.nan, inside))


def width(quantiles: ArrayLike, levels: Sequence[float], coverage: float) -> Floats:
    """Width of the central interval of nominal ``coverage`` per row, in the unit of the quantiles."""
    q = np.asarray(quantiles, np.float64)
    low, high = _pair(levels, coverage)
    return np.asarray(q[..., high] - q[..., low])


def pit_values(quantiles: ArrayLike, actual: ArrayLike, levels: Sequence[float]) -> Floats:
    """Probability integral transform: the forecast probability of an outcome as low as this one; uniform for a true forecast.

    Linear between quantiles. Outcomes beyond the outermost quantiles get the middle of their tail (tau_1 / 2, 1 - (1 - tau_Q) / 2), so
    that shares between levels are exact. Where quantiles coincide with the outcome: the mean of the two limits.
    """
    q, y, taus = _checked(quantiles, actual, levels)
    value = y[..., None]
    below, up_to = (q < value).sum(axis=-1), (q <= value).sum(axis=-1)
    padded = np.concatenate([q[..., :1], q, q[..., -1:]], axis=-1)
    knots = np.concatenate([[taus[0] / 2.0], taus, [(1.0 + taus[-1]) / 2.0]])
    last = taus.size

    def at(count: NDArray[np.intp]) -> Floats:
        left = np.take_along_axis(padded, count[..., None], axis=-1)[..., 0]
        right = np.take_along_axis(padded, np.minimum(count + 1, last + 1)[..., None], axis=-1)[..., 0]
        gap = right - left
        part = np.where(gap > 0.0, (y - left) / np.where(gap > 0.0, gap, 1.0), 0.0)
        inner = knots[count] + part * (knots[np.minimum(count + 1, last + 1)] - knots[count])
        return np.asarray(np.where(count == 0, knots[0], np.where(count == last, knots[last + 1], inner)))

    on_quantile = up_to > below
    exact = (taus[np.minimum(below, last - 1)] + taus[np.maximum(up_to - 1, 0)]) / 2.0
    pit = np.where(on_quantile, exact, at(below))
    return np.asarray(np.where(np.isnan(y) | np.isnan(q).any(axis=-1), np.nan, pit))


def pit_histogram(pit: ArrayLike, bins: int = 10) -> Floats:
    """Shares of PIT values in ``bins`` equal bins; a calibrated forecast has 1 / bins in each.

    Exact when the edges of the bins are forecast levels, as 0.1, 0.2, ... are.
    """
    values = np.asarray(pit, np.float64)
    values = values[~np.isnan(values)]
    counts = np.bincount(np.minimum((values * bins).astype(np.int64), bins - 1), minlength=bins).astype(np.float64)
    return np.asarray(counts / max(values.size, 1))
