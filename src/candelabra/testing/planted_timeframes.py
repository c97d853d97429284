"""Planted defects where two timeframes meet (see `planted`); every one is wrong on purpose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.resample import resample
from candelabra.testing.planted_features import Columns, Floats


def _at(times: NDArray[Any], rows: NDArray[Any], values: Floats) -> Floats:
    """The value of the last of ``times`` at or before each of ``rows``; NaN before the first."""
    index = np.searchsorted(times, rows, "right") - 1
    return np.where(index >= 0, values[np.maximum(index, 0)], np.nan)


def coarse_before_close(candles: Candles) -> Columns:
    """Every hour of a 4h bar sees the close that the bar will have."""
    group = candles.open_time // 14_400_000
    last = np.append(np.flatnonzero(np.diff(group)), len(group) - 1)
    close = candles.close[last][np.searchsorted(group[last], group)]
    return {"return_1": np.diff(np.log(candles.close), prepend=np.nan), "close_4h": np.log(candles.close / close)}


def open_time_join(market: Mapping[str, Candles]) -> Columns:
    """The day's return joined to its hours on open times: known at one in the morning."""
    hours, days = market["1h"], market["1d"]
    change = np.diff(np.log(days.close), prepend=np.nan)
    return {"return_1d": _at(days.open_time, hours.open_time, change)}


def time_zone(market: Mapping[str, Candles]) -> Columns:
    """Close times of the 4h bars come from a clock that is two hours behind UTC."""
    hours, four = market["1h"], market["4h"]
    local = four.close_time - 2 * 3_600_000
    return {"close_4h_local": np.log(hours.close) - _at(local, hours.close_time, np.log(four.close))}


def label_left(candles: Candles) -> Columns:
    """4h ranges, labelled with the start of their bar and filled forward over its hours."""
    four = resample(candles, "4h")
    return {"range_4h": _at(four.open_time, candles.open_time, np.log(four.high / four.low))}


def double_shift(candles: Candles) -> Columns:
    """Daily returns moved by a day so that nothing leaks, and then joined on close times, which needed no moving."""
    days = resample(candles, "1d")
    change = np.diff(np.log(days.close), prepend=np.nan)
    shifted = np.append(np.nan, change[:-1])
    return {"return_1d": _at(days.close_time, candles.close_time, shifted)}


def interpolated(candles: Candles) -> Columns:
    """4h closes at their right times, and between them a straight line to the next."""
    four = resample(candles, "4h")
    line = np.interp(candles.close_time, four.close_time, np.log(four.close))
    return {"line_4h": np.log(candles.close) - line}


def nearest(market: Mapping[str, Candles]) -> Columns:
    """4h closes by the nearest close time instead of the last one."""
    hours, four = market["1h"], market["4h"]
    off = np.abs(hours.close_time[:, None] - four.close_time[None, :])
    return {"close_4h": np.log(hours.close / four.close[np.argmin(off, axis=1)])}


def range_of_day(candles: Candles) -> Columns:
    """Where the close lies between the day's low and high, from the day's first hour on."""
    _, day = np.unique(candles.open_time // 86_400_000, return_inverse=True)
    high, low = np.full(day.max() + 1, -np.inf), np.full(day.max() + 1, np.inf)
    np.maximum.at(high, day, candles.high)
    np.minimum.at(low, day, candles.low)
    return {"day_position": (candles.close - low[day]) / (high[day] - low[day])}


def coarse_one_late(market: Mapping[str, Candles]) -> Columns:
    """The last 4h bar but one: closed, and no longer news."""
    hours, four = market["1h"], market["4h"]
    change = np.diff(np.log(four.close), prepend=np.nan)
    before = np.append(np.nan, change[:-1])
    return {"return_1": np.diff(np.log(hours.close), prepend=np.nan), "return_4h": _at(four.close_time, hours.close_time, before)}
