import math

import numpy as np
import pytest
from scipy import stats

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import DataError, UsageError
from candelabra.evaluation.judged import Part
from candelabra.evaluation.results import Evaluation
from candelabra.evaluation.skill import REFERENCE, evaluate
from candelabra.evaluation.verdict import verdict
from candelabra.metrics import forecast as point
from candelabra.metrics.quantiles import crps
from candelabra.models.base import QUANTILE_LEVELS, ModelOutput
from candelabra.windows.targets import Targets

HOUR = 3_600_000
STEPS = (1, 6)


def market(seed=0, bars=3000, drift=0.0, signal=0.0):
    """Targets of a simulated market whose log scale and (slight) drift per bar are known, and a model that knows them."""
    rng = np.random.default_rng(seed)
    level = -5.0 + np.sin(np.arange(bars) / 60.0) * 0.6
    known = signal * rng.normal(size=bars) * np.exp(level)
    step = rng.normal(size=bars + 6) * np.exp(np.pad(level, (0, 6), mode="edge")) + drift
    step[1 : bars + 1] += known
    path = np.cumsum(step)
    returns = np.stack([np.concatenate([path[h:bars] - path[: bars - h], np.full(h, np.nan)]) for h in STEPS], axis=1)
    scale = level[:, None] + 0.5 * np.log(STEPS)
    volatility = scale + rng.normal(0, 0.3, (bars, 2))
    volatility[np.isnan(returns)] = np.nan
    close = np.arange(1, bars + 1, dtype=np.int64) * HOUR
    targets = Targets(
        (Timeframe("1h"), Timeframe("6h")), STEPS, Timeframe("5m"), returns, volatility, close[:, None] + np.array(STEPS) * HOUR
    )
    mean = np.stack([known, known], axis=1)
    return targets, close, mean, scale


def forecast(mean, scale, claim=1.0):
    quantiles = mean[..., None] + claim * np.exp(scale)[..., None] * stats.norm.ppf(QUANTILE_LEVELS)
    return ModelOutput(quantiles.astype(np.float32), mean.astype(np.float32), scale.astype(np.float32))


def part(seed=0, symbol="BTC/USDT", signal=0.0, extra=None, rows=None, **market_settings):
    targets, close, mean, scale = market(seed, signal=signal, **market_settings)
    rows = np.arange(1500, 3000) if rows is None else rows
    flat = np.full_like(scale, scale.mean())
    noise = np.random.default_rng(seed + 100).normal(size=scale.shape)
    outputs = {
        "knows": forecast(mean, scale),
        "flat": forecast(0 * mean, flat),
        "noisy": forecast(0.01 * noise, scale + 0.4 * noise),
    } | (extra(mean, scale) if extra else {})
    return Part(symbol, targets, close, rows, np.arange(0, 1400), {name: o.rows(rows) for name, o in outputs.items()})


@pytest.fixture(scope="module")
def judged():
    return evaluate([part(signal=0.3)], baselines=("flat",), block_bars=168, trials=3, resamples=400, variance_scales={"knows": [1.2, 1.1]})


def test_figures_equal_direct_computation(judged):
    p = part(signal=0.3)
    y, v = p.targets.returns[p.rows][:, 0], p.targets.log_volatility[p.rows][:, 0]
    o, found = p.outputs["knows"], judged.of("knows", "1h")
    assert found["mse"].value == pytest.approx(np.nanmean((y - o.mean[:, 0]) ** 2))
    assert found["rmse"].value == pytest.approx(np.sqrt(found["mse"].value))
    assert found["mase"].value == pytest.approx(np.nanmean(np.abs(y - o.mean[:, 0])) / np.nanmean(np.abs(p.targets.returns[:1400, 0])))
    assert found["crps"].value == pytest.approx(np.nanmean(crps(o.quantiles[:, 0], y, QUANTILE_LEVELS)))
    assert found["r2"].value == pytest.approx(point.r2(v, o.log_volatility[:, 0]))
    assert found["qlike"].value == pytest.approx(np.nanmean(point.qlike(v, o.log_volatility[:, 0], 1.2)))
    assert found["ic"].value == pytest.approx(point.correlation(y, o.mean[:, 0]))
    assert found["direction"].value == pytest.approx(point.directional_accuracy(y, o.mean[:, 0]).value)


