"""A bundle's forecasts of the next bar become expectations of anomalies; one without that horizon is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from candelabra.bundles.bar_forecasts import bar_forecasts, forecasts_of
from candelabra.bundles.predictor import Predictor
from candelabra.candles.frame import Candles
from candelabra.errors import UsageError
from candelabra.models.base import QUANTILE_LEVELS, ModelOutput
from candelabra.testing import example_candles
from candelabra.windows.recipe import Recipe


def stand_in(recipe: Recipe) -> Predictor:
    def outputs(series: Any, rows: Any) -> ModelOutput:
        shape = (len(rows), len(recipe.steps))
        q = np.arange(2)[None, :, None] + np.linspace(-1, 1, len(QUANTILE_LEVELS)) + rows[:, None, None]
        return ModelOutput(q.astype(np.float32), np.zeros(shape, np.float32), np.zeros(shape, np.float32))

    class Series(SimpleNamespace):
        base_candles: Candles

        def __len__(self) -> int:
            return len(self.base_candles)

    made = SimpleNamespace(
        recipe=recipe, manifest=SimpleNamespace(id="b"), outputs=outputs, series=lambda candles: Series(base_candles=candles)
    )
    return cast(Predictor, made)


def test_the_horizon_of_one_bar_is_taken_and_read_one_bar_later() -> None:
    candles = example_candles(bars=50)
    base, told = bar_forecasts(stand_in(Recipe("1h", horizons=("1h", "6h"))), candles)
    assert base is candles
    assert told.quantiles[7, 0] == 7 - 1
    assert told.for_each_bar()[8, 0] == told.quantiles[7, 0]


def test_a_bundle_without_it_is_refused() -> None:
    with pytest.raises(UsageError, match="not the next 1h"):
        bar_forecasts(stand_in(Recipe("1h", horizons=("6h",))), example_candles(bars=50))


def test_they_are_laid_on_the_bars_asked_for() -> None:
    candles = example_candles(bars=50)
    n = len(candles)
    own, given = candles.rows(slice(10, n)), candles.rows(slice(0, n - 10))
    told = forecasts_of(stand_in(Recipe("1h", horizons=("1h",))), own, given)
    np.testing.assert_array_equal(told.quantiles[: n - 20, 0], np.arange(10, n - 10) - 1)
    assert np.isnan(told.quantiles[n - 20 :]).all()
    assert told.quantiles.shape[0] == len(own)
