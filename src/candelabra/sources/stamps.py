"""Bars stamped at their end, turned into bars stamped at their beginning: seen where it is plain, told where it is not."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.raw import NO_TIME
from candelabra.candles.timeframe import Timeframe
from candelabra.sources.layout import Stamps

__all__ = ["opened", "seen_stamps"]

_SECOND: Final = 1_000
_DAY: Final = 86_400_000


def seen_stamps(times: NDArray[np.int64], frame: Timeframe) -> Stamps:
    """Where in its bar each stamp lies: ``close`` when all are the last second or millisecond of a bar, ``month-end`` when all are the
    last day of a month; else ``open`` (a full hour may be the beginning or the end of a bar: that must be told).
    """
    known = times[times != NO_TIME]
    if not len(known):
        return "open"
    if int(frame.floor(int(known[0]))) == int(known[0]):
        return "open"
    floor = frame.floor(known)
    left = frame.next(floor) - known
    if (floor == known).any():
        return "open"
    if frame.is_calendar and (left == _DAY).all():
        return "month-end"
    return "close" if int(left[0]) <= _SECOND and bool((left == left[0]).all()) else "open"


def opened(times: NDArray[np.int64], frame: Timeframe, stamps: Stamps) -> NDArray[np.int64]:
    """Open times (ms) of bars stamped so; stamps that do not fit stay as they are, off the grid, to be refused."""
    if stamps == "open" or not len(times):
        return times
    known = times != NO_TIME
    out = times.copy()
    some = times[known]
    begun = frame.floor(some - 1)
    left = frame.next(begun) - some
    most = _DAY if stamps == "month-end" else _SECOND
    # A stamp that is right for an open time is out of place here: it is moved off the grid by a millisecond, so that it is refused.
    out[known] = np.where((left >= 0) & (left <= most), begun, np.where(frame.floor(some) == some, some + 1, some))
    return out
