"""How much was traded, always relative to what was traded lately: volume has no fixed scale."""

from __future__ import annotations

from typing import Final

import numpy as np

from candelabra.features.bars import Array, Bars
from candelabra.features.kernels import window_median
from candelabra.features.kind import Kind, Parameter, bars_parameter

__all__ = ["ad", "amihud", "obv", "rel_volume", "volume_zscore", "vwap_ratio"]

LEAST_SHARE: Final = 1e-4
"""A bar with less than this share of the usual volume (or none) counts as having this share."""


def rel_volume(bars: Bars, n: int) -> Array:
    """``log(volume / mean volume of the last n bars)``; 0 where nothing was traded over all of them."""
    return bars.known(_log_share(bars.candles.volume, _sum(bars, n) / n), n - 1, n)


def rel_volume_median(bars: Bars, n: int) -> Array:
    """``log(volume / median volume of the last n bars)``; 0 where the median is 0."""
    median = bars.once(("median volume", n), lambda: window_median(bars.candles.volume, n))
    return bars.known(_log_share(bars.candles.volume, median), n - 1, n)


def rel_dollar_volume(bars: Bars, a: int, b: int) -> Array:
    """``log(mean of volume x close over a bars / over b bars)``; 0 where nothing was traded."""
    short = bars.sum_over("dollars", lambda: bars.candles.volume * bars.candles.close, a) / a
    long = bars.sum_over("dollars", lambda: bars.candles.volume * bars.candles.close, b) / b
    return bars.known(_log_share(short, long), max(a, b) - 1, max(a, b))


def volume_zscore(bars: Bars, n: int) -> Array:
    """``(volume - mean) / standard deviation`` over the last ``n`` bars; 0 where volume does not vary."""
    mean = _sum(bars, n) / n
    squares = bars.sum_over("squared volume", lambda: bars.candles.volume**2, n) / n
    variance = squares - mean**2
    varies = variance > 1e-9 * squares
    score = np.where(varies, (bars.candles.volume - mean) / np.sqrt(np.where(varies, variance, 1.0)), 0.0)
    return bars.known(score, n - 1, n)


def amihud(bars: Bars, a: int, b: int) -> Array:
    """Illiquidity now against usual: ``log(sum |return| / sum volume x close over a bars)`` minus the same over b bars.

    After Amihud (2002), as a ratio of sums so that a bar without trades does no harm; 0 where a side is empty.
    """

    def illiquidity(n: int) -> Array:
        moved = bars.sum_over("absolute return", lambda: np.abs(bars.returns), n)
        traded = bars.sum_over("dollars", lambda: bars.candles.volume * bars.candles.close, n)
        some = (moved > 0) & (traded > 0)
        return np.where(some, np.log(np.where(some, moved, 1.0) / np.where(some, traded, 1.0)), np.nan)

    now, usual = illiquidity(a), illiquidity(b)
    both = ~(np.isnan(now) | np.isnan(usual))
    return bars.known(np.where(both, now - usual, 0.0), max(a, b))


def obv(bars: Bars, n: int) -> Array:
    """On-balance volume gained over ``n`` bars, as a share of the volume traded: in [-1, 1]."""
    signed = bars.sum_over("signed volume", lambda: np.sign(bars.returns) * bars.candles.volume, n)
    return bars.known(_share(signed, _sum(bars, n)), n)


def ad(bars: Bars, n: int) -> Array:
    """Accumulation/distribution gained over ``n`` bars, as a share of the volume traded (Chaikin money flow): in [-1, 1]."""

    def flow() -> Array:
        candles = bars.candles
        span = candles.high - candles.low
        moving = span > 0
        place = np.where(moving, (2 * candles.close - candles.high - candles.low) / np.where(moving, span, 1.0), 0.0)
        return place * candles.volume

    return bars.known(_share(bars.sum_over("money flow", flow, n), _sum(bars, n)), n - 1, n)


def vwap_ratio(bars: Bars, n: int) -> Array:
    """``log(close / volume-weighted mean close of n bars)``; 0 where nothing was traded."""
    dollars = bars.sum_over("dollars", lambda: bars.candles.volume * bars.candles.close, n)
    volume = _sum(bars, n)
    some = dollars > 0
    ratio = np.where(some, bars.log_close - np.log(np.where(some, dollars, 1.0) / np.where(some, volume, 1.0)), 0.0)
    return bars.known(ratio, n - 1, n)


def _sum(bars: Bars, n: int) -> Array:
    return bars.sum_over("volume", lambda: bars.candles.volume, n)


def _share(part: Array, whole: Array) -> Array:
    some = whole > 0
    return np.where(some, part / np.where(some, whole, 1.0), 0.0)


def _log_share(part: Array, usual: Array) -> Array:
    some = usual > 0
    return np.where(some, np.log(np.maximum(part / np.where(some, usual, 1.0), LEAST_SHARE)), 0.0)


_TWO = (Parameter("a", default=24), Parameter("b", default=168))
REL_VOLUME = Kind("rel_volume", rel_volume, "log(volume / mean volume over n bars)", bars_parameter(24))
REL_VOLUME_MEDIAN = Kind("rel_volume_median", rel_volume_median, "log(volume / median volume over n bars)", bars_parameter(168))
REL_DOLLAR_VOLUME = Kind("rel_dollar_volume", rel_dollar_volume, "log(mean volume x close over a / over b bars)", _TWO)
VOLUME_ZSCORE = Kind("volume_zscore", volume_zscore, "(volume - mean) / sd over n bars", bars_parameter(168, least=2))
AMIHUD = Kind("amihud", amihud, "log(sum |return| / sum dollars) over a bars minus over b bars", _TWO, source="Amihud 2002")
OBV = Kind("obv", obv, "sum sign(return) volume / sum volume over n bars", bars_parameter(24), source="Granville 1963")
AD = Kind("ad", ad, "sum (2c - h - l)/(h - l) volume / sum volume over n bars", bars_parameter(24), source="Chaikin")
VWAP_RATIO = Kind("vwap_ratio", vwap_ratio, "log(close / volume-weighted mean close over n bars)", bars_parameter(24))
