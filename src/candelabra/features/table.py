"""`FeatureTable`: named causal numbers, one row per closed bar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import DataError, UsageError
from candelabra.registry import did_you_mean

__all__ = ["FeatureTable"]


@dataclass(frozen=True, eq=False)
class FeatureTable:
    """Features of one candle series: ``values`` float32 ``(bars, channels)``, NaN where a feature is not yet known.

    ``warm_up[c]`` is how many bars channel ``c`` needs *before* a bar so that recomputing from the tail equals the full
    history (law 3's measure). ``version`` changes whenever any feature's arithmetic changes.
    """

    symbol: str
    timeframe: Timeframe
    names: tuple[str, ...]
    values: NDArray[np.float32]
    warm_up: tuple[int, ...]
    version: str

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.names) or len(self.warm_up) != len(self.names):
            raise DataError(
                f"feature table {self.timeframe}: values {self.values.shape}, {len(self.names)} names, "
                f"{len(self.warm_up)} warm-ups do not fit together"
            )

    def __len__(self) -> int:
        return len(self.values)

    def column(self, name: str) -> NDArray[np.float32]:
        """One channel by name."""
        if name not in self.names:
            raise UsageError(f"no feature {name!r} at {self.timeframe}: {did_you_mean(name, self.names)}")
        return self.values[:, self.names.index(name)]

    @property
    def longest_warm_up(self) -> int:
        """Bars needed before the first row whose every channel is final."""
        return max(self.warm_up, default=0)
