"""What to believe of each bar after hearing a classifier bar by bar: filters (causal) and a fixed lag.

A classifier that has itself looked back repeats what it has said before; ``power`` in (0, 1] weighs its evidence accordingly. Rows of
NaN are bars about which nothing was heard. All in one pass, O(bars), and equal to being fed bar by bar.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["duration_filter", "evidence", "fixed_lag", "markov_filter"]

Array = NDArray[np.float64]


def evidence(probabilities: NDArray[np.floating], share: Array, power: float) -> Array:
    """Log evidence ``(n, K)`` for each label: ``power * (log p - log share)``, 0 where nothing was heard."""
    p = np.asarray(probabilities, np.float64)
    out = power * (np.log(np.maximum(p, 1e-12)) - np.log(np.maximum(share, 1e-12)))
    return np.where(np.isfinite(p).all(axis=1, keepdims=True), out, 0.0)


@njit(cache=True)
def markov_filter(log_evidence: Array, start: Array, transition: Array) -> Array:
    """Chance ``(n, K)`` of each label at each bar given all bars up to it (Rabiner 1989, forward recursion, normalised)."""
    n, k = log_evidence.shape
    out = np.empty((n, k))
    belief = start.copy()
    for t in range(n):
        if t:
            ahead = np.zeros(k)
            for i in range(k):
                for j in range(k):
                    ahead[j] += belief[i] * transition[i, j]
            belief = ahead
        top = log_evidence[t].max()
        total = 0.0
        for j in range(k):
            belief[j] *= np.exp(log_evidence[t, j] - top)
            total += belief[j]
        for j in range(k):
            belief[j] /= total
            out[t, j] = belief[j]
    return out


@njit(cache=True)
def fixed_lag(log_evidence: Array, start: Array, transition: Array, lag: int) -> Array:
    """Chance ``(n, K)`` of each label at bar t - lag given all bars up to t, in row t; the first ``lag`` rows are NaN."""
    n, k = log_evidence.shape
    filtered = markov_filter(log_evidence, start, transition)
    out = np.full((n, k), np.nan)
    back, before = np.empty(k), np.empty(k)
    for t in range(lag, n):
        back[:] = 1.0
        for s in range(t, t - lag, -1):
            top = log_evidence[s].max()
            total = 0.0
            for i in range(k):
                before[i] = 0.0
                for j in range(k):
                    before[i] += transition[i, j] * np.exp(log_evidence[s, j] - top) * back[j]
                total += before[i]
            for i in range(k):
                back[i] = before[i] / total
        total = 0.0
        for i in range(k):
            out[t, i] = filtered[t - lag, i] * back[i]
            total += out[t, i]
        for i in range(k):
            out[t, i] /= total
    return out


@njit(cache=True)
def duration_filter(log_evidence: Array, start: Array, follows: Array, survival: Array) -> Array:
    """Like `markov_filter`, for durations of any distribution: the belief is over label and age.

    ``survival`` ``(K, longest + 1)``: chance of lasting more than 0, 1, ... bars; a segment of ``longest`` bars ends for certain.
    """
    n, k = log_evidence.shape
    longest = survival.shape[1] - 1
    leave = np.empty((k, longest))
    for i in range(k):
        for d in range(longest):
            leave[i, d] = 1.0 - survival[i, d + 1] / survival[i, d] if survival[i, d] > 1e-12 and d + 1 < longest else 1.0
    out = np.empty((n, k))
    # belief[i, (head + d) % longest]: label i, lasting its (d + 1)-th bar; ages move on by moving the head, not the numbers
    belief = np.zeros((k, longest))
    for i in range(k):
        # a series begins somewhere inside a segment: at each age in proportion to the chance of lasting that long
        whole = 0.0
        for d in range(longest):
            whole += survival[i, d]
        for d in range(longest):
            belief[i, d] = start[i] * survival[i, d] / whole
    head = 0
    mass = np.empty(k)
    for t in range(n):
        if t:
            born = np.zeros(k)
            for i in range(k):
                out_of = 0.0
                for d in range(longest):
                    place = head + d
                    if place >= longest:
                        place -= longest
                    gone = belief[i, place] * leave[i, d]
                    out_of += gone
                    belief[i, place] -= gone
                for j in range(k):
                    born[j] += out_of * follows[i, j]
            head = head - 1 if head else longest - 1
            for j in range(k):
                belief[j, head] = born[j]
        top = log_evidence[t].max()
        total = 0.0
        for i in range(k):
            mass[i] = np.exp(log_evidence[t, i] - top)
            part = 0.0
            for d in range(longest):
                part += belief[i, d]
            out[t, i] = part * mass[i]
            total += out[t, i]
        for i in range(k):
            out[t, i] /= total
            scale = mass[i] / total
            for d in range(longest):
                belief[i, d] *= scale
    return out
