"""What a bundle forecast of each next bar, in the form in which anomalies are judged by it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from candelabra.bundles.predictor import Predictor
from candelabra.candles.frame import Candles
from candelabra.errors import UsageError
from candelabra.regimes.anomaly_forecasts import BarForecasts

__all__ = ["bar_forecasts"]


def bar_forecasts(predictor: Predictor, candles: Candles | Sequence[Candles]) -> tuple[Candles, BarForecasts]:
    """The base bars of one symbol's ``candles`` and the calibrated quantiles of the bar after each, NaN where history is too short.

    UsageError when the bundle does not forecast one bar of its base timeframe.
    """
    steps = predictor.recipe.steps
    if 1 not in steps:
        horizons = ", ".join(h.name for h in predictor.recipe.horizons)
        raise UsageError(
            f"bundle {predictor.manifest.id} forecasts {horizons}, not the next {predictor.recipe.base}: train with that horizon too, or "
            "score without a bundle, by the built-in law"
        )
    series = predictor.series(candles)
    output = predictor.outputs(series, np.arange(len(series), dtype=np.int64))
    return series.base_candles, BarForecasts.of(output.quantiles[:, steps.index(1)], output.levels)
