"""Calendar (UTC) of the bar's close and, known ahead, of the bars that follow it: the target window."""

from __future__ import annotations

import numpy as np

from candelabra.features.bars import Array, Bars
from candelabra.features.kind import Kind, bars_parameter

__all__ = ["close_hour", "close_weekday", "target_hour", "target_weekday", "window_hours", "window_week", "window_weekend"]

_DAY_MS = 86_400_000
_WEEK_MS = 7 * _DAY_MS
_MONDAY_MS = 4 * _DAY_MS


def _waves(time_ms: Array, period_ms: float) -> tuple[Array, ...]:
    angle = 2 * np.pi * (time_ms % period_ms) / period_ms
    return np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)


def _mean_waves(start_ms: Array, end_ms: Array, period_ms: float) -> tuple[Array, ...]:
    """Means over [start, end) of two harmonics, in closed form: sine and cosine shrink by the window's sinc."""
    middle = _waves(0.5 * (start_ms + end_ms), period_ms)
    share = (end_ms - start_ms) / period_ms
    return tuple(wave * np.sinc(harmonic * share) for wave, harmonic in zip(middle, (1, 1, 2, 2), strict=True))


def _close(bars: Bars) -> Array:
    return bars.candles.close_time.astype(np.float64)


def _ahead(bars: Bars, n: int) -> Array:
    """Close time of the n-th bar after each bar's close (ms)."""
    close = bars.candles.close_time
    if not bars.timeframe.is_calendar:
        return (close + n * bars.timeframe.milliseconds).astype(np.float64)
    for _ in range(n):
        close = bars.timeframe.next(close)
    return close.astype(np.float64)


def close_hour(bars: Bars) -> tuple[Array, ...]:
    """Time of day at the close: sine and cosine, two harmonics."""
    return _waves(_close(bars), _DAY_MS)


def close_weekday(bars: Bars) -> tuple[Array, ...]:
    """Time of the week (from Monday 00:00) at the close: sine and cosine, two harmonics."""
    return _waves(_close(bars) - _MONDAY_MS, _WEEK_MS)


def target_hour(bars: Bars) -> tuple[Array, ...]:
    """Time of day in the middle of the *next* bar, known ahead."""
    return _waves(0.5 * (_close(bars) + _ahead(bars, 1)), _DAY_MS)


def target_weekday(bars: Bars) -> tuple[Array, ...]:
    """Time of the week in the middle of the *next* bar, known ahead."""
    return _waves(0.5 * (_close(bars) + _ahead(bars, 1)) - _MONDAY_MS, _WEEK_MS)


def window_hours(bars: Bars, n: int) -> tuple[Array, ...]:
    """Daily harmonics averaged over the next ``n`` bars, known ahead (0 over whole days)."""
    return _mean_waves(_close(bars), _ahead(bars, n), _DAY_MS)


def window_week(bars: Bars, n: int) -> tuple[Array, ...]:
    """Weekly harmonics averaged over the next ``n`` bars, known ahead."""
    return _mean_waves(_close(bars) - _MONDAY_MS, _ahead(bars, n) - _MONDAY_MS, _WEEK_MS)


def window_weekend(bars: Bars, n: int) -> Array:
    """Share of the next ``n`` bars' time that lies on a Saturday or Sunday (UTC), known ahead."""
    start, end = _close(bars), _ahead(bars, n)
    share: Array = (_weekend_ms(end) - _weekend_ms(start)) / (end - start)
    return share


def _weekend_ms(time_ms: Array) -> Array:
    """Weekend time (ms) since the first Monday of 1970."""
    weeks, rest = np.divmod(time_ms - _MONDAY_MS, _WEEK_MS)
    return np.asarray(weeks * (2 * _DAY_MS) + np.maximum(rest - 5 * _DAY_MS, 0.0))


_WAVES = ("sin1", "cos1", "sin2", "cos2")
CLOSE_HOUR = Kind("close_hour", close_hour, "sin, cos of 1 and 2 cycles per day at the close", parts=_WAVES)
CLOSE_WEEKDAY = Kind("close_weekday", close_weekday, "sin, cos of 1 and 2 cycles per week at the close", parts=_WAVES)
TARGET_HOUR = Kind("target_hour", target_hour, "sin, cos of 1 and 2 cycles per day in the middle of the next bar", parts=_WAVES)
TARGET_WEEKDAY = Kind("target_weekday", target_weekday, "sin, cos of 1 and 2 cycles per week in the middle of the next bar", parts=_WAVES)
WINDOW_HOURS = Kind("window_hours", window_hours, "daily harmonics averaged over the next n bars", bars_parameter(6), _WAVES, memory=0)
WINDOW_WEEK = Kind("window_week", window_week, "weekly harmonics averaged over the next n bars", bars_parameter(24), _WAVES, memory=0)
WINDOW_WEEKEND = Kind(
    "window_weekend", window_weekend, "share of the next n bars' time on Saturday or Sunday", bars_parameter(24), memory=0
)
