"""The likeliest segmentation of a whole stretch (hindsight): Viterbi, and semi-Markov with durations of any distribution."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["semi_markov_path", "viterbi_path"]

Array = NDArray[np.float64]


@njit(cache=True)
def viterbi_path(log_evidence: Array, start: Array, transition: Array) -> NDArray[np.int16]:
    """The likeliest labels ``(n,)`` of a Markov chain given log evidence ``(n, K)`` (Viterbi 1967)."""
    n, k = log_evidence.shape
    step = np.log(np.maximum(transition, 1e-300))
    best = np.log(np.maximum(start, 1e-300))
    came = np.zeros((n, k), np.int16)
    path = np.zeros(n, np.int16)
    if n == 0:
        return path
    best = best + log_evidence[0]
    after = np.empty(k)
    for t in range(1, n):
        for j in range(k):
            top, place = best[0] + step[0, j], 0
            for i in range(1, k):
                value = best[i] + step[i, j]
                if value > top:
                    top, place = value, i
            after[j] = top + log_evidence[t, j]
            came[t, j] = place
        best[:] = after
    path[n - 1] = np.argmax(best)
    for t in range(n - 1, 0, -1):
        path[t - 1] = came[t, path[t]]
    return path


@njit(cache=True)
def semi_markov_path(log_evidence: Array, start: Array, follows: Array, log_mass: Array, log_survival: Array) -> NDArray[np.int16]:
    """The likeliest labels ``(n,)`` of a semi-Markov chain (Murphy 2002), O(bars x longest duration x K).

    ``log_mass`` ``(K, longest)``: log chance of lasting exactly 1, 2, ... bars; ``log_survival`` ``(K, longest)``: of lasting at least that
    long, for the first and the last segment, which the ends of the stretch cut off.
    """
    n, k = log_evidence.shape
    longest = log_mass.shape[1]
    path = np.zeros(n, np.int16)
    if n == 0:
        return path
    sums = np.zeros((n + 1, k))
    for t in range(n):
        for j in range(k):
            sums[t + 1, j] = sums[t, j] + log_evidence[t, j]
    enter = np.full((n + 1, k), -np.inf)  # best score of a segment of label j beginning at bar t, all before it included
    before = np.zeros((n + 1, k), np.int16)
    score = np.full(k, -np.inf)
    length = np.zeros((n + 1, k), np.int32)
    step = np.log(np.maximum(follows, 1e-300))
    for j in range(k):
        enter[0, j] = np.log(max(start[j], 1e-300))
    for t in range(1, n + 1):
        for j in range(k):
            top, place = -np.inf, 1
            most = min(t, longest)
            for d in range(1, most + 1):
                cut_off = d == t or t == n
                value = enter[t - d, j] - sums[t - d, j] + (log_survival[j, d - 1] if cut_off else log_mass[j, d - 1])
                if value > top:
                    top, place = value, d
            if t > longest and enter[0, j] > -np.inf:  # one label all the way, longer than any duration
                value = enter[0, j] - sums[0, j] + log_survival[j, longest - 1]
                if value > top:
                    top, place = value, t
            score[j] = top + sums[t, j]
            length[t, j] = place
        for j in range(k):
            for i in range(k):
                if i != j and score[i] + step[i, j] > enter[t, j]:
                    enter[t, j] = score[i] + step[i, j]
                    before[t, j] = i
    t, label = n, np.argmax(score)
    while t > 0:
        d = length[t, label]
        path[t - d : t] = label
        t -= d
        label = before[t, label]
    return path
