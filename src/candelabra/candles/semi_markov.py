"""Exact inference in a semi-Markov chain: segments of drawn lengths, bars independent within them given what was before.

Everything takes ``likelihood`` float64 ``(n, K)`` (logarithms, per bar and state), ``lasting`` ``(K, D)`` (chance that a segment lasts
1 .. D bars), ``follows`` ``(K, K)`` (chance that state j comes after state i, 0 on the diagonal) and ``first`` ``(K,)``; the first bar
begins a segment, the last may lie anywhere in one (Rabiner 1989, section IV.D; Yu 2010). Cost O(n K D). Sums over starts are inner
products, since all starts of one state gain the same likelihood by a bar: the likelihood is kept aside as one factor of the state.
"""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from candelabra.errors import DataError

__all__ = ["filtered", "lagged", "smoothed", "viterbi"]

Floats = NDArray[np.float64]
Forward = tuple[Floats, Floats, Floats, Floats]


def filtered(likelihood: Floats, lasting: Floats, follows: Floats, first: Floats) -> Floats:
    """Chance of each state at bar t given bars up to t: float64 ``(n, K)``."""
    return _forward(*_checked(likelihood, lasting, follows, first))[0]


def smoothed(likelihood: Floats, lasting: Floats, follows: Floats, first: Floats) -> Floats:
    """Chance of each state at bar t given all bars: float64 ``(n, K)``. Knows the future."""
    given = _checked(likelihood, lasting, follows, first)
    if not len(likelihood):
        return np.zeros_like(likelihood)
    _, starts, leaves, gained = _forward(*given)
    after, since = _backward(gained, given[1], given[2])
    begun, ended = starts * since, leaves * after
    # A state holds at t when it began by t and did not end before t.
    chance = np.cumsum(begun, 0)
    chance[1:] -= np.cumsum(ended, 0)[:-1]
    chance = np.maximum(chance, 0.0)
    return np.asarray(chance / chance.sum(1, keepdims=True))


def lagged(likelihood: Floats, lasting: Floats, follows: Floats, first: Floats, lag: int) -> Floats:
    """Chance of each state at bar t given bars up to t + ``lag``: float64 ``(n, K)``, NaN for the last ``lag`` bars."""
    if lag < 0:
        raise DataError(f"a lag of {lag} bars would look ahead: give 0 (filtered) or more")
    given = _checked(likelihood, lasting, follows, first)
    return np.asarray(_lagged(*_forward(*given), given[1], given[2], lag))


def viterbi(likelihood: Floats, lasting: Floats, follows: Floats, first: Floats) -> NDArray[np.int8]:
    """The most probable path of states given all bars: int8 ``(n,)``. Knows the future."""
    with np.errstate(divide="ignore"):
        logs = [np.log(x) for x in (lasting, _surviving(lasting), follows, first)]
    return np.asarray(_viterbi(_checked(likelihood, lasting, follows, first)[0], *logs))


