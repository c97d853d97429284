"""What to believe of each bar after hearing a classifier bar by bar: filters (causal) and a fixed lag.

A classifier that has itself looked back repeats what it has said before; ``power`` in (0, 1] weighs its evidence accordingly. Rows of
NaN are bars about which nothing was heard. All in one pass, O(bars), and equal to being fed bar by bar.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["duration_filter", "duration_start", "duration_step", "evidence", "fixed_lag", "markov_filter", "markov_step"]

Array = NDArray[np.float64]


def evidence(probabilities: NDArray[np.floating], share: Array, power: float) -> Array:
    """Log evidence ``(n, K)`` for each label: ``power * (log p - log share)``, 0 where nothing was heard."""
    p = np.asarray(probabilities, np.float64)
    out = power * (np.log(np.maximum(p, 1e-12)) - np.log(np.maximum(share, 1e-12)))
    return np.where(np.isfinite(p).all(axis=1, keepdims=True), out, 0.0)


@njit(cache=True)
def markov_step(belief: Array, row: Array, transition: Array, first: bool) -> None:
    """Take the belief ``(K,)`` in place to the next bar and hear its log evidence ``row``; the ``first`` bar has nothing to come from."""
    k = len(belief)
    if not first:
        ahead = np.zeros(k)
        for i in range(k):
            for j in range(k):
                ahead[j] += belief[i] * transition[i, j]
        belief[:] = ahead
    top = row.max()
    total = 0.0
    for j in range(k):
        belief[j] *= np.exp(row[j] - top)
        total += belief[j]
    for j in range(k):
        belief[j] /= total


@njit(cache=True)
def markov_filter(log_evidence: Array, start: Array, transition: Array) -> Array:
    """Chance ``(n, K)`` of each label at each bar given all bars up to it (Rabiner 1989, forward recursion, normalised)."""
    out = np.empty_like(log_evidence)
    belief = start.copy()
    for t in range(len(log_evidence)):
        markov_step(belief, log_evidence[t], transition, t == 0)
        out[t] = belief
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
def duration_start(start: Array, survival: Array) -> tuple[Array, Array]:
    """Belief ``(K, longest)`` over label and age before the first bar, and the chance ``(K, longest)`` of ending at each age.

    A series begins somewhere inside a segment: at each age in proportion to the chance of lasting that long.
    """
    k, longest = survival.shape[0], survival.shape[1] - 1
    belief, leave = np.empty((k, longest)), np.ones((k, longest))
    for i in range(k):
        whole = survival[i, :longest].sum()
        for d in range(longest):
            belief[i, d] = start[i] * survival[i, d] / whole
            if d + 1 < longest and survival[i, d] > 1e-12:
                leave[i, d] = 1.0 - survival[i, d + 1] / survival[i, d]
    return belief, leave


@njit(cache=True)
def duration_step(belief: Array, head: int, row: Array, leave: Array, follows: Array, first: bool, said: Array) -> int:
    """Take the belief in place to the next bar and hear its log evidence; ``said`` ``(K,)`` becomes the chance of each label.

    ``belief[i, (head + d) % longest]``: label i in its (d + 1)-th bar. Ages grow by moving the head, not the numbers: the new head is
    returned.
    """
    k, longest = belief.shape
    if not first:
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
    top = row.max()
    total = 0.0
    for i in range(k):
        said[i] = np.exp(row[i] - top) * belief[i].sum()
        total += said[i]
    for i in range(k):
        scale = np.exp(row[i] - top) / total
        for d in range(longest):
            belief[i, d] *= scale
        said[i] /= total
    return head


@njit(cache=True)
def duration_filter(log_evidence: Array, start: Array, follows: Array, survival: Array) -> Array:
    """Like `markov_filter`, for durations of any distribution: the belief is over label and age.

    ``survival`` ``(K, longest + 1)``: chance of lasting more than 0, 1, ... bars; a segment of ``longest`` bars ends for certain.
    """
    out = np.empty_like(log_evidence)
    belief, leave = duration_start(start, survival)
    head = 0
    for t in range(len(log_evidence)):
        head = duration_step(belief, head, log_evidence[t], leave, follows, t == 0, out[t])
    return out