def test_the_reference_is_always_judged_and_knows_only_the_train_range(judged):
    p = part(signal=0.3)
    y = p.targets.returns[p.rows][:, 1]
    expected = np.tile(np.quantile(p.targets.returns[:1400, 1], QUANTILE_LEVELS), (1500, 1))
    assert judged.of(REFERENCE, "6h")["crps"].value == pytest.approx(np.nanmean(crps(expected, y, QUANTILE_LEVELS)), rel=1e-5)
    assert judged.of(REFERENCE, "6h")["mse"].value == pytest.approx(np.nanmean(y**2))


def test_knowledge_that_is_there_is_found_and_noise_is_clearly_worse(judged):
    assert judged.compare("knows", REFERENCE, "1h", "crps").words == "clearly better"
    assert judged.compare("knows", REFERENCE, "1h", "mse").words == "clearly better"
    assert judged.compare("knows", "flat", "1h", "r2").words == "clearly better"
    assert judged.compare("noisy", "flat", "1h", "mse").words == "clearly worse"
    known = judged.compare("knows", REFERENCE, "1h", "mse")
    assert known.dm_p_value < 0.01
    assert known.low < known.value < known.high
    assert known.trials == 3
    assert known.adjusted_p_value >= known.p_value


def test_r2_and_loss_intervals_hold_the_figure(judged):
    for name in ("r2", "qlike", "crps", "mse", "mae"):
        figure = judged.of("knows", "6h")[name]
        assert figure.low < figure.value < figure.high


def test_overlapping_horizons_widen_the_error_of_direction_and_coverage(judged):
    one, six = judged.of("knows", "1h"), judged.of("knows", "6h")
    for name in ("direction", "coverage_90"):
        assert 1.8 < six[name].standard_error / one[name].standard_error < 3.2
    assert judged.row_count("6h", "return").independent == pytest.approx(1494 / 6, rel=0.01)


def test_rows_one_model_cannot_forecast_are_left_out_for_all_and_counted():
    def late(mean, scale):
        output = forecast(mean, scale)
        for array in (output.mean, output.quantiles, output.log_volatility):
            array[1500:1700] = np.nan
        return {"late": output}

    found = evaluate([part(extra=late)], block_bars=168, resamples=50)
    shorter = evaluate([part(rows=np.arange(1700, 3000))], block_bars=168, resamples=50)
    count = found.row_count("1h", "volatility")
    assert (count.given, count.no_outcome, count.used, count.not_ready) == (1500, 1, 1299, {"late": 200})
    assert found.of("knows", "1h")["r2"].value == pytest.approx(shorter.of("knows", "1h")["r2"].value)
    assert found.of(REFERENCE, "1h")["mse"].value == pytest.approx(shorter.of(REFERENCE, "1h")["mse"].value)


def test_a_model_of_volatility_alone_is_judged_on_that_alone_and_costs_the_others_no_row():
    def only_volatility(mean, scale):
        nothing = np.full_like(mean, np.nan)
        return {"har": ModelOutput(np.full((*mean.shape, 21), np.nan, np.float32), nothing.astype(np.float32), scale.astype(np.float32))}

    found = evaluate([part(extra=only_volatility)], baselines=("har",), block_bars=168, resamples=50)
    assert "mse" not in found.of("har", "1h")
    assert "r2" in found.of("har", "1h")
    assert found.row_count("1h", "return").used == 1499
    assert found.compare("knows", "har", "1h", "mse") is None
    assert found.compare("knows", "har", "1h", "r2").value == 0.0
    assert found.compare("knows", "har", "1h", "r2").words == "level"


