"""As-of alignment: which bar of another timeframe was the last one closed at each decision time."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from candelabra.errors import DataError

__all__ = ["asof_index"]


def asof_index(decision_time_ms: ArrayLike, close_time_ms: ArrayLike) -> NDArray[np.int32]:
    """Row of the last bar that is closed at each decision time, -1 before the first: int32 ``(decisions,)``.

    ``decision_time_ms`` int64 ``(decisions,)`` must not fall, ``close_time_ms`` int64 ``(bars,)`` must rise strictly (DataError
    otherwise). A bar counts from its close time on (close <= decision); never join on open times, which leaks the bar still forming.

    >>> asof_index([100, 200, 300], [150, 300]).tolist()
    [-1, 0, 1]
    """
    decisions = np.ascontiguousarray(decision_time_ms, dtype=np.int64)
    closes = np.ascontiguousarray(close_time_ms, dtype=np.int64)
    rows = np.empty(len(decisions), np.int32)
    bad_decision, bad_close = _fill_asof(decisions, closes, rows)
    if bad_decision >= 0:
        raise DataError(
            f"decision time {bad_decision} ({decisions[bad_decision]} ms) is earlier than the one before it: as-of alignment walks "
            "forward once, sort the base bars by time"
        )
    if bad_close >= 0:
        raise DataError(
            f"close time {bad_close} ({closes[bad_close]} ms) is not later than the one before it: as-of alignment needs strictly "
            "rising close times, sort the bars and drop duplicates"
        )
    return rows


@njit(cache=True)
def _fill_asof(decisions: NDArray[np.int64], closes: NDArray[np.int64], rows: NDArray[np.int32]) -> tuple[int, int]:
    last = -1
    bars = len(closes)
    for i in range(len(decisions)):
        now = decisions[i]
        if i > 0 and now < decisions[i - 1]:
            return i, -1
        while last + 1 < bars and closes[last + 1] <= now:
            last += 1
            if last > 0 and closes[last] <= closes[last - 1]:
                return -1, last
        rows[i] = last
    return -1, -1
