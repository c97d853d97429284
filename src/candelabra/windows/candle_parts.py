"""The next candle in parts that can take any value and still make a valid candle; and back."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.candles.frame import Candles
from candelabra.errors import DataError

__all__ = ["PARTS", "CandleValues", "candle_parts", "candles_from_parts"]

PARTS: Final = ("opening_jump", "body", "above", "below", "volume")
"""Columns: log(open / close before), log(close / open), log(high / body's top), log(body's bottom / low), log(1 + volume / reference)."""

_LIMIT: Final = 20.0


class CandleValues(NamedTuple):
    """Columns of candles, each float64 ``(n,)``."""

    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]


def candle_parts(candles: Candles, reference_volume: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Each candle relative to the close before it: float64 ``(bars, 5)``, columns `PARTS`; the first row's jump is 0.

    ``reference_volume`` ``(bars,)`` or a number, above 0: known *before* the bar (a trailing mean), so that the parts can be forecast.
    Above, below and volume are never negative. Raises DataError for a reference that is not above 0.
    """
    reference = _reference(reference_volume)
    o, h, lo, c = (np.log(v) for v in (candles.open, candles.high, candles.low, candles.close))
    before = np.concatenate([o[:1], c[:-1]])
    return np.column_stack([o - before, c - o, h - np.maximum(o, c), np.minimum(o, c) - lo, np.log1p(candles.volume / reference)])


def candles_from_parts(parts: ArrayLike, close_before: ArrayLike, reference_volume: ArrayLike = 1.0) -> CandleValues:
    """The candles that parts ``(n, 5)`` describe, each after its own ``close_before`` ``(n,)``: always valid ones.

    Whatever a model says is cut to what a candle can be: ranges and volume at 0 from below, every log at 20 in size (a factor of 485
    million). Inverse of `candle_parts` to rounding. Raises DataError for parts that are not finite or prices and references not above 0.

    >>> values = candles_from_parts([[0.0, 0.01, -3.0, 0.02, -1.0]], [100.0])
    >>> bool(values.high[0] == values.close[0]), bool(values.low[0] < 100), float(values.volume[0])
    (True, True, 0.0)
    """
    table = np.atleast_2d(np.asarray(parts, np.float64))
    start = np.broadcast_to(np.asarray(close_before, np.float64), table.shape[:1])
    reference = _reference(reference_volume)
    if table.shape[1] != len(PARTS) or not np.isfinite(table).all():
        raise DataError(
            f"candle parts must be finite numbers ({', '.join(PARTS)}) a row, got shape {table.shape}: check the model's output"
        )
    if not (np.isfinite(start) & (start > 0)).all():
        raise DataError("the close before must be a price above 0: give the close of the last closed bar")
    jump, body = (np.clip(table[:, k], -_LIMIT, _LIMIT) for k in (0, 1))
    above, below, volume = (np.clip(table[:, k], 0.0, _LIMIT) for k in (2, 3, 4))
    least = np.finfo(np.float64).tiny
    open_ = np.maximum(start * np.exp(jump), least)
    close = np.maximum(open_ * np.exp(body), least)
    high = np.maximum(open_, close) * np.exp(above)
    low = np.maximum(np.minimum(open_, close) * np.exp(-below), least)
    return CandleValues(open_, high, low, close, np.expm1(volume) * reference)


def _reference(reference_volume: ArrayLike) -> NDArray[np.float64]:
    reference = np.asarray(reference_volume, np.float64)
    if not (np.isfinite(reference) & (reference > 0)).all():
        raise DataError("the reference volume must be above 0 and finite: give a trailing mean with a floor")
    return reference
