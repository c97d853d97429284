"""Adaptive conformal intervals (Gibbs and Candès 2021): the level follows the hits and misses known by each decision time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from candelabra.errors import DataError
from candelabra.metrics.conformal import move, scores
from candelabra.metrics.quantiles import central_pairs

__all__ = ["AdaptiveIntervals", "adapt", "adaptive_constants"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AdaptiveIntervals:
    """Settings of the online rule: ``rate`` gamma of the level, ``memory`` how many of the newest known scores are kept."""

    rate: float = 0.005
    memory: int = 2000


@njit(cache=True)
def _follow(
    start: Floats,
    score: Floats,
    known_at: NDArray[np.int64],
    decided_at: NDArray[np.int64],
    order: NDArray[np.int64],
    coverage: float,
    rate: float,
) -> Floats:  # pragma: no cover - compiled
    size = start.size
    ring, pool = start.copy(), np.sort(start)
    oldest, news, miss = 0, 0, 1.0 - coverage
    level = miss
    out = np.empty(score.size)
    for t in range(score.size):
        while news < order.size and known_at[order[news]] <= decided_at[t]:
            s = order[news]
            news += 1
            if s >= t:
                continue
            hit = score[s] <= out[s]
            level += rate * (miss - (0.0 if hit else 1.0))
            leaving = np.searchsorted(pool, ring[oldest])
            ring[oldest] = score[s]
            oldest = (oldest + 1) % size
            entering = np.searchsorted(pool, score[s])
            if entering > leaving:
                pool[leaving : entering - 1] = pool[leaving + 1 : entering].copy()
                pool[entering - 1] = score[s]
            else:
                pool[entering + 1 : leaving + 1] = pool[entering:leaving].copy()
                pool[entering] = score[s]
        rank = int(np.ceil((size + 1) * (1.0 - level) - 1e-9))
        out[t] = pool[min(max(rank, 1), size) - 1]
    return out


def adaptive_constants(
    start: ArrayLike,
    score: ArrayLike,
    known_at: ArrayLike,
    decided_at: ArrayLike,
    coverage: float,
    settings: AdaptiveIntervals | None = None,
) -> Floats:
    """How far to move one interval at each decision, from what was known by then.

    ``start``: scores of the calibration rows in order of time, all known before the first decision. ``score`` ``(rows,)`` of the rows
    to come (NaN: never known), ``known_at`` int64 ms ``(rows,)`` when each became known, ``decided_at`` int64 ms ``(rows,)`` rising.
    When an outcome becomes known, alpha <- alpha + rate (1 - coverage - miss), and its score replaces the oldest of the memory; a level
    beyond [0, 1] uses the largest or smallest score in memory (never an infinite interval).
    """
    chosen = settings or AdaptiveIntervals()
    begin, values = np.asarray(start, np.float64), np.asarray(score, np.float64)
    begin = begin[np.isfinite(begin)][-chosen.memory :]
    known, decided = np.asarray(known_at, np.int64), np.asarray(decided_at, np.int64)
    if begin.size < 20:
        raise DataError(
            f"adaptive intervals start from {begin.size} known calibration rows: at least 20 are needed; give a longer calibration range"
        )
    if np.any(np.diff(decided) < 0):
        raise DataError("decision times of adaptive intervals must not fall: pass one symbol at a time, in order of time")
    usable = np.flatnonzero(np.isfinite(values))
    order = usable[np.argsort(known[usable], kind="stable")]
    return np.asarray(_follow(begin, values, known, decided, order, float(coverage), float(chosen.rate)))


def adapt(
    quantiles: ArrayLike,
    actual: ArrayLike,
    known_at: ArrayLike,
    decided_at: ArrayLike,
    levels: Sequence[float],
    start_quantiles: ArrayLike,
    start_actual: ArrayLike,
    settings: AdaptiveIntervals | None = None,
) -> Floats:
    """Quantiles ``(rows, horizons, levels)`` of one symbol with every central interval moved by its own online rule.

    ``actual`` and ``known_at`` ``(rows, horizons)`` (an outcome counts only from ``known_at`` on), ``decided_at`` ``(rows,)`` the
    decision times; ``start_quantiles``, ``start_actual``: the calibration rows before them. Widths scale the moves, as in `conformal.fit`.
    """
    q, y, known = np.asarray(quantiles, np.float64), np.asarray(actual, np.float64), np.asarray(known_at, np.int64)
    score = scores(q, y, levels)
    start = scores(np.asarray(start_quantiles, np.float64), np.asarray(start_actual, np.float64), levels)
    pairs = central_pairs(levels)
    constants = np.zeros((*y.shape, len(pairs)))
    for h in range(y.shape[1]):
        for p, (low, high) in enumerate(pairs):
            coverage = levels[high] - levels[low]
            constants[:, h, p] = adaptive_constants(start[:, h, p], score[:, h, p], known[:, h], decided_at, coverage, settings)
    return move(q, constants, levels, normalised=True)
