"""Times of labels against the grid of bars: what is off it, and by what mistake all of a series are off at once."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import format_time
from candelabra.candles.raw import NO_TIME
from candelabra.candles.timeframe import Timeframe
from candelabra.regimes.label_rows import Flaw, LabelRows

__all__ = ["off_grid", "snapped"]

_QUARTER: Final = 900_000
_HOUR: Final = 3_600_000
_MOST_ZONE: Final = 14 * _HOUR
_SEASON: Final = 0.15
_ENOUGH: Final = 2
"""Times that must agree before their common offset is called a time zone's."""


def off_grid(rows: LabelRows, group: NDArray[np.int64], frame: Timeframe, market: str) -> list[Flaw]:
    """Flaws of the rows ``group`` whose start or end is no open time of ``frame`` (UTC); they are marked as not good.

    One mistake of all is said once: times in another zone than UTC, ends that are given as the last moment of a segment.
    """
    start, end = rows.start[group], rows.end[group]
    there = end != NO_TIME
    start_off = start - frame.floor(start)
    end_off = np.where(there, end - frame.floor(np.where(there, end, 0)), 0)
    bad = (start_off != 0) | (end_off != 0)
    if not bad.any():
        return []
    first = int(group[int(np.argmax(bad))])
    rows.good[group[bad]] = False
    left = (frame.next(frame.floor(np.where(there, end, 0))) - end)[there]
    if not start_off.any() and there.any() and len(set(left.tolist())) == 1 and 0 < int(left[0]) <= 60_000:
        text = f"{rows.name(first)}: every end of {market} lies {_length(int(left[0]))} before a bar of {frame} closes ({len(left)} rows)"
        remedy = "`end` is the open time of the first bar after the segment, as in start <= t < end: write that"
        return [Flaw("inclusive end", int(rows.row[first]), text, remedy, int(bad.sum()))]
    offsets = np.concatenate([start_off, end_off[there]])
    zone = _zone(offsets, frame)
    if zone is not None and len(offsets) >= _ENOUGH:
        text = (
            f"{rows.name(first)}: all {len(offsets)} times of {market} lie {zone} after a bar of {frame} opens in UTC "
            f"({format_time(int(rows.start[first]))}): they look like times of another zone"
        )
        remedy = "write when bars open in UTC; times without a zone can be given one (--time-zone Europe/Berlin)"
        return [Flaw("time zone", int(rows.row[first]), text, remedy, int(bad.sum()))]
    what, time = ("start", int(rows.start[first])) if rows.start[first] != frame.floor(rows.start[first]) else ("end", int(rows.end[first]))
    floor = int(frame.floor(time))
    text = f"{rows.name(first)}: {what} {format_time(time)} of {market} is no open time of a {frame} bar"
    text += f" ({int(bad.sum())} such rows)" if bad.sum() > 1 else ""
    remedy = f"the bars about it open at {format_time(floor)} and {format_time(int(frame.next(floor)))} (UTC): give one of these, or the "
    remedy += "timeframe the labels were drawn at"
    return [Flaw("off the grid", int(rows.row[first]), text, remedy, int(bad.sum()))]


def snapped(rows: LabelRows, group: NDArray[np.int64], frame: Timeframe) -> list[Flaw]:
    """Regions drawn by hand put on the bars whose stamps lie in them, their end included; where two share a bar, it is the later one's.

    Changes ``rows`` in place; instants go to the nearest bar. The flaw is a region that holds no stamp.
    """
    flaws = []
    start, end = rows.start[group], rows.end[group]
    region = end != NO_TIME
    floor = frame.floor(start)
    near = np.where(start - floor <= frame.next(floor) - start, floor, frame.next(floor))
    rows.start[group] = np.where(region, frame.ceil(start), near)
    after = frame.next(frame.floor(np.where(region, end, 0)))
    rows.end[group] = np.where(region, after, NO_TIME)
    regions = group[region]
    for annotator in sorted({rows.annotator[int(k)] for k in regions}):
        own = np.array([k for k in regions if rows.annotator[int(k)] == annotator], np.int64)
        own = own[np.argsort(rows.start[own], kind="stable")]
        shared = frame.next(rows.start[own][1:]) == rows.end[own][:-1]
        rows.end[own[:-1][shared]] = rows.start[own[1:][shared]]
    for k in regions[rows.end[regions] <= rows.start[regions]]:
        rows.good[k] = False
        text = f"{rows.name(int(k))}: the region drawn at {format_time(int(rows.start[k]))} holds no {frame} bar of its own"
        flaws.append(Flaw("empty", int(rows.row[k]), text, "draw it over at least one point, or delete it"))
    return flaws


def _zone(offsets: NDArray[np.int64], frame: Timeframe) -> str | None:
    """The one offset of all times in words, or the two of a zone with summer time; None where they are no zone's."""
    seen = sorted(set(offsets.tolist()))
    if 0 in seen and len(seen) == 1:
        return None
    length = frame.milliseconds
    summer = len(seen) == 2 and seen[1] - seen[0] in (_HOUR, length - _HOUR)
    # a season is months long: one stray hour among many rows is a slip of the pen, not a zone
    summer = summer and min(int((offsets == one).sum()) for one in seen) >= _SEASON * len(offsets)
    if not (len(seen) == 1 or summer) or any(one % _QUARTER for one in seen):
        return None
    if not frame.is_calendar and all(_MOST_ZONE < one < length - _MOST_ZONE for one in seen):
        return None
    return " or ".join(_length(one) for one in seen if one) + (" (summer and winter)" if summer else "")


def _length(span_ms: int) -> str:
    for unit, size in (("h", _HOUR), ("min", 60_000), ("s", 1_000)):
        if span_ms % size == 0:
            return f"{span_ms // size} {unit}"
    return f"{span_ms / _HOUR:.4g} h" if span_ms > _HOUR else f"{span_ms} ms"
