import numpy as np
import pytest

from candelabra.candles.frame import Candles
from candelabra.errors import DataError, UsageError
from candelabra.models.base import QUANTILE_LEVELS, FitData, ModelOutput
from candelabra.models.ensemble import Ensemble, EnsembleSettings, combine
from candelabra.models.registry import load_fitted, new_model
from candelabra.windows.recipe import Recipe, build_series
from candelabra.windows.splits import chronological
from candelabra.windows.targets import make_targets

HOUR = 3_600_000


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(5)
    bars = 2500
    log_level = np.cumsum(rng.normal(0, 0.04, bars)) * 0.5
    close = 100 * np.exp(np.cumsum(0.004 * np.exp(log_level - log_level.mean()) * rng.normal(size=bars)))
    open_ = np.concatenate([[100.0], close[:-1]])
    columns = (open_, np.maximum(open_, close) * 1.001, np.minimum(open_, close) * 0.999, close, np.ones(bars))
    recipe = Recipe("1h", horizons=("1h", "6h"))
    series = build_series(Candles.of("X/Y", "1h", np.arange(bars) * HOUR, *columns), recipe)
    split = chronological([series.close_time], purge_ms=recipe.purge_ms)
    return FitData((series,), (make_targets(series, recipe),), split.train, split.validation)


class Fixed:
    """A model that says what it is told, for every row of the series."""

    name = "fixed"

    def __init__(self, output):
        self.output = output

    def predict(self, series, rows):
        return self.output.rows(rows)

    def save(self, folder):
        raise NotImplementedError


def fixed(data, log_volatility, spread):
    shape = data.targets[0].returns.shape
    levels = np.array(QUANTILE_LEVELS)
    quantiles = np.broadcast_to((levels - 0.5) * spread, (*shape, len(levels))).astype(np.float32)
    return Fixed(ModelOutput(quantiles, np.zeros(shape, np.float32), log_volatility.astype(np.float32)))


def test_the_better_member_gets_the_weight_and_all_weights_lie_on_the_simplex(data):
    truth = np.nan_to_num(data.targets[0].log_volatility, nan=-5.0)
    noise = np.random.default_rng(0).normal(size=truth.shape)
    good, bad = fixed(data, truth + 0.05 * noise, 0.03), fixed(data, truth + 3 + noise, 3.0)
    ensemble = combine({"good": good, "bad": bad}, data, shrink=0.0)
    for weights in (ensemble.volatility_weights, ensemble.quantile_weights, ensemble.mean_weights):
        assert (weights >= 0).all()
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-12)
    assert (ensemble.volatility_weights[:, 0] > 0.97).all()
    assert (ensemble.quantile_weights[:, 0] > 0.97).all()


def test_two_unbiased_members_share_the_weight_as_least_squares_says(data):
    truth = np.nan_to_num(data.targets[0].log_volatility, nan=-5.0)
    rng = np.random.default_rng(1)
    a, b = (fixed(data, truth + s * rng.normal(size=truth.shape), 0.03) for s in (0.1, 0.2))
    weights = combine({"a": a, "b": b}, data, shrink=0.0).volatility_weights
    np.testing.assert_allclose(weights[:, 0], 0.8, atol=0.08)  # inverse variances: 4 to 1


def test_shrinking_all_the_way_gives_equal_weights(data):
    truth = np.nan_to_num(data.targets[0].log_volatility, nan=-5.0)
    ensemble = combine({"a": fixed(data, truth, 0.03), "b": fixed(data, truth + 1, 0.5)}, data, shrink=1.0)
    np.testing.assert_allclose(ensemble.volatility_weights, 0.5)


def test_an_ensemble_is_no_worse_on_validation_than_its_best_member_and_saves_them_all(data, tmp_path):
    members = {name: new_model(name).fit(data) for name in ("historical", "ewma", "har")}
    ensemble = combine(members, data, shrink=0.0)
    rows = data.validation_rows[0]
    actual = data.targets[0].log_volatility[rows]

    def loss(model):
        return np.nanmean((model.predict(data.series[0], rows).log_volatility - actual) ** 2, axis=0)

    best = np.min([loss(m) for m in members.values()], axis=0)
    assert (loss(ensemble) <= best + 1e-4).all()
    ensemble.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ewma", "har", "historical", "model.json"]
    again = load_fitted(tmp_path)
    a, b = ensemble.predict(data.series[0], rows), again.predict(data.series[0], rows)
    assert np.array_equal(a.quantiles, b.quantiles)
    assert np.array_equal(a.log_volatility, b.log_volatility)
    assert (np.diff(a.quantiles, axis=-1) >= 0).all()
    assert again.warm_up == max(m.warm_up for m in members.values())


def test_settings_name_registered_members(data):
    ensemble = Ensemble(EnsembleSettings(("zero", "har"))).fit(data)
    assert list(ensemble.members) == ["zero", "har"]


def test_impossible_ensembles_are_refused(data):
    with pytest.raises(UsageError, match="each named once"):
        EnsembleSettings(("har", "har"))
    with pytest.raises(UsageError, match="at least one fitted member"):
        combine({}, data)
    silent = fixed(data, np.full(data.targets[0].returns.shape, np.nan), 0.1)
    with pytest.raises(DataError, match="no validation row has a forecast"):
        combine({"a": silent}, data)
