"""Timeframes in CCXT's spelling: ``1s 1m 5m 1h 4h 1d 1w 1M``; weeks start Monday 00:00 UTC, months are calendar months."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, total_ordering
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import UsageError

__all__ = ["Timeframe", "timeframe"]

_UNIT_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_MONDAY_MS: Final = 4 * 86_400_000  # 1970-01-05 was a Monday; the epoch itself a Thursday
_MEAN_MONTH_MS: Final = 2_629_746_000  # Gregorian mean month, only used to compare lengths
_PATTERN: Final = re.compile(r"([1-9]\d*)([smhdwM])")


@total_ordering
@dataclass(frozen=True)
class Timeframe:
    """The length of a bar, e.g. ``Timeframe("4h")``; compares by length and knows where bars begin and end.

    Raises UsageError for a spelling that is not CCXT's.

    >>> Timeframe("1h") < Timeframe("4h")
    True
    >>> int(Timeframe("4h").floor(1_700_000_000_000))
    1699992000000
    >>> Timeframe("1w").divides_into(Timeframe("1M"))
    False
    """

    name: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _PATTERN.fullmatch(self.name):
            raise UsageError(
                f"{self.name!r} is not a timeframe: write a number and one of s, m, h, d, w, M, "
                "as in 1m, 15m, 1h, 4h, 1d, 1w, 1M (m = minutes, M = months)"
            )

    @cached_property
    def count(self) -> int:
        """How many units a bar is long."""
        return int(self.name[:-1])

    @property
    def unit(self) -> str:
        """One of ``s m h d w M``."""
        return self.name[-1]

    @property
    def is_calendar(self) -> bool:
        """Whether bars differ in length (months)."""
        return self.unit == "M"

    @cached_property
    def milliseconds(self) -> int:
        """Length of a bar in ms; the mean length for months (to compare, not to step)."""
        return self.count * (_MEAN_MONTH_MS if self.is_calendar else _UNIT_MS[self.unit])

    def floor(self, time_ms: int | NDArray[np.int64]) -> NDArray[np.int64]:
        """Open time (ms) of the bar that holds each time (ms)."""
        t = np.asarray(time_ms, dtype=np.int64)
        if self.is_calendar:
            months = t.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
            return _month_start_ms(months // self.count * self.count)
        offset = _MONDAY_MS if self.unit == "w" else 0
        step = self.milliseconds
        return (t - offset) // step * step + offset

    def next(self, open_time_ms: int | NDArray[np.int64]) -> NDArray[np.int64]:
        """Close time (ms) of the bars that open at ``open_time_ms``: the open time of the bar after."""
        t = np.asarray(open_time_ms, dtype=np.int64)
        if self.is_calendar:
            months = t.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)
            return _month_start_ms(months + self.count)
        return t + self.milliseconds

    def after(self, time_ms: int | NDArray[np.int64], bars: int) -> NDArray[np.int64]:
        """The edge ``bars`` bars after each edge (an open or close time of the grid, ms).

        >>> int(Timeframe("1M").after(0, 2)) // 86_400_000
        59
        """
        t = np.asarray(time_ms, dtype=np.int64)
        if self.is_calendar:
            return _month_start_ms(t.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64) + bars * self.count)
        return t + bars * self.milliseconds

    def ceil(self, time_ms: int | NDArray[np.int64]) -> NDArray[np.int64]:
        """The first open time at or after each time."""
        t = np.asarray(time_ms, dtype=np.int64)
        floor = self.floor(t)
        return np.where(floor == t, t, self.next(floor))

    def index(self, open_time_ms: int | NDArray[np.int64]) -> NDArray[np.int64]:
        """A running bar number: consecutive bars differ by exactly one, also for months."""
        t = np.asarray(open_time_ms, dtype=np.int64)
        if self.is_calendar:
            return t.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64) // self.count
        return (t - (_MONDAY_MS if self.unit == "w" else 0)) // self.milliseconds

    def divides_into(self, coarser: Timeframe) -> bool:
        """Whether every bar of ``coarser`` is made of whole bars of this timeframe."""
        if coarser.is_calendar:
            if self.is_calendar:
                return coarser.count % self.count == 0
            return _UNIT_MS["d"] % self.milliseconds == 0
        return not self.is_calendar and (
            coarser.milliseconds % self.milliseconds == 0
            and (self.unit != "w" or coarser.unit == "w")
            and (coarser.unit != "w" or self.unit == "w" or _MONDAY_MS % self.milliseconds == 0)
        )

    def __lt__(self, other: Timeframe) -> bool:
        return self.milliseconds < other.milliseconds

    def __str__(self) -> str:
        return self.name


def timeframe(value: str | Timeframe) -> Timeframe:
    """``value`` as a Timeframe."""
    return value if isinstance(value, Timeframe) else Timeframe(value)


def _month_start_ms(months: NDArray[np.int64]) -> NDArray[np.int64]:
    return cast(
        "NDArray[np.int64]",
        np.asarray(months, dtype=np.int64).astype("datetime64[M]").astype("datetime64[ms]").astype(np.int64),
    )
