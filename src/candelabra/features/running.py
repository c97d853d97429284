"""`RunningWindows`: window statistics of series that grow, the same code for a whole history and for one more bar, to the bit.

Window sums are added up in blocks counted from the first bar (`kernels.window_sum`); what is kept reaches back to the beginning of the
block before, so that the newest rows are summed in the same order as in the whole history. Memory and cost of a bar are O(window).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from candelabra.errors import DataError
from candelabra.features.kernels import decayed_run, median_run, window_max, window_sum

__all__ = ["GrowingSeries", "RunningWindows"]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class GrowingSeries:
    """The newest ``new`` values of a series behind ``before`` others, and as many of these as its windows need: ``values``, newest last."""

    values: Array
    new: int
    before: int

    def sums(self, windows: Whole) -> Array:
        """`kernels.window_sum` over each window at the new rows, ``(windows, new)``."""
        return np.asarray(_sums(self.values, self.new, self.before, windows))

    def tops(self, windows: Whole) -> Array:
        """`kernels.window_max` over each window at the new rows, ``(windows, new)``."""
        return np.asarray(_tops(self.values, self.new, self.before, windows))


class RunningWindows:
    """What came before the rows at hand; new: nothing. ``reach``: the longest window. Series are told apart by their keys.

    A function that reads windows takes its series from here, and ends with `advance`.
    """

    def __init__(self, reach: int) -> None:
        self.reach, self.rows = reach, 0
        self._kept: dict[str, Array] = {}

    def counts(self, new: int) -> Whole:
        """How many rows there are at each of so many new ones, itself included."""
        return np.arange(self.rows + 1, self.rows + new + 1)

    def series(self, key: str, x: Array) -> GrowingSeries:
        """A series with its new values ``x`` behind it."""
        kept = self._kept.get(key)
        whole = np.ascontiguousarray(x) if kept is None else np.concatenate([kept, x])
        self._kept[key] = whole[max(0, len(whole) - 2 * self.reach) :]
        return GrowingSeries(whole, len(x), self.rows)

    def steps(self, key: str, x: Array, first: float) -> Array:
        """Differences from row to row; ``first``: what the first row of all is compared with."""
        kept = self._kept.get(key)
        self._kept[key] = x[-1:].copy()
        whole = np.concatenate([[first] if kept is None else kept, x])
        return np.asarray(whole[1:] - whole[:-1])

    def decayed(self, key: str, x: Array, decay: float) -> Array:
        """Exponential mean from 0: each row counts ``decay``, the mean before it the rest."""
        return np.asarray(decayed_run(x, decay, self._kept.setdefault(key, np.zeros(1))))

    def sampled_medians(self, key: str, x: Array, first: Sequence[int], every: Sequence[int], n: Sequence[int]) -> Array:
        """At each row the median of the newest ``n`` of the values in rows ``first``, ``first + every`` ..., for each row of ``x``
        ``(series, new)``; NaN before the first.
        """
        most = max(n)
        rings, ordered = (self._kept.setdefault(f"{key}, {what}", np.zeros((len(n), most))) for what in ("last", "in order"))
        state = self._kept.setdefault(f"{key}, state", np.tile([0.0, np.nan], (len(n), 1)))
        begin, step, size = (np.array(v, np.int64) for v in (first, every, n))
        return np.asarray(_sampled_medians(np.ascontiguousarray(x), self.rows, begin, step, size, rings, ordered, state))

    def advance(self, new: int) -> None:
        """The new rows are now among those before."""
        self.rows += new

    def state(self) -> dict[str, Array]:
        """All that the next row needs to know, as arrays by name."""
        return {"rows": np.array([self.rows], np.float64)} | {key: kept.copy() for key, kept in self._kept.items()}

    def resume(self, state: Mapping[str, Array]) -> None:
        """Stand where `state` was taken; DataError when it is none."""
        if "rows" not in state:
            raise DataError("these are no running windows: begin anew from the history")
        self.rows = int(state["rows"][0])
        self._kept = {key: np.array(kept, np.float64) for key, kept in state.items() if key != "rows"}


@njit(cache=True)
def _sums(values: Array, new: int, before: int, windows: Whole) -> Array:
    out = np.empty((len(windows), new))
    for i in range(len(windows)):
        n = windows[i]
        block = max(0, before // n - 1) * n
        out[i] = window_sum(values[block - (before + new - len(values)) :], n)[-new:]
    return out


@njit(cache=True)
def _tops(values: Array, new: int, before: int, windows: Whole) -> Array:
    out = np.empty((len(windows), new))
    for i in range(len(windows)):
        n = windows[i]
        block = max(0, before // n - 1) * n
        out[i] = window_max(values[block - (before + new - len(values)) :], n)[-new:]
    return out


@njit(cache=True)
def _sampled_medians(x: Array, rows: int, first: Whole, every: Whole, n: Whole, rings: Array, ordered: Array, state: Array) -> Array:
    out = np.empty_like(x)
    one = np.empty(1)
    for i in range(len(x)):
        for t in range(x.shape[1]):
            number = rows + t - first[i]
            if number >= 0 and number % every[i] == 0:
                one[0] = x[i, t]
                state[i, 1] = median_run(one, rings[i, : n[i]], ordered[i, : n[i]], state[i])[0]
            out[i, t] = state[i, 1]
    return out