def _checked(likelihood: Floats, lasting: Floats, follows: Floats, first: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    k = len(first)
    if likelihood.ndim != 2 or likelihood.shape[1] != k or len(lasting) != k or follows.shape != (k, k):
        raise DataError(
            f"likelihoods {likelihood.shape}, durations {lasting.shape}, successions {follows.shape} and {k} first states do not fit: "
            "give (n, K), (K, D), (K, K) and (K,)"
        )
    if np.isnan(likelihood).any() or np.abs(lasting.sum(1) - 1).max() > 1e-6 or np.abs(follows.sum(1) - 1).max() > 1e-6:
        raise DataError("likelihoods must be numbers, and the chances of durations and of successions must sum to 1 for every state")
    return likelihood, lasting, follows, first


def _surviving(lasting: Floats) -> Floats:
    """Chance that a segment lasts at least 1 .. D bars."""
    return np.ascontiguousarray(np.cumsum(lasting[:, ::-1], 1)[:, ::-1])


def _forward(likelihood: Floats, lasting: Floats, follows: Floats, first: Floats) -> Forward:
    """Filtered chances, chance of a start at t before seeing t, of an end at t, likelihood relative to what was expected, all (n, K)."""
    return tuple(_forward_kernel(likelihood, _reversed(lasting), _reversed(_surviving(lasting)), follows, first))  # type: ignore[return-value]


def _reversed(table: Floats) -> Floats:
    return np.ascontiguousarray(table[:, ::-1])


@numba.njit(cache=True)
def _forward_kernel(likelihood: Floats, ending: Floats, lasting: Floats, follows: Floats, first: Floats) -> Forward:
    n, states = likelihood.shape
    longest = ending.shape[1]
    chance, starts, leaves, gained = (np.zeros((n, states)), np.zeros((n, states)), np.zeros((n, states)), np.zeros((n, states)))
    weight = np.zeros((states, n))  # of each start, without the factor of its state
    factor = np.ones(states)
    start = first.copy()
    for t in range(n):
        low = max(0, t + 1 - longest)
        for k in range(states):
            starts[t, k] = start[k]
            weight[k, t] = start[k] / factor[k]
        best = likelihood[t].max()
        total = 0.0
        for k in range(states):
            gained[t, k] = math.exp(likelihood[t, k] - best)
            factor[k] *= gained[t, k]
            chance[t, k] = factor[k] * np.dot(weight[k, low : t + 1], lasting[k, longest - (t + 1 - low) :])
            total += chance[t, k]
        for k in range(states):
            gained[t, k] /= total
            chance[t, k] /= total
            factor[k] /= total
            leaves[t, k] = factor[k] * np.dot(weight[k, low : t + 1], ending[k, longest - (t + 1 - low) :])
            if not 1e-60 < factor[k] < 1e60:
                weight[k, low : t + 1] *= factor[k]
                factor[k] = 1.0
        for j in range(states):
            start[j] = 0.0
            for k in range(states):
                start[j] += leaves[t, k] * follows[k, j]
    return chance, starts, leaves, gained


@numba.njit(cache=True)
def _backward(gained: Floats, lasting: Floats, follows: Floats) -> tuple[Floats, Floats]:
    """How much more likely later bars are than expected: given that a state ends at t, and that one begins at t; both (n, K)."""
    n, states = gained.shape
    longest = lasting.shape[1]
    after, since = np.ones((n, states)), np.zeros((n, states))
    weight = np.zeros((states, n))  # of each end, without the factor of its state
    factor, still = np.ones(states), np.ones(states)
    for t in range(n - 1, -1, -1):
        if t < n - 1:
            for k in range(states):
                after[t, k] = 0.0
                for j in range(states):
                    after[t, k] += follows[k, j] * since[t + 1, j]
        high = min(n - 1, t + longest)  # an end at the last bar is counted with the segments that go on
        for k in range(states):
            if t < n - 1:
                weight[k, t] = after[t, k] / factor[k]
            factor[k] *= gained[t, k]
            since[t, k] = factor[k] * np.dot(weight[k, t:high], lasting[k, : high - t])
            still[k] *= gained[t, k]
            if n - t <= longest:
                since[t, k] += still[k] * lasting[k, n - t - 1 :].sum()
            if not 1e-60 < factor[k] < 1e60:
                weight[k, t : min(n, t + longest)] *= factor[k]
                factor[k] = 1.0
    return after, since


@numba.njit(cache=True)
def _lagged(chance: Floats, starts: Floats, leaves: Floats, gained: Floats, lasting: Floats, follows: Floats, lag: int) -> Floats:
    """Over the last ``lag`` bars only, the backward recursion for every bar anew."""
    n, states = chance.shape
    longest = lasting.shape[1]
    surviving = np.zeros((states, longest + 1))
    for k in range(states):
        for d in range(longest - 1, -1, -1):
            surviving[k, d] = surviving[k, d + 1] + lasting[k, d]
    out = np.full((n, states), np.nan)
    since, after = np.zeros((lag + 1, states)), np.zeros((lag + 1, states))
    for t in range(lag, n):
        bar = t - lag  # row i of the tables is bar + i
        for i in range(lag, 0, -1):
            for k in range(states):
                seen, value = 1.0, 0.0
                for e in range(i, lag + 1):
                    seen *= gained[bar + e, k]
                    length = e - i + 1
                    if length > longest:
                        break
                    value += seen * (surviving[k, length - 1] if e == lag else lasting[k, length - 1] * after[e, k])
                since[i, k] = value
            for k in range(states):
                after[i - 1, k] = 0.0
                for j in range(states):
                    after[i - 1, k] += follows[k, j] * since[i, j]
        total = 0.0
        for k in range(states):
            # Segments that hold now or ended lately, less those that began after the bar.
            value = chance[t, k]
            for e in range(lag):
                value += leaves[bar + e, k] * after[e, k]
            for s in range(1, lag + 1):
                value -= starts[bar + s, k] * since[s, k]
            out[bar, k] = max(value, 0.0)
            total += out[bar, k]
        out[bar] /= total
    return out


@numba.njit(cache=True)
def _viterbi(likelihood: Floats, ending: Floats, lasting: Floats, follows: Floats, first: Floats) -> NDArray[np.int8]:
    n, states = likelihood.shape
    longest = ending.shape[1]
    path = np.zeros(n, np.int8)
    if n == 0:
        return path
    before, start = np.zeros((states, n)), first.copy()  # best way to a start, less the likelihood before it
    summed = np.zeros(states)
    began, came = np.zeros((n, states), np.int64), np.zeros((n, states), np.int8)
    best_end, best_state, best_start = -np.inf, 0, 0
    for t in range(n):
        low = max(0, t + 1 - longest)
        leave = np.full(states, -np.inf)
        for k in range(states):
            before[k, t] = start[k] - summed[k]
            summed[k] += likelihood[t, k]
            for s in range(low, t + 1):
                value = before[k, s] + ending[k, t - s]
                if value > leave[k]:
                    leave[k], began[t, k] = value, s
            leave[k] += summed[k]
            if t == n - 1:
                for s in range(low, n):
                    value = before[k, s] + lasting[k, t - s] + summed[k]
                    if value > best_end:
                        best_end, best_state, best_start = value, k, s
        for j in range(states):
            start[j] = -np.inf
            for k in range(states):
                if leave[k] + follows[k, j] > start[j]:
                    start[j] = leave[k] + follows[k, j]
                    if t < n - 1:
                        came[t + 1, j] = k
    stop, state, since = n, best_state, best_start
    while True:
        path[since:stop] = state
        if since == 0:
            return path
        state, stop = came[since, state], since
        since = began[stop - 1, state]
