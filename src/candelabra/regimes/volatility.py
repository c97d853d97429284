"""Causal scales of a bar, in which thresholds of labellers are given: exponentially weighted volatility and true range."""

from __future__ import annotations

from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from candelabra.candles.frame import Candles

__all__ = ["true_range", "weighted_volatility"]

_WARM_UP: Final = 10
"""Bars before the first value: fewer returns say nothing of a scale."""


def weighted_volatility(candles: Candles, span: int) -> NDArray[np.float64]:
    """Standard deviation of a bar's log return as known at each close, ``(n,)``; NaN for the first bars and while prices never moved.

    Exponential weights of ``span`` bars (decay 2 / (span + 1)) over squared returns; the mean is taken as 0, as over short times it is.
    """
    returns = np.diff(np.log(candles.close), prepend=np.log(candles.close[:1]))
    return np.sqrt(_weighted(returns * returns, 2.0 / (span + 1.0), _WARM_UP))


def true_range(candles: Candles, span: int) -> NDArray[np.float64]:
    """Average true range in logs (log high to log low, the close before included) as known at each close, ``(n,)``; weights as above."""
    high, low, close = np.log(candles.high), np.log(candles.low), np.log(candles.close)
    before = np.concatenate([close[:1], close[:-1]])
    return np.asarray(_weighted(np.maximum(high, before) - np.minimum(low, before), 2.0 / (span + 1.0), _WARM_UP))


@njit(cache=True)
def _weighted(values: NDArray[np.float64], decay: float, warm_up: int) -> NDArray[np.float64]:
    # Weights are summed along, so that the first bars are a mean of what there is and not of a made-up beginning.
    out = np.full(len(values), np.nan)
    total, weight = 0.0, 0.0
    for t in range(1, len(values)):
        total = (1.0 - decay) * total + decay * values[t]
        weight = (1.0 - decay) * weight + decay
        if t >= warm_up and total > 0.0:
            out[t] = total / weight
    return out
