"""Targets: what the future turned out to be. Hindsight by nature; every value carries ``known_at``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.timeframe import Timeframe

__all__ = ["Targets"]


@dataclass(frozen=True, eq=False)
class Targets:
    """Returns and realised volatility after the close of each base bar; NaN where the future is absent or full of gaps.

    ``returns`` float64 ``(bars, horizons)``: log(close[t+h] / close[t]). ``log_volatility`` float64 ``(bars, horizons)``:
    0.5 * log(sum of squared log returns of ``volatility_timeframe`` bars over the horizon); not annualised.
    ``known_at`` int64 ms ``(bars, horizons)``: when the value became known (close of bar t + horizon). ``horizons`` durations, ``steps``
    the same in base bars.
    """

    horizons: tuple[Timeframe, ...]
    steps: tuple[int, ...]
    volatility_timeframe: Timeframe
    returns: NDArray[np.float64]
    log_volatility: NDArray[np.float64]
    known_at: NDArray[np.int64]
