"""What a bundle forecast of each next bar, in the form in which anomalies are judged by it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from candelabra.bundles.predictor import Predictor
from candelabra.candles.frame import Candles
from candelabra.errors import UsageError
from candelabra.regimes.anomaly_forecasts import BarForecasts

__all__ = ["bar_forecasts", "forecasts_of"]


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


def forecasts_of(predictor: Predictor, own: Candles, candles: Candles | Sequence[Candles]) -> BarForecasts:
    """`bar_forecasts` from ``candles`` of one symbol for each bar of ``own``, NaN where none was made; UsageError as there.

    ``own``: of the base timeframe.
    """
    base, told = bar_forecasts(predictor, candles)
    place = np.searchsorted(base.open_time, own.open_time)
    there = base.open_time[np.minimum(place, max(len(base) - 1, 0))] == own.open_time if len(base) else np.zeros(len(own), np.bool_)
    quantiles = np.full((len(own), len(told.levels)), np.nan)
    quantiles[there] = told.quantiles[place[there]]
    return BarForecasts(quantiles, told.levels)
