import subprocess
import sys

import numpy as np
import pytest

lightgbm = pytest.importorskip("lightgbm")

from candelabra.models.base import FitData  # noqa: E402
from candelabra.models.boosting import HarxLightGbm, LightGbm, LightGbmSettings, tune_lightgbm  # noqa: E402
from candelabra.models.linear import harx  # noqa: E402
from candelabra.models.onnx_session import open_session  # noqa: E402
from candelabra.models.registry import load_fitted  # noqa: E402
from candelabra.models.trees import run_trees, trees_to_onnx  # noqa: E402
from candelabra.windows.recipe import Recipe, build_series  # noqa: E402
from candelabra.windows.splits import chronological  # noqa: E402
from candelabra.windows.targets import make_targets  # noqa: E402

HOUR = 3_600_000
SMALL = LightGbmSettings(rounds=40, learning_rate=0.1, least_rows=50, patience=20)


def market(bars=3000, seed=0):
    from candelabra.candles.frame import Candles

    rng = np.random.default_rng(seed)
    log_level = np.zeros(bars)
    for t in range(1, bars):
        log_level[t] = 0.98 * log_level[t - 1] + 0.12 * rng.normal()
    returns = 0.004 * np.exp(log_level + 0.6 * (np.arange(bars) % 24 > 12)) * rng.standard_t(5, bars)
    close = 100 * np.exp(np.cumsum(returns))
    open_ = np.concatenate([[100.0], close[:-1]])
    columns = (open_, np.maximum(open_, close) * 1.001, np.minimum(open_, close) * 0.999, close, rng.gamma(2, 1, bars))
    return Candles.of("X/Y", "1h", np.arange(bars) * HOUR, *columns)


@pytest.fixture(scope="module")
def data():
    recipe = Recipe("1h", ("4h",), horizons=("1h", "6h"))
    series = build_series(market(), recipe)
    split = chronological([series.close_time], purge_ms=recipe.purge_ms)
    return FitData((series,), (make_targets(series, recipe),), split.train, split.validation)


@pytest.fixture(scope="module")
def fitted(data):
    return LightGbm(SMALL).fit(data)


@pytest.mark.parametrize("holes", [False, True])
def test_onnx_trees_split_exactly_as_lightgbm_does_and_agree_in_value(holes):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3000, 6)).astype(np.float32)
    x[:, 2] = rng.integers(-2, 3, 3000)  # many rows exactly on a threshold
    if holes:
        x[rng.random(x.shape) < 0.15] = np.nan
    y = np.nan_to_num(x[:, 0] * x[:, 1] + np.sin(3 * x[:, 3]) + 0.5 * x[:, 2]) * 0.3
    parameters = {"num_leaves": 31, "verbosity": -1, "num_threads": 1, "deterministic": True, "seed": 1}
    booster = lightgbm.train(parameters, lightgbm.Dataset(x, y), 120)
    # also rows whose values lie on, just below and just above the float32 neighbours of thresholds
    thresholds = booster.trees_to_dataframe().dropna(subset="threshold")
    for column in range(6):
        own = thresholds[thresholds.split_feature == f"Column_{column}"].threshold.to_numpy()
        own = own[(np.abs(own) > 1e-30) & (np.abs(own) < 1e30)][:200]  # LightGBM reads |x| <= 1e-35 as 0, and 1e300 stands for infinity
        near = own.astype(np.float32)
        x[: len(near), column] = near
        x[500 : 500 + len(near), column] = np.nextafter(near, np.float32(np.inf))
        x[1000 : 1000 + len(near), column] = np.nextafter(near, np.float32(-np.inf))
    x[2000:2100, 1] = np.nan  # missing where training knew none takes the way of zero
    session = open_session(trees_to_onnx([booster.dump_model()], 6), "the trees")
    np.testing.assert_allclose(run_trees(session, x)[:, 0], booster.predict(x.astype(np.float64)), atol=1e-7, rtol=1e-6)
    # every single tree alone: a wrong split would show as a different leaf, exactly
    dump = booster.dump_model()
    leaves = booster.predict(x.astype(np.float64), pred_leaf=True)
    for tree in range(0, 120, 20):
        values = np.array([booster.get_leaf_output(tree, leaf) for leaf in range(leaves[:, tree].max() + 1)])
        single = run_trees(open_session(trees_to_onnx([{"tree_info": [dump["tree_info"][tree]]}], 6), "one tree"), x)[:, 0]
        assert (single.astype(np.float32) == values[leaves[:, tree]].astype(np.float32)).all()


