"""`Series`: one symbol's candles, features and as-of index, everything placed on the base timeframe's bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.features.table import FeatureTable

__all__ = ["Series"]


@dataclass(frozen=True, eq=False)
class Series:
    """What is known of one symbol at the close of each base bar; nothing in it reads the future.

    ``candles`` and ``features`` by timeframe name (base, coarser arms, finer arms; features are not yet scaled). ``asof[tf]`` int32
    ``(bars,)``: row of the last bar of ``tf`` closed by the close of each base bar (-1 before the first). Memory is
    O(bars): coarse values are gathered through ``asof`` when a batch is made. ``level`` float64 ``(bars,)``: the causal current volatility
    level, the log of the standard deviation of one base bar's log return (NaN during its warm-up).
    """

    symbol: str
    base: Timeframe
    candles: Mapping[str, Candles]
    features: Mapping[str, FeatureTable]
    asof: Mapping[str, NDArray[np.int32]]
    level: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.candles[self.base.name])

    @property
    def base_candles(self) -> Candles:
        """Candles of the base timeframe."""
        return self.candles[self.base.name]

    @property
    def close_time(self) -> NDArray[np.int64]:
        """Decision times (ms): the close of each base bar."""
        return self.base_candles.close_time
