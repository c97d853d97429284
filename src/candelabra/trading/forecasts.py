"""`Forecasts`: what a rule may read at the close of each bar, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.hindsight import refuse_hindsight
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.errors import UsageError
from candelabra.metrics.calibration import Calibration
from candelabra.models.base import ModelOutput
from candelabra.registry import did_you_mean

__all__ = ["Forecasts"]

Floats = NDArray[np.float64]
_YEAR_MS = 365 * 86_400_000


@dataclass(frozen=True, eq=False)
class Forecasts:
    """Calibrated forecasts of one symbol made at its closes, float64; NaN where there is none.

    ``close_time`` int64 ms ``(bars,)``; ``mean`` ``(bars, horizons)``: expected log return; ``volatility`` ``(bars, horizons)``: expected
    standard deviation of the return over the horizon; ``quantiles`` ``(bars, horizons, levels)`` of the log return at ``levels``.
    """

    close_time: NDArray[np.int64]
    horizons: tuple[Timeframe, ...]
    mean: Floats
    volatility: Floats
    quantiles: Floats
    levels: tuple[float, ...]

    @classmethod
    def of(
        cls, output: ModelOutput, calibration: Calibration, close_time: NDArray[np.int64], horizons: Sequence[str | Timeframe]
    ) -> Forecasts:
        """What a bundle says (its outputs already calibrated), as rules read it; UsageError for what knows the future."""
        refuse_hindsight("a rule", output)
        return cls(
            np.asarray(close_time, np.int64),
            tuple(timeframe(h) for h in horizons),
            output.mean.astype(np.float64),
            np.sqrt(calibration.variance(output.log_volatility)),
            output.quantiles.astype(np.float64),
            tuple(output.levels),
        )

    def __len__(self) -> int:
        return len(self.close_time)

    def rows(self, index: slice | NDArray[np.int64]) -> Forecasts:
        """The forecasts at some bars."""
        parts = (self.mean[index], self.volatility[index], self.quantiles[index])
        return Forecasts(self.close_time[index], self.horizons, *parts, self.levels)

    def horizon(self, name: str = "") -> int:
        """The place of a horizon; the longest when no name is given. UsageError for an unknown one.

        >>> empty = np.zeros((0, 2))
        >>> told = Forecasts(np.zeros(0, np.int64), (Timeframe("1h"), Timeframe("24h")), empty, empty, np.zeros((0, 2, 1)), (0.5,))
        >>> told.horizon(), told.horizon("1h")
        (1, 0)
        """
        names = [h.name for h in self.horizons]
        if not name:
            return len(names) - 1
        if name not in names:
            raise UsageError(f"these forecasts have no horizon {name!r}: {did_you_mean(name, names)}")
        return names.index(name)

    def median(self, horizon: int) -> Floats:
        """The quantile nearest to one half ``(bars,)``."""
        return self.quantiles[:, horizon, int(np.argmin(np.abs(np.asarray(self.levels) - 0.5)))]

    def annual_volatility(self, horizon: int) -> Floats:
        """Volatility of one horizon, as if it went on for 365 days ``(bars,)``."""
        return np.asarray(self.volatility[:, horizon] * math.sqrt(_YEAR_MS / self.horizons[horizon].milliseconds))

    def bar_volatility(self, base: Timeframe) -> Floats:
        """Volatility of one base bar, from the shortest horizon ``(bars,)``."""
        return np.asarray(self.volatility[:, 0] * math.sqrt(base.milliseconds / self.horizons[0].milliseconds))