def test_trees_answer_one_row_as_they_answer_many(data, fitted):
    rows = data.validation_rows[0]
    many = fitted.predict(data.series[0], rows)
    for k in (0, 17, len(rows) - 1):
        one = fitted.predict(data.series[0], rows[k : k + 1])
        assert np.array_equal(one.quantiles[0], many.quantiles[k])
        assert np.array_equal(one.log_volatility[0], many.log_volatility[k])
    assert len(fitted.predict(data.series[0], rows[:0])) == 0


def test_the_same_seed_grows_the_same_trees_and_another_seed_others(data):
    first, again = LightGbm(SMALL).fit(data), LightGbm(SMALL).fit(data)
    other = LightGbm(LightGbmSettings(rounds=40, learning_rate=0.1, least_rows=50, patience=20, seed=5)).fit(data)
    assert again.volatility.onnx == first.volatility.onnx
    assert other.volatility.onnx != first.volatility.onnx


def test_a_saved_model_runs_without_lightgbm(data, fitted, tmp_path):
    fitted.save(tmp_path)
    rows = data.validation_rows[0]
    assert np.array_equal(load_fitted(tmp_path).predict(data.series[0], rows).quantiles, fitted.predict(data.series[0], rows).quantiles)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.json", "trees.onnx"]
    code = (
        "import sys; sys.modules['lightgbm'] = sys.modules['torch'] = None\n"
        "from pathlib import Path; from candelabra.models.registry import load_fitted\n"
        f"model = load_fitted(Path({str(tmp_path)!r}))\n"
        "import numpy as np\n"
        "from candelabra.models.trees import run_trees\n"
        "out = run_trees(model.volatility._session, np.zeros((2, len(model.volatility.specs)), np.float32))\n"
        "assert out.shape == (2, 2) and np.isfinite(out).all(); print('ran')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "ran\n", done.stderr


def test_lightgbm_alone_reads_what_the_network_reads(data, fitted):
    model = fitted
    assert {f"4h|{name}" for name in data.series[0].features["4h"].names} <= set(model.volatility.specs)
    assert set(data.series[0].features["1h"].names) <= set(model.volatility.specs)
    rows = data.validation_rows[0]
    actual = data.targets[0].log_volatility[rows, 1]
    error = model.predict(data.series[0], rows).log_volatility[:, 1] - actual
    assert np.nanmean(error**2) < np.nanvar(actual)


def test_on_the_residual_of_harx_trees_start_from_its_forecast_and_never_do_worse_on_later_rows(data):
    model = HarxLightGbm(SMALL).fit(data)
    assert model.volatility.anchor.terms == harx(data).terms
    rows = data.validation_rows[0]
    anchor = model.volatility.anchor.log_volatility(data.series[0], rows)
    error = data.targets[0].log_volatility[rows] - model.predict(data.series[0], rows).log_volatility
    assert (np.nanmean(error**2, 0) <= 1.05 * np.nanmean((data.targets[0].log_volatility[rows] - anchor) ** 2, 0)).all()


def test_tuning_tries_the_default_first_and_never_ends_worse_on_validation(data):
    pytest.importorskip("optuna")
    chosen = tune_lightgbm(data, trials=3, seed=1)
    again = tune_lightgbm(data, trials=3, seed=1)
    assert chosen == again
    assert isinstance(chosen, LightGbmSettings)