def test_the_same_symbol_twice_gives_the_same_figures_and_no_narrower_intervals():
    one = evaluate([part(signal=0.3)], baselines=("flat",), block_bars=168, resamples=200)
    two = evaluate([part(signal=0.3), part(signal=0.3, symbol="COPY/USDT")], baselines=("flat",), block_bars=168, resamples=200)
    for measure in ("mse", "crps", "r2", "qlike"):
        a, b = one.compare("knows", "flat", "1h", measure), two.compare("knows", "flat", "1h", measure)
        np.testing.assert_allclose([a.value, a.low, a.high, a.dm_p_value], [b.value, b.low, b.high, b.dm_p_value], rtol=1e-6, atol=1e-9)
    assert one.of("knows", "1h")["direction"].standard_error == pytest.approx(two.of("knows", "1h")["direction"].standard_error)


def test_r2_of_several_symbols_is_the_mean_of_their_own():
    parts = [part(1), part(2, "ETH/USDT")]
    each = [evaluate([p], block_bars=168, resamples=20).of("noisy", "1h")["r2"].value for p in parts]
    assert evaluate(parts, block_bars=168, resamples=20).of("noisy", "1h")["r2"].value == pytest.approx(np.mean(each))


def test_several_seeds_give_the_mean_of_their_figures():
    def seeds(k):
        return forecast(np.zeros((3000, 2)), market(0)[3] + np.random.default_rng(k).normal(0, 0.2, (3000, 2)))

    p = part()
    outputs = [seeds(k).rows(p.rows) for k in range(3)]

    def run(given):
        one = Part(p.symbol, p.targets, p.close_time_ms, p.rows, p.train_rows, {"flat": p.outputs["flat"], "ours": given})
        return evaluate([one], baselines=("flat",), block_bars=168, resamples=20)

    together, alone = run(outputs), [run(o) for o in outputs]
    for name in ("r2", "qlike", "crps", "mse", "coverage_90"):
        assert together.of("ours", "1h")[name].value == pytest.approx(np.mean([a.of("ours", "1h")[name].value for a in alone]))
    difference = together.compare("ours", "flat", "1h", "r2").value
    assert difference == pytest.approx(np.mean([a.compare("ours", "flat", "1h", "r2").value for a in alone]))


def test_an_evaluation_survives_json(judged):
    again = Evaluation.from_json(judged.to_json())
    assert again.to_json() == judged.to_json()
    assert again.comparisons == judged.comparisons
    assert math.isnan(again.of(REFERENCE, "1h")["direction"].value)
    with pytest.raises(DataError, match="not an evaluation"):
        Evaluation.from_json('{"symbols": []}')


def test_the_table_has_one_row_per_figure(judged):
    rows = list(judged.table())
    assert {"model", "horizon", "figure", "value", "standard_error", "low", "high"} == set(rows[0])
    assert len(rows) == sum(len(m.figures) for m in judged.models)


def test_the_best_baseline_is_the_one_with_the_least_loss_or_highest_r2(judged):
    assert judged.best(("flat", "noisy", "nobody"), "1h", "mse") == "flat"
    assert judged.best(("flat", "knows"), "1h", "r2") == "knows"
    assert judged.best(("nobody",), "1h", "r2") is None


def test_short_ranges_say_that_their_blocks_were_shortened():
    found = evaluate([part(rows=np.arange(2700, 3000))], block_bars=168, resamples=20)
    assert found.block_bars == 75
    assert any("short" in note for note in found.notes)


def test_prices_that_never_move_give_figures_without_skill_not_an_error():
    p = part()
    still = Targets(p.targets.horizons, STEPS, Timeframe("5m"), np.zeros((3000, 2)), np.full((3000, 2), -np.inf), p.targets.known_at)
    found = evaluate([Part(p.symbol, still, p.close_time_ms, p.rows, p.train_rows, p.outputs)], block_bars=168, resamples=20)
    assert found.of(REFERENCE, "1h")["mse"].value == 0.0
    assert "r2" not in found.of("knows", "1h")
    assert found.compare("knows", REFERENCE, "1h", "mse") is None
    verdict(found, "knows")


