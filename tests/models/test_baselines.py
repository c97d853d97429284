import json

import numpy as np
import pytest

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import BundleError, DataError, UsageError
from candelabra.models.base import QUANTILE_LEVELS, FitData, FittedModel
from candelabra.models.linear import harx_features
from candelabra.models.registry import MODELS, load_fitted, new_model
from candelabra.models.volatility import filter_variance
from candelabra.windows.recipe import Recipe, build_series
from candelabra.windows.splits import chronological
from candelabra.windows.targets import make_targets

HOUR = 3_600_000
RECIPE = Recipe("1h", ("4h",), horizons=("1h", "6h"))
CONSTANT = ("zero", "drift", "historical")
MOVING = ("persistence", "seasonal", "ewma", "har", "harx", "garch")


def market(bars=4000, seed=0, symbol="X/Y", shock_row=None, factor=1.3):
    """Hourly candles whose volatility has clusters and a daily rhythm."""
    rng = np.random.default_rng(seed)
    log_level = np.zeros(bars)
    for t in range(1, bars):
        log_level[t] = 0.98 * log_level[t - 1] + 0.12 * rng.normal()
    returns = 0.004 * np.exp(log_level + 0.5 * np.sin(np.arange(bars) * 2 * np.pi / 24)) * rng.standard_t(5, bars)
    close = 100 * np.exp(np.cumsum(returns))
    if shock_row is not None:
        close[shock_row] *= factor
    open_ = np.concatenate([[100.0], close[:-1]])
    wick = 1 + np.abs(returns) / 2
    columns = (open_, np.maximum(open_, close) * wick, np.minimum(open_, close) / wick, close, rng.gamma(2, 1, bars))
    return Candles.of(symbol, "1h", np.arange(bars) * HOUR, *columns)


def fit_data(candles):
    series = [build_series(c, RECIPE) for c in candles]
    split = chronological([s.close_time for s in series], purge_ms=RECIPE.purge_ms)
    data = FitData(tuple(series), tuple(make_targets(s, RECIPE) for s in series), split.train, split.validation)
    return data, split


@pytest.fixture(scope="module")
def data():
    return fit_data([market(), market(3000, 1, "Z/Y")])[0]


@pytest.fixture(scope="module")
def fitted(data):
    return {name: new_model(name).fit(data) for name in (*CONSTANT, *MOVING)}


@pytest.mark.parametrize("name", [*CONSTANT, *MOVING])
def test_a_baseline_forecasts_rising_quantiles_in_natural_units(name, data, fitted):
    model = fitted[name]
    assert isinstance(model, FittedModel)
    rows = data.validation_rows[0]
    output = model.predict(data.series[0], rows)
    assert output.quantiles.shape == (len(rows), 2, len(QUANTILE_LEVELS))
    assert output.quantiles.dtype == output.mean.dtype == output.log_volatility.dtype == np.float32
    assert (np.diff(output.quantiles, axis=-1) >= 0).all()
    actual = data.targets[0].returns[rows]
    inside = (actual > output.quantiles[..., 1]) & (actual < output.quantiles[..., -2])
    assert 0.7 < inside.mean() <= 0.99
    assert abs(output.log_volatility - data.targets[0].log_volatility[rows]).mean() < 1.2


@pytest.mark.parametrize("name", [*CONSTANT, *MOVING])
def test_saved_and_loaded_a_baseline_gives_the_same_bits(name, data, fitted, tmp_path):
    fitted[name].save(tmp_path)
    again = load_fitted(tmp_path)
    assert not list(tmp_path.glob("*.pkl"))
    rows = np.arange(len(data.series[1]))
    a, b = fitted[name].predict(data.series[1], rows), again.predict(data.series[1], rows)
    for field in ("quantiles", "mean", "log_volatility"):
        assert np.array_equal(getattr(a, field), getattr(b, field), equal_nan=True)
    assert again.warm_up == fitted[name].warm_up


@pytest.mark.parametrize("name", MOVING)
def test_a_later_candle_moves_no_earlier_forecast_and_the_newest_moves_its_own(name, fitted):
    row = 1500
    calm, shaken = (build_series(market(2000, 3, shock_row=s), RECIPE) for s in (None, row))
    model = fitted[name]
    before, at = np.arange(row), np.array([row])
    assert np.array_equal(model.predict(calm, before).log_volatility, model.predict(shaken, before).log_volatility, equal_nan=True)
    moved = model.predict(calm, at).log_volatility != model.predict(shaken, at).log_volatility
    if name == "seasonal":  # last week's hours: the newest candle answers a week later
        moved = model.predict(calm, at + 167).log_volatility != model.predict(shaken, at + 167).log_volatility
    assert model.responds
    assert moved.any()


def test_constant_models_say_that_no_candle_moves_them(fitted):
    assert not any(fitted[name].responds for name in CONSTANT)


