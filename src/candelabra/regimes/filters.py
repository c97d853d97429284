"""What to believe of each bar after hearing a classifier bar by bar: filters (causal) and a fixed lag.

A classifier that has itself looked back repeats what it has said before; ``power`` in (0, 1] weighs its evidence accordingly. Rows of
NaN are bars about which nothing was heard. All in one pass, O(bars), and equal to being fed bar by bar.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "duration_filter", "duration_lag", "duration_lag_run", "duration_run", "duration_start", "evidence", "fixed_lag", "markov_filter",
    "markov_late", "markov_run", "markov_step",
]  # fmt: skip

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
def markov_run(log_evidence: Array, belief: Array, transition: Array, first: bool) -> Array:
    """Chances ``(n, K)`` at bars that come next; the belief ``(K,)`` is carried on in place. ``first``: nothing came before."""
    out = np.empty_like(log_evidence)
    for t in range(len(log_evidence)):
        markov_step(belief, log_evidence[t], transition, first and t == 0)
        out[t] = belief
    return out


@njit(cache=True)
def markov_filter(log_evidence: Array, start: Array, transition: Array) -> Array:
    """Chance ``(n, K)`` of each label at each bar given all bars up to it (Rabiner 1989, forward recursion, normalised)."""
    return markov_run(log_evidence, start.copy(), transition, True)


@njit(cache=True)
def markov_late(filtered: Array, later: Array, transition: Array, out: Array) -> None:
    """Chance ``out`` ``(K,)`` of each label at a bar, from the belief at its close and the evidence ``(lag, K)`` of the bars after it."""
    lag, k = later.shape
    back, before = np.ones(k), np.empty(k)
    for s in range(lag - 1, -1, -1):
        top = later[s].max()
        total = 0.0
        for i in range(k):
            before[i] = 0.0
            for j in range(k):
                before[i] += transition[i, j] * np.exp(later[s, j] - top) * back[j]
            total += before[i]
        for i in range(k):
            back[i] = before[i] / total
    total = 0.0
    for i in range(k):
        out[i] = filtered[i] * back[i]
        total += out[i]
    for i in range(k):
        out[i] /= total


@njit(cache=True)
def fixed_lag(log_evidence: Array, start: Array, transition: Array, lag: int) -> Array:
    """Chance ``(n, K)`` of each label at bar t - lag given all bars up to t, in row t; the first ``lag`` rows are NaN."""
    n, k = log_evidence.shape
    filtered = markov_filter(log_evidence, start, transition)
    out = np.full((n, k), np.nan)
    for t in range(lag, n):
        markov_late(filtered[t - lag], log_evidence[t - lag + 1 : t + 1], transition, out[t])
    return out


@njit(cache=True)
def duration_start(start: Array, survival: Array) -> tuple[Array, Array, Array, Array]:
    """The state of `duration_run` before the first bar, and the chance ``(K, longest)`` of ending at each age.

    A series begins somewhere inside a segment: at each age in proportion to the chance of lasting that long. The state: belief
    ``(K, longest)``, a factor ``(K,)`` that it is to be multiplied with, and ``(2,)``: bars heard, place of the youngest age.
    """
    k, longest = survival.shape[0], survival.shape[1] - 1
    belief, leave = np.empty((k, longest)), np.ones((k, longest))
    for i in range(k):
        whole = survival[i, :longest].sum()
        for d in range(longest):
            belief[i, d] = start[i] * survival[i, d] / whole
            if d + 1 < longest and survival[i, d] > 1e-12:
                leave[i, d] = 1.0 - survival[i, d + 1] / survival[i, d]
    return belief, np.ones(k), np.zeros(2), leave


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def _pass_on(belief: Array, leave: Array) -> tuple[float, float]:
    """Take out of the belief at each age what leaves; how much that is, and how much stays."""
    gone, rest = 0.0, 0.0
    for d in range(len(belief)):
        part = belief[d] * leave[d]
        belief[d] -= part
        gone += part
        rest += belief[d]
    return gone, rest


@njit(cache=True)
def duration_run(
    log_evidence: Array, belief: Array, factor: Array, place: Array, leave: Array, follows: Array, out: Array, ended: Array
) -> None:
    """Chances ``out`` ``(n, K)`` of each label at bars that come next; the state (see `duration_start`) is carried on in place.

    ``belief[i, (head + d) % longest]`` times ``factor[i]``: label i in its (d + 1)-th bar. Ages grow by moving the head and evidence by
    the factor: a bar costs one pass over the ages. ``ended`` ``(n, K)``: chance that a segment of each label ended with the bar before.
    """
    n, k = log_evidence.shape
    longest = belief.shape[1]
    weight, mass, born = np.empty(k), np.empty(k), np.empty(k)
    for t in range(n):
        head = int(place[1])
        if place[0] > 0:
            born[:] = 0.0
            for i in range(k):
                young = longest - head
                a, left = _pass_on(belief[i, head:], leave[i, :young])
                b, old = _pass_on(belief[i, :head], leave[i, young:])
                mass[i] = (left + old) * factor[i]
                ended[t, i] = (a + b) * factor[i]
                for j in range(k):
                    born[j] += ended[t, i] * follows[i, j]
            head = head - 1 if head else longest - 1
            for j in range(k):
                belief[j, head] = born[j] / factor[j]
                mass[j] += born[j]
        else:
            for i in range(k):
                mass[i] = belief[i].sum()
                ended[t, i] = 0.0
        top = log_evidence[t].max()
        total = 0.0
        for i in range(k):
            weight[i] = np.exp(log_evidence[t, i] - top)
            out[t, i] = mass[i] * weight[i]
            total += out[t, i]
        for i in range(k):
            out[t, i] /= total
            factor[i] *= weight[i] / total
            if not 1e-100 < factor[i] < 1e100:
                belief[i] *= factor[i]
                factor[i] = 1.0
        place[0] += 1
        place[1] = head


def duration_filter(log_evidence: Array, start: Array, follows: Array, survival: Array) -> Array:
    """Like `markov_filter`, for durations of any distribution: the belief is over label and age.

    ``survival`` ``(K, longest + 1)``: chance of lasting more than 0, 1, ... bars; a segment of ``longest`` bars ends for certain.
    """
    out = np.empty_like(log_evidence)
    belief, factor, place, leave = duration_start(start, survival)
    duration_run(log_evidence, belief, factor, place, leave, follows, out, np.empty_like(out))
    return out


@njit(cache=True)
def duration_late(said: Array, ended: Array, belief: Array, factor: Array, place: Array, follows: Array, out: Array) -> None:
    """`duration_lag` at one bar: from what is believed of it (``said``) to what is believed of the bar ``len(ended)`` before it.

    ``ended`` ``(lag, K)``: as `duration_run` told it of the bars since, this one last; the state is that after this bar.
    """
    lag, k = ended.shape
    longest = belief.shape[1]
    source = np.empty((k, k))
    out[:] = said
    for d in range(min(lag, longest)):
        at = (int(place[1]) + d) % longest
        for j in range(k):
            total = 0.0
            for i in range(k):
                source[i, j] = ended[lag - 1 - d, i] * follows[i, j]
                total += source[i, j]
            young = belief[j, at] * factor[j]
            if total > 0.0:
                out[j] -= young
                for i in range(k):
                    out[i] += young * source[i, j] / total
    total = 0.0
    for i in range(k):
        out[i] = max(out[i], 0.0)
        total += out[i]
    for i in range(k):
        out[i] /= total


@njit(cache=True)
def duration_lag_run(
    log_evidence: Array, belief: Array, factor: Array, place: Array, leave: Array, follows: Array, past: Array, out: Array
) -> None:
    """`duration_run` and `duration_late` at bars that come next; ``past`` ``(lag, K)``, chances of having ended, is carried on as well.

    History and stream go by this one kernel: sums inside it are added up in an order that the compiler chooses anew for each caller.
    """
    n, k = log_evidence.shape
    lag = len(past)
    said, ended = np.empty((1, k)), np.empty((1, k))
    for t in range(n):
        duration_run(log_evidence[t : t + 1], belief, factor, place, leave, follows, said, ended)
        for d in range(lag - 1):
            past[d] = past[d + 1]
        if lag:
            past[lag - 1] = ended[0]
        if place[0] > lag:
            duration_late(said[0], past, belief, factor, place, follows, out[t])


def duration_lag(log_evidence: Array, start: Array, follows: Array, survival: Array, lag: int) -> Array:
    """Like `fixed_lag`, with the belief of `duration_filter`: exact where no segment is shorter than ``lag`` bars.

    A segment that is older than the lag was there at bar t - lag; of a younger one it is known which label it came from. A second change
    within the lag is left out of account.
    """
    out = np.full(log_evidence.shape, np.nan)
    past = np.zeros((lag, log_evidence.shape[1]))
    duration_lag_run(log_evidence, *duration_start(start, survival), follows, past, out)
    return out
