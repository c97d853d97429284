"""What the last bars looked like over several spans: the columns that trees classify regimes by.

Decisions: everything is relative to a slow causal level of volatility or to itself, so that markets can be pooled; six numbers a span
(size of the move and of the steps, clarity, straightness, evenness of the steps, place in the range), from sliding sums and extremes:
O(bars) whatever the span, and a row reads nothing after its bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.features.kernels import window_max, window_median, window_min, window_sum

__all__ = ["REFERENCE", "SPANS", "WINDOWS", "column_names", "glances", "log_returns", "multi_scale", "slow_level"]

SPANS: Final = (1, 5, 15, 30, 60, 120, 240)
WINDOWS: Final = (6, 12, 24, 36, 48, 72, 144)
REFERENCE: Final = 4_320
"""Bars whose median volatility is taken for usual."""

LEVEL_SPAN: Final = 20_000  # a level that follows regimes hides them: 1,000 bars cost 0.045 of macro-F1 on the benchmark markets
_KINDS: Final = ("move", "volatility", "z", "efficiency", "evenness", "position")
_LEAST: Final = 1e-12

Floats = NDArray[np.float64]


def column_names(spans: Sequence[int] = SPANS) -> tuple[str, ...]:
    """Names of the columns of `multi_scale`."""
    return tuple(f"{kind}({span})" for span in spans for kind in _KINDS)


def log_returns(candles: Candles) -> Floats:
    """Log return of each bar from the close before (the first: from its open), float64 ``(n,)``."""
    price = np.log(candles.close)
    return np.diff(price, prepend=np.log(candles.open[:1]))


def slow_level(returns: Floats, span: int = LEVEL_SPAN) -> Floats:
    """Volatility of a bar as an exponentially weighted root mean square of all returns up to it, float64 ``(n,)``."""
    from scipy.signal import lfilter

    decay = 2.0 / (span + 1.0)
    weight = 1.0 - (1.0 - decay) ** np.arange(1, len(returns) + 1)
    mean = lfilter([decay], [1.0, decay - 1.0], returns**2) / np.maximum(weight, _LEAST)
    return np.asarray(np.sqrt(np.maximum(mean, _LEAST**2)))


def multi_scale(candles: Candles, spans: Sequence[int] = SPANS) -> NDArray[np.float32]:
    """Columns `column_names` for each bar, float32 ``(n, 6 spans)``; rows before the longest span use what bars there are."""
    r = log_returns(candles)
    level = slow_level(r)
    columns: list[Floats] = []
    high, low, price = np.log(candles.high), np.log(candles.low), np.log(candles.close)
    for span in spans:
        count = np.minimum(np.arange(1, len(r) + 1), span)
        moved, squares, walked = window_sum(r, span), window_sum(r * r, span), window_sum(np.abs(r), span)
        root = np.sqrt(count)
        size = np.sqrt(np.maximum(squares / count, (1e-6 * level) ** 2))  # flat prices have no direction, but a level
        top, bottom = window_max(high, span), window_min(low, span)
        columns += [
            moved / (level * root),
            np.log(size / level),
            moved / (size * root),
            np.abs(moved) / np.maximum(walked, _LEAST),
            walked / (count * size),
            np.where(top > bottom, (2 * price - top - bottom) / np.maximum(top - bottom, _LEAST), 0.0),
        ]
    return np.stack(columns, 1).astype(np.float32)


def glances(candles: Candles, windows: Sequence[int] = WINDOWS, reference: int = REFERENCE) -> Floats:
    """What a chart reader sees over each window, ``(n, 2 windows)``: the return in standard errors, and log volatility over its usual one.

    The usual one is the median over the ``reference`` bars up to the bar, from every half window.
    """
    r = log_returns(candles)
    out = []
    for window in windows:
        count = np.minimum(np.arange(1, len(r) + 1), window)
        squares = np.maximum(window_sum(r * r, window), 1e-18)
        size = np.sqrt(squares / count)
        every = max(window // 2, 1)
        samples = window_median(np.ascontiguousarray(size[window - 1 :: every]), max(reference // every, 1))
        place = (np.arange(len(r)) - (window - 1)) // every
        usual = np.where(place >= 0, samples[np.maximum(place, 0)], size) if len(samples) else size
        out += [window_sum(r, window) / np.sqrt(squares), np.log(size / usual)]
    return np.stack(out, 1)