def test_few_rows_far_apart_are_judged_without_a_warning():
    rows = np.concatenate([np.arange(1500, 1520), np.arange(2900, 2920)])
    found = evaluate([part(rows=rows)], baselines=("flat",), block_bars=24, resamples=300)
    assert found.row_count("1h", "return").independent == 40
    assert found.row_count("6h", "return").independent < 10
    verdict(found, "knows", baselines=("flat",))


def test_mistakes_are_refused_in_plain_words():
    p = part()
    with pytest.raises(UsageError, match="baselines nobody are not among"):
        evaluate([p], baselines=("nobody",), block_bars=168)
    with pytest.raises(UsageError, match="trials"):
        evaluate([p], block_bars=168, trials=0)
    with pytest.raises(DataError, match="nothing to evaluate"):
        evaluate([], block_bars=168)
    wrong = Part(p.symbol, p.targets, p.close_time_ms, p.rows[:-1], p.train_rows, p.outputs)
    with pytest.raises(DataError, match="predict at exactly those rows"):
        evaluate([wrong], block_bars=168)
    with pytest.raises(UsageError, match="must rise"):
        evaluate([Part(p.symbol, p.targets, p.close_time_ms, p.rows[::-1], p.train_rows, p.outputs)], block_bars=168)


def words_of(evaluation, model, what, horizon="1h", **baselines):
    return next(r for r in verdict(evaluation, model, **baselines) if r.what == what and r.horizon == horizon)


def test_no_skill_is_said_to_be_none():
    found = evaluate(
        [part(signal=0.0, extra=lambda m, s: {"guess": forecast(np.random.default_rng(7).normal(0, 1e-4, m.shape), s)})],
        block_bars=168,
        resamples=400,
    )
    assert words_of(found, "guess", "direction").words == "no skill found"
    assert words_of(found, "guess", "return MSE skill over the zero forecast").words == "level, no skill found"
    assert words_of(found, "guess", "rank IC").words == "no skill found"


def test_figures_too_good_for_markets_are_called_bugs():
    """The simulated model knows drift and scale: direction above 57 % and R2 above 0.65 must raise the flag."""
    found = evaluate([part(signal=1.0)], block_bars=168, resamples=100)
    for what in ("direction", "volatility R2"):
        row = words_of(found, "knows", what)
        assert row.flag
        assert row.words == "a bug until proven otherwise"


def test_a_rising_market_is_no_skill_in_direction():
    found = evaluate([part(drift=0.002, extra=lambda m, s: {"up": forecast(np.full_like(m, 1e-4), s)})], block_bars=168, resamples=50)
    row = words_of(found, "up", "direction")
    assert found.of("up", "1h")["direction"].value > 0.53
    assert row.good is None
    if not row.flag:
        assert "commoner direction" in row.words


def test_intervals_that_are_too_narrow_or_wide_are_named():
    found = evaluate(
        [part(extra=lambda m, s: {"narrow": forecast(0 * m, s, 0.5), "wide": forecast(0 * m, s, 2.0)})], block_bars=168, resamples=50
    )
    what = "coverage of 90 % intervals"
    assert [words_of(found, m, what).words for m in ("narrow", "wide", "knows")] == ["too narrow", "too wide", "covers as stated"]


def test_many_trials_take_the_word_better_away():
    extra = {"extra": lambda m, s: {"tuned": forecast(0.25 * m, s)}}
    once = evaluate([part(signal=0.12, **extra)], block_bars=168, resamples=400)
    often = evaluate([part(signal=0.12, **extra)], block_bars=168, resamples=400, trials=5000)
    what = "return MSE skill over the zero forecast"
    assert words_of(once, "tuned", what).words == "clearly better"
    assert "luck among 5000 trials" in words_of(often, "tuned", what).words


def test_volatility_is_compared_with_each_named_baseline(judged):
    assert words_of(judged, "knows", "volatility R2 over flat", baselines=("flat",)).good is True
    assert words_of(judged, "noisy", "return MSE skill over the zero forecast").words == "clearly worse"
