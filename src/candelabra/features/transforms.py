"""Features made of other features: lags, differences, and values relative to the causal current volatility level."""

from __future__ import annotations

from typing import Final

import numpy as np

from candelabra.candles.timeframe import Timeframe
from candelabra.features.bars import Array, Bars
from candelabra.features.kind import Feature, Kind, Parameter
from candelabra.features.volatility import level_of, level_warm_up

__all__ = ["difference", "lag", "relative", "scaled"]


_ROOM: Final = 64


def lag(bars: Bars, of: Feature, k: int) -> Array:
    """The feature as it was ``k`` present bars earlier."""
    values = of.single(bars)
    if k <= _ROOM and len(bars.runs(k)) == 1:  # several lags of one feature are views into one array
        padded: Array = bars.once(("padded", of.spec), lambda: np.concatenate([np.full(_ROOM, np.nan), values]))
        return padded[_ROOM - k : _ROOM - k + len(values)]
    out = np.empty(len(values))
    out[:k] = np.nan
    out[k:] = values[:-k]
    return bars.known(out, k)


def difference(bars: Bars, of: Feature, k: int) -> Array:
    """The feature minus itself ``k`` present bars earlier."""
    return of.single(bars) - lag(bars, of, k)


def relative(bars: Bars, of: Feature) -> Array:
    """A log volatility minus the current level."""
    return of.single(bars) - level_of(bars)


def scaled(bars: Bars, of: Feature) -> Array:
    """A log price ratio divided by the current level's standard deviation of one bar."""
    return of.single(bars) / np.exp(level_of(bars))


def _later(timeframe: Timeframe, of: Feature, k: int) -> int:
    return of.warm_up(timeframe) + k


def _levelled(timeframe: Timeframe, of: Feature) -> int:
    return max(of.warm_up(timeframe), level_warm_up(timeframe))


_OF = Parameter("feature", "feature", "return(1)")
LAG = Kind("lag", lag, "the feature k bars earlier", (_OF, Parameter("k", default=1)), memory=_later)
DIFFERENCE = Kind("difference", difference, "the feature minus itself k bars earlier", (_OF, Parameter("k", default=1)), memory=_later)
RELATIVE = Kind(
    "relative", relative, "the feature (a log volatility) - level", (Parameter("feature", "feature", "log_rv(24)"),), memory=_levelled
)
SCALED = Kind("scaled", scaled, "the feature (a log price ratio) / exp(level)", (_OF,), memory=_levelled)