@pytest.mark.parametrize("name", MOVING)
def test_one_row_and_the_tail_after_its_warm_up_give_what_the_whole_history_gives(name, data, fitted):
    model, whole = fitted[name], data.series[0]
    newest = np.array([len(whole) - 1])
    expected = model.predict(whole, np.arange(len(whole))).log_volatility[-1]
    assert np.array_equal(model.predict(whole, newest).log_volatility[0], expected)
    bars = min(len(whole), model.warm_up + 1)
    tail = build_series(whole.base_candles.rows(slice(len(whole) - bars, None)), RECIPE)
    np.testing.assert_allclose(model.predict(tail, np.array([bars - 1])).log_volatility[0], expected, rtol=2e-5)


def test_targets_outside_train_and_validation_rows_are_not_read(data, fitted):
    def blinded(t, train, validation):
        used = np.zeros(len(t), bool)
        used[train] = used[validation] = True
        values = {k: np.where(used[:, None], getattr(t, k), 1e6) for k in ("returns", "log_volatility")}
        return type(t)(t.horizons, t.steps, t.volatility_timeframe, values["returns"], values["log_volatility"], t.known_at)

    targets = tuple(blinded(*z) for z in zip(data.targets, data.train_rows, data.validation_rows, strict=True))
    blind = FitData(data.series, targets, data.train_rows, data.validation_rows)
    rows = data.validation_rows[0][:50]
    for name in ("historical", "ewma", "har", "harx", "garch"):
        a = fitted[name].predict(data.series[0], rows)
        b = new_model(name).fit(blind).predict(data.series[0], rows)
        assert np.array_equal(a.quantiles, b.quantiles), name
        assert np.array_equal(a.log_volatility, b.log_volatility), name


def test_garch_filter_equals_the_textbook_recursion():
    returns = np.random.default_rng(0).normal(0, 0.01, 50)
    variance = [1e-6 / (1 - 0.1 - 0.85)]
    for r in returns[1:]:
        variance.append(1e-6 + 0.1 * r**2 + 0.85 * variance[-1])
    np.testing.assert_allclose(filter_variance(returns, 1e-6, 0.1, 0.85), variance, rtol=1e-12)


def test_harx_knows_the_calendar_of_the_target_window_and_beats_har_where_there_is_a_rhythm(data, fitted):
    assert "window_hours(6).sin1" in harx_features(Timeframe("1h"), 6)
    rows = data.validation_rows[0]
    actual = data.targets[0].log_volatility[rows, 1]
    loss = {
        n: np.nanmean((fitted[n].predict(data.series[0], rows).log_volatility[:, 1] - actual) ** 2) for n in ("har", "harx", "historical")
    }
    assert loss["harx"] < 0.95 * loss["har"] < 0.95 * loss["historical"]


@pytest.mark.parametrize("timeframe", ["1m", "5m", "4h", "1d", "1w"])
def test_harx_has_features_at_every_base_timeframe(timeframe):
    from candelabra.features.catalog import parse

    specs = harx_features(Timeframe(timeframe), 3)
    assert len({name for spec in specs for name in parse(spec).names}) >= 15


def test_what_cannot_be_fitted_or_loaded_is_refused_in_words(data, fitted, tmp_path):
    short = fit_data([market(300)])[0]
    with pytest.raises(DataError, match="too few"):
        new_model("harx").fit(short)
    with pytest.raises(DataError, match="too few for a 1% quantile"):
        new_model("zero").fit(short)
    with pytest.raises(DataError, match="GARCH needs 500"):
        new_model("garch").fit(short)
    with pytest.raises(UsageError, match="cannot forecast 4h bars"):
        fitted["har"].predict(build_series(market(), Recipe("4h", horizons=("4h",))), np.array([5]))
    with pytest.raises(BundleError, match=r"model.json"):
        load_fitted(tmp_path)
    fitted["zero"].save(tmp_path)
    values = json.loads((tmp_path / "model.json").read_text())
    for broken in ({**values, "format": 99}, {k: v for k, v in values.items() if k != "standard_mean"}):
        (tmp_path / "model.json").write_text(json.dumps(broken))
        with pytest.raises(BundleError, match=r"restore it|seal the model again"):
            load_fitted(tmp_path)


def test_constant_prices_are_survived(tmp_path):
    ones = np.ones(3000)
    flat = Candles.of("F/L", "1h", np.arange(3000) * HOUR, ones, ones, ones, ones, np.zeros(3000))
    flat_data, _ = fit_data([flat])
    for name in ("zero", "ewma", "har", "harx"):
        output = new_model(name).fit(flat_data).predict(flat_data.series[0], flat_data.validation_rows[0])
        assert not np.isinf(output.log_volatility).any()
        assert not np.isinf(output.quantiles).any()


def test_every_registered_baseline_is_listed_with_a_summary():
    entries = {e.name: e for e in MODELS}
    assert {*CONSTANT, *MOVING, "lightgbm", "harx_lightgbm", "ensemble"} <= set(entries)
    assert all(entries[n].summary for n in CONSTANT)
