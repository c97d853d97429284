"""`check_model`: the laws of a model, checked on a small simulated market."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.models.base import FitData, FittedModel, Model, ModelOutput
from candelabra.models.registry import load_fitted
from candelabra.testing.broken import require
from candelabra.testing.files import pickles_in
from candelabra.testing.markets import example_candles, example_data, perturbed_after, shocked
from candelabra.windows.recipe import Recipe, build_series
from candelabra.windows.series import Series

__all__ = ["check_model"]

_TOLERANCE: Final = 1e-5
_FIELDS: Final = ("quantiles", "mean", "log_volatility")


def check_model(
    model: Model,
    *,
    candles: Sequence[Candles] | None = None,
    recipe: Recipe | None = None,
    load: Callable[[Path], FittedModel] = load_fitted,
    refit: bool = True,
    fresh: bool = True,
) -> FittedModel:
    """Fit ``model`` and give it back; LawBroken, with what, where and by how much, unless it keeps the laws.

    - forecasts have the shapes of `ModelOutput`, are float32, quantiles rise, and no row is half known;
    - point in time: changing every candle after *t* moves no forecast at or before *t*, to the bit; cutting them off moves none by
      more than 1e-5 of its spread;
    - ``fresh``: a shock to the newest candle moves the newest forecast, unless the fitted model says ``responds = False`` (give False
      for a rule that looks at older bars only by design, such as the same hours a week ago);
    - a row alone gives what it gives among many, within 1e-5;
    - ``refit``: targets outside the training and validation rows are never read, and the same seed gives the same forecasts, to the bit;
    - what it saves holds no pickle, and ``load`` gives the same forecasts from it, to the bit.

    ``candles``: one series a symbol (default: two simulated hourly markets); ``recipe``: default 1h with a 4h arm.
    """
    recipe = recipe or Recipe("1h", coarse=("4h",), horizons=("1h", "6h"))
    markets = list(candles) if candles is not None else [example_candles(seed=k, symbol=f"SIM{k}/USDT") for k in (1, 2)]
    data, split = example_data(markets, recipe)
    fitted = model.fit(data)
    require(isinstance(fitted, FittedModel), f"{type(fitted).__name__} is not a FittedModel: it needs name, predict and save")
    series = data.series[0]
    rows = np.concatenate([data.validation_rows[0], split.test[0]])[-200:]
    whole = fitted.predict(series, rows)
    _check_shapes(fitted, whole, series, rows, len(data.targets[0].steps))
    _check_point_in_time(fitted, markets[0], recipe, series, rows)
    _check_alone(fitted, series, rows, whole)
    if fresh and getattr(fitted, "responds", True):
        _check_fresh(fitted, markets[0], recipe, series)
    if refit:
        _check_honest(model, fitted, data)
    _check_saved(fitted, load, series, rows, whole)
    return fitted


def _check_shapes(fitted: FittedModel, output: ModelOutput, series: Series, rows: NDArray[np.int64], horizons: int) -> None:
    n, name = len(rows), fitted.name
    expected = {"quantiles": (n, horizons, len(output.levels)), "mean": (n, horizons), "log_volatility": (n, horizons)}
    for part, shape in expected.items():
        values = getattr(output, part)
        require(values.shape == shape and values.dtype == np.float32, f"{name}: {part} {values.shape} {values.dtype}, {shape} float32 due")
        require(bool(np.isfinite(values).all()), f"{name}: {part} is not finite at the end of the history")
    require(bool((np.diff(output.quantiles, axis=-1) >= 0).all()), f"{name}: quantiles fall somewhere: they must rise with their level")
    early = fitted.predict(series, np.arange(min(len(series), 40)))
    known = np.stack([np.isfinite(getattr(early, part)).reshape(len(early), -1).all(axis=1) for part in _FIELDS])
    some = np.stack([np.isfinite(getattr(early, part)).reshape(len(early), -1).any(axis=1) for part in _FIELDS])
    require(bool((known == some).all()), f"{name}: a forecast at the start of history is half known: NaN all of it, or none")
    require(len(fitted.predict(series, np.zeros(0, np.int64))) == 0, f"{name}: no rows asked, some given")


def _check_point_in_time(fitted: FittedModel, candles: Candles, recipe: Recipe, series: Series, rows: NDArray[np.int64]) -> None:
    for row in (rows[len(rows) // 3], rows[-2]):
        past, time = rows[rows <= row], int(series.close_time[row])
        before = fitted.predict(series, past)
        after = fitted.predict(build_series(perturbed_after(candles, time), recipe), past)
        for part in _FIELDS:
            moved = ~_same_bits(getattr(before, part), getattr(after, part))
            require(not moved.any(), f"{fitted.name}: {int(moved.sum())} of {part} up to row {row} moved when only later candles changed")
        cut = fitted.predict(build_series(candles.between(end_ms=time), recipe), past)
        _require_near(cut, before, f"{fitted.name}: forecasts up to row {row} with later candles cut off")


def _check_alone(fitted: FittedModel, series: Series, rows: NDArray[np.int64], whole: ModelOutput) -> None:
    for k in (0, len(rows) - 1):
        _require_near(fitted.predict(series, rows[k : k + 1]), whole.rows(slice(k, k + 1)), f"{fitted.name}: row {rows[k]} alone", whole)


def _check_fresh(fitted: FittedModel, candles: Candles, recipe: Recipe, series: Series) -> None:
    newest = np.array([len(series) - 1])
    before = fitted.predict(series, newest)
    for size in (0.05, -0.05, 0.3):
        after = fitted.predict(build_series(shocked(candles, size), recipe), newest)
        if any(not _same_bits(getattr(before, part), getattr(after, part)).all() for part in _FIELDS):
            return
    require(False, f"{fitted.name}: shocks to the newest candle do not move the newest forecast: it is at least one bar stale")


def _check_honest(model: Model, fitted: FittedModel, data: FitData) -> None:
    random = np.random.default_rng(5)
    targets = []
    for own, train, validation in zip(data.targets, data.train_rows, data.validation_rows, strict=True):
        hidden = np.ones(len(own), bool)
        hidden[train] = hidden[validation] = False
        returns, volatility = own.returns.copy(), own.log_volatility.copy()
        returns[hidden], volatility[hidden] = random.normal(0, 9, returns[hidden].shape), random.normal(0, 9, volatility[hidden].shape)
        targets.append(replace(own, returns=returns, log_volatility=volatility))
    again = model.fit(replace(data, targets=tuple(targets)))
    rows = data.validation_rows[0][-100:]
    one, two = fitted.predict(data.series[0], rows), again.predict(data.series[0], rows)
    for part in _FIELDS:
        require(
            bool(_same_bits(getattr(one, part), getattr(two, part)).all()),
            f"{fitted.name}: fitted again with other targets outside the training and validation rows, {part} differs: it reads them, or "
            "the same seed does not give the same fit",
        )


def _check_saved(
    fitted: FittedModel, load: Callable[[Path], FittedModel], series: Series, rows: NDArray[np.int64], whole: ModelOutput
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "part"
        fitted.save(folder)
        found = pickles_in(folder)
        require(not found, f"{fitted.name}: saved as pickle: {', '.join(found)}")
        again = load(folder)
        require(again.name == fitted.name, f"{fitted.name}: comes back as {again.name}")
        output = again.predict(series, rows)
        for part in _FIELDS:
            same = _same_bits(getattr(output, part), getattr(whole, part))
            require(bool(same.all()), f"{fitted.name}: {part} of the saved model differs from the fitted one's")


def _require_near(got: ModelOutput, wanted: ModelOutput, what: str, spread_of: ModelOutput | None = None) -> None:
    for part in _FIELDS:
        a, b = getattr(got, part).astype(np.float64), getattr(wanted, part).astype(np.float64)
        spread = np.nanstd(getattr(spread_of or wanted, part).astype(np.float64), axis=0)
        far = np.abs(a - b) / np.maximum(np.maximum(np.abs(b), spread), 1e-12)
        unlike = np.isnan(a) != np.isnan(b)
        require(
            not unlike.any() and not np.nanmax(far, initial=0.0) > _TOLERANCE,
            f"{what}: {part} off by {np.nanmax(far, initial=0.0):.1e} of its spread (limit {_TOLERANCE:.0e}), {int(unlike.sum())} known "
            "in one and not the other",
        )


def _same_bits(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray((a == b) | (np.isnan(a) & np.isnan(b)))
