"""Numba kernels over one column: window sums, extremes, medians and truncated exponential means, each O(bars).

Window sums add only (prefix of one block plus suffix of the block before), never subtract: the sum of a quiet week is not spoilt
by the crash before it, and a tail recomputes to the same value within rounding.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "decayed_mean",
    "decayed_run",
    "median_run",
    "rows_since",
    "segment_sums",
    "window_max",
    "window_median",
    "window_min",
    "window_sum",
    "window_variance",
]

Array = NDArray[np.float64]


@njit(cache=True)
def rows_since(bar: NDArray[np.int64], bridged: int) -> NDArray[np.int64]:
    """Rows since the start of each bar's run ``(n,)``, where a run ends at a gap of more than ``bridged`` absent bars."""
    age = np.zeros(len(bar), np.int64)
    for t in range(1, len(bar)):
        if bar[t] - bar[t - 1] - 1 <= bridged:
            age[t] = age[t - 1] + 1
    return age


@njit(cache=True)
def window_sum(x: Array, n: int) -> Array:
    """Sum of the last ``n`` values at each row ``(rows,)``; over fewer in the first ``n - 1`` rows."""
    size = len(x)
    out = np.empty(size)
    suffix = np.zeros(n + 1)
    for begin in range(0, size, n):
        end = min(begin + n, size)
        prefix = 0.0
        for t in range(begin, end):
            prefix += x[t]
            out[t] = suffix[t - begin + 1] + prefix
        if end < size:
            total = 0.0
            for j in range(n - 1, -1, -1):
                total += x[begin + j]
                suffix[j] = total
    return out


@njit(cache=True)
def window_variance(x: Array, n: int) -> Array:
    """Variance (population form, not below 0) of the last ``n`` values at each row; meaningless in the first ``n - 1`` rows."""
    size = len(x)
    out = np.empty(size)
    sums, squares = np.zeros(n + 1), np.zeros(n + 1)
    share = 1.0 / n
    for begin in range(0, size, n):
        end = min(begin + n, size)
        total, square = 0.0, 0.0
        for t in range(begin, end):
            total += x[t]
            square += x[t] * x[t]
            mean = (sums[t - begin + 1] + total) * share
            out[t] = max((squares[t - begin + 1] + square) * share - mean * mean, 0.0)
        if end < size:
            total, square = 0.0, 0.0
            for j in range(n - 1, -1, -1):
                total += x[begin + j]
                square += x[begin + j] * x[begin + j]
                sums[j], squares[j] = total, square
    return out


@njit(cache=True)
def window_max(x: Array, n: int) -> Array:
    """Largest of the last ``n`` values at each row (over fewer in the first ``n - 1`` rows)."""
    size = len(x)
    out = np.empty(size)
    suffix = np.full(n + 1, -np.inf)
    for begin in range(0, size, n):
        end = min(begin + n, size)
        prefix = -np.inf
        for t in range(begin, end):
            prefix = max(prefix, x[t])
            out[t] = max(suffix[t - begin + 1], prefix)
        if end < size:
            top = -np.inf
            for j in range(n - 1, -1, -1):
                top = max(top, x[begin + j])
                suffix[j] = top
    return out


def window_min(x: Array, n: int) -> Array:
    """Smallest of the last ``n`` values at each row (over fewer in the first ``n - 1`` rows)."""
    smallest: Array = -window_max(-x, n)
    return smallest


def window_median(x: Array, n: int) -> Array:
    """Median of the last ``n`` values at each row (over fewer in the first ``n - 1`` rows)."""
    medians: Array = median_run(np.ascontiguousarray(x, np.float64), np.empty(n), np.empty(n), np.zeros(1))
    return medians


@njit(cache=True)
def median_run(x: Array, ring: Array, ordered: Array, state: Array) -> Array:
    """`window_median` of rows that come next; the state is carried on in place.

    ``ring`` ``(n,)``: the last values, number i at place i % n; ``ordered`` ``(n,)``: the same in order; ``state[0]``: values seen.
    """
    n = len(ring)
    out = np.empty(len(x))
    seen = int(state[0])
    for t in range(len(x)):
        held = min(seen, n)
        if held == n:
            at = np.searchsorted(ordered[:held], ring[seen % n])
            for j in range(at, held - 1):
                ordered[j] = ordered[j + 1]
            held -= 1
        at = np.searchsorted(ordered[:held], x[t])
        for j in range(held, at, -1):
            ordered[j] = ordered[j - 1]
        ordered[at] = x[t]
        ring[seen % n] = x[t]
        held += 1
        seen += 1
        middle = held // 2
        out[t] = ordered[middle] if held % 2 else 0.5 * (ordered[middle - 1] + ordered[middle])
    state[0] = seen
    return out


@njit(cache=True)
def decayed_run(x: Array, decay: float, kept: Array) -> Array:
    """Exponential mean ``m = (1 - decay) m + decay x`` at each row that comes next; ``kept`` ``(1,)`` is carried on in place."""
    out = np.empty(len(x))
    for t in range(len(x)):
        out[t] = kept[0] + decay * x[t]
        kept[0] = (1.0 - decay) * out[t]
    return out


@njit(cache=True)
def decayed_mean(x: Array, weight: Array, age: NDArray[np.int64], half_life: float, width: int) -> Array:
    """Exponential mean ``sum decay**k x[t-k] / sum decay**k weight[t-k]`` over the last ``width`` rows of the run ``(rows,)``.

    Cut off after ``width`` rows, so that its memory is finite; fewer rows at the start of a run. 0 where all weights are 0.
    """
    decay = 0.5 ** (1.0 / half_life)
    last = decay**width
    out = np.empty(len(x))
    above, below = 0.0, 0.0
    for t in range(len(x)):
        if age[t] == 0:
            above, below = 0.0, 0.0
        above = above * decay + x[t]
        below = below * decay + weight[t]
        if age[t] >= width:
            above -= last * x[t - width]
            below -= last * weight[t - width]
        out[t] = above / below if below > 0.0 else 0.0
    return out


@njit(cache=True)
def segment_sums(x: Array, weight: Array, begins: NDArray[np.int64], ends: NDArray[np.int64]) -> tuple[Array, Array]:
    """Sums of ``x`` and ``weight`` over rows ``begins[i]:ends[i]`` for each i; both bounds must never fall.

    Like :func:`window_sum` by additions alone: suffix sums of one block plus a running sum of what came after it.
    """
    count = len(begins)
    total, taken = np.zeros(count), np.zeros(count)
    anchor = 0
    suffix, suffix_weight = np.zeros(1), np.zeros(1)
    prefix, prefix_weight = 0.0, 0.0
    upto, origin = 0, 0
    for i in range(count):
        begin, end = begins[i], ends[i]
        if end <= begin:
            continue
        if begin >= anchor:  # the old block is used up: a new one of suffix sums over this window
            origin, anchor = begin, end
            suffix, suffix_weight = np.zeros(end - begin + 1), np.zeros(end - begin + 1)
            for j in range(end - begin - 1, -1, -1):
                suffix[j] = suffix[j + 1] + x[begin + j]
                suffix_weight[j] = suffix_weight[j + 1] + weight[begin + j]
            prefix, prefix_weight, upto = 0.0, 0.0, end
        while upto < end:
            prefix += x[upto]
            prefix_weight += weight[upto]
            upto += 1
        total[i] = suffix[begin - origin] + prefix
        taken[i] = suffix_weight[begin - origin] + prefix_weight
    return total, taken
