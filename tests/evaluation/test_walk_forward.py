from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import UsageError
from candelabra.evaluation.skill import evaluate
from candelabra.evaluation.walk_forward import walk_forward
from candelabra.models.base import QUANTILE_LEVELS, ModelOutput
from candelabra.windows.series import Series
from candelabra.windows.splits import walk_forward as split_walk_forward
from candelabra.windows.targets import Targets

HOUR = 3_600_000
STEPS = (1, 6)


def symbol_world(symbol, seed, bars=2400):
    rng = np.random.default_rng(seed)
    returns = rng.standard_t(5, bars) * np.exp(-5 + 0.5 * np.sin(np.arange(bars) / 200))
    close = 100 * np.exp(np.cumsum(returns))
    open_ = np.concatenate([[100.0], close[:-1]])
    candles = Candles.of(
        symbol,
        "1h",
        np.arange(bars, dtype=np.int64) * HOUR,
        open_,
        np.maximum(open_, close),
        np.minimum(open_, close),
        close,
        np.ones(bars),
    )
    future, volatility = np.full((bars, 2), np.nan), np.full((bars, 2), np.nan)
    path, power = np.log(close), np.concatenate([[0.0], np.cumsum(returns**2)])
    for k, h in enumerate(STEPS):
        future[:-h, k] = path[h:] - path[:-h]
        volatility[:-h, k] = 0.5 * np.log(power[1 + h :] - power[1:-h])
    known_at = candles.close_time[:, None] + np.array(STEPS) * HOUR
    targets = Targets((Timeframe("1h"), Timeframe("6h")), STEPS, Timeframe("1h"), future, volatility, known_at)
    return Series(symbol, Timeframe("1h"), {"1h": candles}, {}, {}, np.zeros(bars)), targets


@dataclass
class Moments:
    """Mean, spread and mean log volatility of the train range, for every row: learns from nothing else."""

    mean: np.ndarray
    spread: np.ndarray
    level: np.ndarray
    name: str = "moments"

    def predict(self, series, rows):
        shape = (len(rows), 2)
        quantiles = np.broadcast_to(self.mean[:, None] + self.spread[:, None] * stats.norm.ppf(QUANTILE_LEVELS), (*shape, 21))
        return ModelOutput(
            *(np.array(np.broadcast_to(a, s), np.float32) for a, s in ((quantiles, (*shape, 21)), (self.mean, shape), (self.level, shape)))
        )

    def save(self, folder):
        raise NotImplementedError


class Fitting:
    """Fits `Moments` and remembers how often, and the last row it was given."""

    def __init__(self, fail_at=None):
        self.count, self.last, self.fail_at = 0, [], fail_at

    def __call__(self, data):
        if self.count == self.fail_at:
            raise KeyboardInterrupt
        self.count += 1
        self.last.append(max(int(r[-1]) for r in data.train_rows))
        r = np.concatenate([t.returns[rows] for t, rows in zip(data.targets, data.train_rows, strict=True)])
        v = np.concatenate([t.log_volatility[rows] for t, rows in zip(data.targets, data.train_rows, strict=True)])
        return Moments(r.mean(axis=0), r.std(axis=0), v.mean(axis=0))


@pytest.fixture(scope="module")
def world():
    pairs = [symbol_world("BTC/USDT", 1), symbol_world("ETH/USDT", 2)]
    series, targets = [p[0] for p in pairs], [p[1] for p in pairs]
    return series, targets, split_walk_forward([s.close_time for s in series], 3, purge_ms=6 * HOUR)


def run(world, folder, fit, text="v1", seed=0, **more):
    series, targets, folds = world
    return walk_forward({"moments": fit}, series, targets, folds, folder, settings={"moments": text}, seed=seed, **more)


def test_every_fold_is_refitted_on_what_came_before_and_all_blocks_are_judged_together(world, tmp_path):
    fit = Fitting()
    parts = run(world, tmp_path, fit)
    folds = world[2]
    assert fit.count == 3
    assert fit.last == sorted(fit.last)
    assert all(last < fold.test[0][0] for last, fold in zip(fit.last, folds, strict=True))
    assert [p.symbol for p in parts] == ["BTC/USDT", "ETH/USDT"]
    assert len(parts[0].rows) == sum(len(f.test[0]) for f in folds)
    found = evaluate(parts, block_bars=168, resamples=50)
    assert not found.notes
    assert 0.8 < found.of("moments", "1h")["coverage_90"].value < 0.97
    means = parts[0].outputs["moments"].log_volatility[:, 0]
    assert len(np.unique(means)) == 3


def test_a_run_that_was_cut_off_goes_on_where_it_stopped_and_ends_the_same(world, tmp_path):
    whole = run(world, tmp_path / "whole", Fitting())
    with pytest.raises(KeyboardInterrupt):
        run(world, tmp_path / "cut", Fitting(fail_at=2))
    again, seen = Fitting(), []
    resumed = run(world, tmp_path / "cut", again, on_fold=lambda fold, name, fitted: seen.append((fold, name, fitted)))
    assert again.count == 1
    assert seen == [(0, "moments", False), (1, "moments", False), (2, "moments", True)]
    for a, b in zip(whole, resumed, strict=True):
        np.testing.assert_array_equal(a.outputs["moments"].quantiles, b.outputs["moments"].quantiles)
        np.testing.assert_array_equal(a.variance_scales["moments"], b.variance_scales["moments"])


@pytest.mark.parametrize("change", [{"text": "v2"}, {"seed": 1}])
def test_other_settings_or_seeds_are_other_folds(world, tmp_path, change):
    run(world, tmp_path, Fitting())
    again = Fitting()
    run(world, tmp_path, again, **change)
    assert again.count == 3


def test_other_candles_are_other_folds(world, tmp_path):
    run(world, tmp_path, Fitting())
    changed = [symbol_world("BTC/USDT", 3), symbol_world("ETH/USDT", 2)]
    again = Fitting()
    run(([p[0] for p in changed], [p[1] for p in changed], world[2]), tmp_path, again)
    assert again.count == 3


def test_a_damaged_fold_is_fitted_again_and_no_half_file_stays(world, tmp_path):
    run(world, tmp_path, Fitting())
    victim = sorted(tmp_path.iterdir())[1]
    victim.write_bytes(victim.read_bytes()[:200])
    again = Fitting()
    run(world, tmp_path, again)
    assert again.count == 1
    assert all(f.suffix == ".npz" for f in tmp_path.iterdir())


def test_missing_settings_and_overlapping_folds_are_refused(world, tmp_path):
    series, targets, folds = world
    with pytest.raises(UsageError, match="settings text for moments"):
        walk_forward({"moments": Fitting()}, series, targets, folds, tmp_path, settings={})
    with pytest.raises(UsageError, match="overlap"):
        walk_forward({"moments": Fitting()}, series, targets, [folds[1], folds[0]], tmp_path, settings={"moments": ""})
