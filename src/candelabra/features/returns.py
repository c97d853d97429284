"""Where the price went and the shape of the bar: log returns over several spans, bodies, wicks and ranges, gaps in time."""

from __future__ import annotations

import numpy as np

from candelabra.features.bars import Array, Bars
from candelabra.features.kernels import window_max, window_min
from candelabra.features.kind import Kind, bars_parameter
from candelabra.features.volatility import LEAST_SD, level_of, level_warm_up

__all__ = ["close_position", "log_return", "scaled_return"]

GAP_CAP = 168
"""Bars after which a gap is forgotten by ``bars_since_gap``."""


def log_return(bars: Bars, n: int) -> Array:
    """``log(close / close n present bars earlier)``: over a bridged gap it spans more time, which channel ``gap`` tells."""
    return bars.known(_change(bars.log_close, n) if n > 1 else bars.returns.copy(), n)


def scaled_return(bars: Bars, n: int) -> Array:
    """``return(n) / (exp(level) sqrt(elapsed bars))``: in standard deviations at the causal current level."""
    size: Array = np.exp(level_of(bars)) * np.sqrt(bars.elapsed_over(n))
    return log_return(bars, n) / size


def body(bars: Bars) -> Array:
    """``log(close / open)``."""
    return bars.log_close - bars.log_open


def upper_wick(bars: Bars) -> Array:
    """``log(high / max(open, close))``, never negative."""
    return bars.log_high - np.maximum(bars.log_open, bars.log_close)


def lower_wick(bars: Bars) -> Array:
    """``log(min(open, close) / low)``, never negative."""
    return np.minimum(bars.log_open, bars.log_close) - bars.log_low


def bar_range(bars: Bars) -> Array:
    """``log(high / low)``, never negative."""
    return bars.log_high - bars.log_low


def opening_jump(bars: Bars) -> Array:
    """``log(open / close before)``."""
    return bars.known(bars.overnight.copy(), 1)


def close_position(bars: Bars, n: int) -> Array:
    """Where the close lies in the range of the last ``n`` bars: -1 at the low, 1 at the high, 0 in the middle or for flat prices."""
    top = window_max(bars.log_high, n)
    bottom = window_min(bars.log_low, n)
    span = top - bottom
    position = np.where(span > LEAST_SD, (2 * bars.log_close - top - bottom) / np.maximum(span, LEAST_SD), 0.0)
    return bars.known(position, n - 1, n)


def gap(bars: Bars) -> Array:
    """``log(1 + absent bars just before this one)``; 0 without a gap."""
    return np.log(bars.elapsed)


def bars_since_gap(bars: Bars) -> Array:
    """Nearness of the last gap: 1 at the first bar after one, falling to 0 after 168 bars; 0 when there was none."""
    rows = np.arange(len(bars))
    after = np.where(bars.elapsed > 1, rows, -GAP_CAP)
    since = np.minimum(rows - np.maximum.accumulate(after), GAP_CAP) if len(rows) else rows
    return np.asarray(1 - np.log1p(since) / np.log1p(GAP_CAP))


def _change(values: Array, n: int) -> Array:
    out = np.empty(len(values))
    out[:n] = 0.0
    np.subtract(values[n:], values[:-n], out=out[n:])
    return out


RETURN = Kind("return", log_return, "log(close / close n bars earlier)", bars_parameter(1))
SCALED_RETURN = Kind(
    "scaled_return",
    scaled_return,
    "return(n) / (exp(level) sqrt(elapsed bars))",
    bars_parameter(1),
    memory=lambda timeframe, n: max(n, level_warm_up(timeframe)),
)
BODY = Kind("body", body, "log(close / open)")
UPPER_WICK = Kind("upper_wick", upper_wick, "log(high / max(open, close))")
LOWER_WICK = Kind("lower_wick", lower_wick, "log(min(open, close) / low)")
RANGE = Kind("range", bar_range, "log(high / low)")
OPENING_JUMP = Kind("opening_jump", opening_jump, "log(open / close before)", memory=1)
CLOSE_POSITION = Kind(
    "close_position", close_position, "(2 log c - log max h - log min l) / log(max h / min l) over n bars", bars_parameter(1)
)
GAP = Kind("gap", gap, "log(1 + absent bars just before)", memory=1)
BARS_SINCE_GAP = Kind("bars_since_gap", bars_since_gap, "1 - log(1 + bars since the last gap, at most 168) / log 169", memory=GAP_CAP + 1)
