"""As-of alignment: which bar of another timeframe was the last one closed at each decision time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from candelabra.errors import DataError

__all__ = ["asof_index", "asof_indices"]


def asof_index(decision_time_ms: ArrayLike, close_time_ms: ArrayLike) -> NDArray[np.int32]:
    """Row of the last bar that is closed at each decision time, -1 before the first: int32 ``(decisions,)``.

    ``decision_time_ms`` int64 ``(decisions,)`` must not fall, ``close_time_ms`` int64 ``(bars,)`` must rise strictly (DataError
    otherwise). A bar counts from its close time on (close <= decision); never join on open times, which leaks the bar still forming.

    >>> asof_index([100, 200, 300], [150, 300]).tolist()
    [-1, 0, 1]
    """
    return asof_indices(decision_time_ms, {"": close_time_ms})[""]


def asof_indices(decision_time_ms: ArrayLike, close_times_ms: Mapping[str, ArrayLike]) -> dict[str, NDArray[np.int32]]:
    """:func:`asof_index` of several timeframes by name, at once: the decisions are looked at and memory is asked for only once.

    >>> asof_indices([100, 200, 300], {"2m": [150, 300], "5m": [300]})["5m"].tolist()
    [-1, -1, 0]
    """
    decisions = np.ascontiguousarray(decision_time_ms, dtype=np.int64)
    if _falls(decisions[1:], decisions[:-1]):
        bad = int(np.argmax(np.diff(decisions) < 0)) + 1
        raise DataError(
            f"decision time {bad} ({decisions[bad]} ms) is earlier than the one before it: as-of alignment walks "
            "forward once, sort the base bars by time"
        )
    table = np.empty((len(close_times_ms), len(decisions)), np.int32)
    for rows, (name, given) in zip(table, close_times_ms.items(), strict=True):
        closes = np.ascontiguousarray(given, dtype=np.int64)
        bad = _fill_asof(decisions, closes, rows)
        if bad >= 0:
            raise DataError(
                f"close time {bad} ({closes[bad]} ms){f' of {name}' if name else ''} is not later than the one before it: as-of alignment "
                "needs strictly rising close times, sort the bars and drop duplicates"
            )
    return dict(zip(close_times_ms, table, strict=True))


@njit(cache=True)
def _falls(later: NDArray[np.int64], sooner: NDArray[np.int64]) -> bool:
    falls = 0
    for i in range(len(later)):
        falls += later[i] < sooner[i]
    return falls > 0


@njit(cache=True)
def _fill_asof(decisions: NDArray[np.int64], closes: NDArray[np.int64], rows: NDArray[np.int32]) -> int:
    """Fills ``rows`` run by run, each run tried at the length of the one before; -1, or the row of a close that does not rise."""
    n, bars = len(decisions), len(closes)
    last, first, length = -1, 0, 1
    while first < n:
        while last + 1 < bars and closes[last + 1] <= decisions[first]:
            last += 1
            if last > 0 and closes[last] <= closes[last - 1]:
                return last
        end = n
        if last + 1 < bars:
            coming = closes[last + 1]
            end = min(first + length, n)
            if decisions[end - 1] >= coming or (end < n and decisions[end] < coming):
                end = first + 1
                while end < n and decisions[end] < coming:
                    end += 1
        rows[first:end] = last
        first, length = end, end - first
    return -1
