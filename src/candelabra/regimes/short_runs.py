"""Runs of labels too short to be a regime are given to the regime before them, and each bar says when that was known."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["NEVER", "without_short_runs"]

NEVER: Final = int(np.iinfo(np.int64).max)
"""``known_at`` of what is not known at all."""


def without_short_runs(code: NDArray[np.int16], known_at: NDArray[np.int64], least: int) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Labels ``(n,)`` in which each run has ``least`` bars or more, and when each of them was known (ms, `NEVER` where unlabelled).

    A shorter run takes the label of the long run before it, and is unlabelled where there is none. A run is known to be long when its
    ``least``-th bar is, and to be short when the bar after it is; so the label of a bar is read from bars known by its own ``known_at``
    alone. Unlabelled bars (code -1) end a run; those that are only unknown yet (`NEVER`) leave the short run before them undecided.

    >>> code, known = without_short_runs(np.array([0, 0, 0, 1, 0, 0, 1, 1], np.int16), np.arange(8) * 10, 3)
    >>> code.tolist(), known[:6].tolist()
    ([0, 0, 0, 0, 0, 0, -1, -1], [20, 20, 20, 40, 60, 60])
    """
    if least <= 1:
        unlabelled = (code < 0) | (known_at == NEVER)
        return np.where(unlabelled, -1, code).astype(np.int16), np.where(unlabelled, NEVER, known_at)
    return _merged(code, known_at, least, NEVER)


@njit(cache=True)
def _merged(code: NDArray[np.int16], known_at: NDArray[np.int64], least: int, never: int) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    n = len(code)
    out, known = np.full(n, -1, np.int16), np.full(n, never, np.int64)
    label, label_known = -1, 0  # the long run before, and when all that it took to say so was known
    first = 0
    while first < n:
        stop = first + 1
        while stop < n and code[stop] == code[first]:
            stop += 1
        if code[first] < 0:
            label, label_known = -1, 0
        elif stop - first >= least:
            label, label_known = code[first], 0
            for t in range(first, stop):
                label_known = max(label_known, known_at[t])
                if t == first + least - 1:
                    for back in range(first, t + 1):
                        out[back], known[back] = label, label_known
                elif t >= first + least:
                    out[t], known[t] = label, label_known
        elif label >= 0:
            for t in range(first, stop):
                label_known = max(label_known, known_at[t])
            label_known = max(label_known, known_at[stop] if stop < n else never)
            for t in range(first, stop):
                out[t], known[t] = label, label_known
        first = stop
    for t in range(n):
        if known[t] == never:
            out[t] = -1
    return out, known
