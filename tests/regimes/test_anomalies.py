"""Anomaly scores: causal, fresh, the same in a stream, sealed as JSON; laws against what they must say; alarms at the promised rate."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from candelabra.candles import simulate
from candelabra.candles.frame import Candles
from candelabra.candles.resample import resample
from candelabra.errors import BundleError, DataError, UsageError
from candelabra.regimes.anomalies import COMPONENTS, AnomalyModel, fit_anomalies
from candelabra.regimes.anomaly_alarms import FOLLOW, Threshold, alarms, calibrate
from candelabra.regimes.anomaly_evidence import LONGEST_RUN
from candelabra.regimes.anomaly_forecasts import BarForecasts, quantile_surprise
from candelabra.regimes.anomaly_laws import MOST, StudentLaw, fit_runs, fit_student, fit_tail
from candelabra.testing import check_all, check_fit, check_streaming, example_candles, perturbed_after
from candelabra.testing.anomalies import plant

LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@cache
def market() -> Candles:
    return simulate(bars=6_000, seed=5).candles


@cache
def model() -> AnomalyModel:
    return fit_anomalies(market().rows(slice(0, 4_000)))


def normal_forecasts(candles: Candles, sd: float = 0.006) -> BarForecasts:
    return BarForecasts.of(np.tile(stats.norm.ppf(LEVELS, scale=sd), (len(candles), 1)), LEVELS)


# Laws


def test_scores_keep_the_laws_on_a_market_with_gaps() -> None:
    candles = example_candles(bars=1_500)
    audit = check_all(lambda c: {"combined": model().score(c).combined}, candles, warm_up=model().memory)
    assert audit.passed


def test_every_component_streams_from_its_memory_alone() -> None:
    candles = plant(example_candles(bars=1_500), every=40, seed=3).candles
    names = [name for names in COMPONENTS.values() for name in names]
    check_streaming(lambda c: {n: model().score(c).components[n] for n in names}, candles, warm_up=model().memory, steps=60)


@settings(max_examples=25, deadline=None)
@given(st.integers(30, 2_399), st.integers(0, 10_000))
def test_what_comes_later_moves_no_earlier_score(row: int, seed: int) -> None:
    candles = example_candles(bars=2_400, seed=seed % 3)
    row = min(row, len(candles) - 2)
    changed = perturbed_after(candles, int(candles.close_time[row]), seed=seed)
    a, b = model().score(candles).columns(), model().score(changed).columns()
    for name in a:
        np.testing.assert_array_equal(a[name][: row + 1], b[name][: row + 1], err_msg=name)


@settings(max_examples=10, deadline=None)
@given(st.integers(700, 1_400))
def test_forecasts_are_read_one_bar_late(row: int) -> None:
    candles = market().rows(slice(0, 1_500))
    told = normal_forecasts(candles)
    changed = BarForecasts(told.quantiles.copy(), told.levels)
    changed.quantiles[row:] *= 3
    a, b = model().score(candles, told).combined, model().score(candles, changed).combined
    np.testing.assert_array_equal(a[: row + 1], b[: row + 1])
    assert a[row + 1] != b[row + 1]


def test_the_fit_reads_train_alone() -> None:
    candles = example_candles(bars=2_400)
    until = int(candles.close_time[1_500])

    known = int(candles.close_time[2_000])

    def fit(changed: Candles) -> dict[str, object]:
        fitted = fit_anomalies(changed.between(end_ms=until))
        scores = fitted.score(changed).combined[(changed.close_time > until) & (changed.close_time <= known)]
        return {"law": np.array(fitted.combined.knots), "level": calibrate(scores, 5).value}

    check_fit(fit, candles, {"law": until, "level": known})


def test_a_threshold_that_follows_streams_to_the_bit() -> None:
    combined = model().score(market()).combined
    threshold = calibrate(combined[4_000:5_000], 5, step=FOLLOW)
    whole = threshold.flag(combined[5_000:])
    level: float | None = None
    for part in np.array_split(combined[5_000:], 37):
        flags = threshold.flag(part, level)
        level = flags.end
    assert level == whole.end


# JSON


def test_a_model_and_a_threshold_survive_json_to_the_bit() -> None:
    again = AnomalyModel.from_dict(json.loads(json.dumps(model().to_dict())))
    assert again.to_dict() == model().to_dict()
    np.testing.assert_array_equal(again.score(market()).combined, model().score(market()).combined)
    threshold = calibrate(model().score(market()), 2, step=FOLLOW)
    assert Threshold.from_dict(json.loads(json.dumps(threshold.to_dict()))) == threshold


@pytest.mark.parametrize("broken", [{}, {"version": "0"}, {"version": "1", "symbol": "X"}])
def test_what_is_no_model_is_refused(broken: dict[str, str]) -> None:
    with pytest.raises(BundleError, match=r"fit (them|again)"):
        AnomalyModel.from_dict(broken)
    with pytest.raises(BundleError, match="calibrate again"):
        Threshold.from_dict(broken)


# Laws of rarity


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_a_tail_law_says_how_rare_and_never_falls(seed: int) -> None:
    x = np.random.default_rng(seed).exponential(size=4_000)
    law = fit_tail(x, "x")
    grid = np.linspace(-1, 12, 200)
    assert (np.diff(law.surprise(grid)) >= 0).all()
    counted = np.array([(x >= v).mean() for v in law.knots])
    assert np.abs(law.surprise(law.knots) + np.log10(counted)).max() < 0.01  # as far as train goes it is a count
    assert law.surprise([1e9])[0] == MOST
    assert np.isnan(law.surprise([np.nan])[0])


def test_beyond_what_train_has_seen_a_tail_law_is_near_the_true_one() -> None:
    """Forty values make the tail: it errs, evenly to both sides, and seldom by much (fixed seeds: any bound fails for some draw)."""
    away = []
    for seed in range(200):
        law = fit_tail(np.random.default_rng(seed).exponential(size=4_000), "x")
        away.append(law.surprise([1.0, 3.0, 12.0]) - np.array([1, 3, 12]) / np.log(10))
    error = np.array(away)
    assert np.abs(error[:, :2]).max() < 0.1
    assert abs(float(np.median(error[:, 2]))) < 0.1
    assert (np.abs(error[:, 2]) < 1.6).mean() > 0.98


def test_values_that_are_nearly_all_the_same_have_a_law() -> None:
    law = fit_tail(np.r_[np.zeros(990), np.arange(1, 11)], "x")
    assert law.surprise([0.0])[0] == 0
    assert law.surprise([1.0])[0] > 1.5


def test_a_student_law_is_found_again() -> None:
    law = fit_student(stats.t.rvs(4, scale=2, size=20_000, random_state=0), "x")
    assert law.degrees == pytest.approx(4, rel=0.1)
    assert law.scale == pytest.approx(2, rel=0.05)
    assert law.surprise([0.0, np.nan])[0] == 0
    assert StudentLaw(4, 1).surprise([-8.610])[0] == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize("size", [0.5, 2.0, 4.0])
def test_quantiles_of_a_normal_law_tell_its_tails(size: float) -> None:
    q = stats.norm.ppf(LEVELS)[None, :].repeat(2, 0)
    low, high = quantile_surprise(q, [-size, size], LEVELS)
    assert low == pytest.approx(high, abs=1e-9)
    exact = -np.log10(2 * stats.norm.sf(size))
    assert (exact - 2.5 if size > 3 else exact - 0.15) < low < exact + 0.15


def test_forecasts_that_stand_on_one_value_give_numbers() -> None:
    q = np.zeros((3, len(LEVELS)))
    assert np.isfinite(quantile_surprise(q, [0.0, 1.0, -1.0], LEVELS)).all()
    assert np.isnan(quantile_surprise(np.full((1, 7), np.nan), [0.0], LEVELS)).all()
    with pytest.raises(DataError, match="two on each side"):
        quantile_surprise(q[:, :3], [0.0] * 3, (0.1, 0.5, 0.9))


def test_what_happens_often_is_no_surprise_and_what_never_did_is_one() -> None:
    often, never = fit_runs(np.arange(10_000) % 3 == 0), fit_runs(np.zeros(10_000, np.bool_))
    lengths = np.array([0, 1, 2, LONGEST_RUN])
    assert often.surprise(lengths)[:2] == pytest.approx([0, 0.477], abs=0.01)
    assert never.surprise(lengths)[1] > 4
    assert (np.diff(never.surprise(lengths)) >= 0).all()


# Alarms


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(1, 50))
def test_exchangeable_bars_hold_the_promise(seed: int, per_thousand: float) -> None:
    random = np.random.default_rng(seed)
    rates, inside = [], []
    for _ in range(40):
        threshold = calibrate(random.normal(size=2_000), per_thousand)
        count = int(threshold.flag(random.normal(size=2_000)).alarm.sum())
        low, high = threshold.interval(2_000)
        inside.append(low <= count <= high)
        rates.append(1000 * count / 2_000 - 1000 * threshold.rate)
    assert np.mean(inside) >= 0.8
    assert abs(np.mean(rates)) < 5 * np.sqrt(2 * per_thousand / 2 / 40 / 1) + 0.3


def test_a_threshold_that_follows_holds_the_rate_when_the_market_changes() -> None:
    random = np.random.default_rng(1)
    fixed, follows = (calibrate(random.exponential(size=5_000) / np.log(10), 5, step=s) for s in (0.0, FOLLOW))
    later = 1.5 * random.exponential(size=50_000) / np.log(10)
    assert fixed.flag(later).alarm.mean() > 4 * fixed.rate
    assert follows.flag(later).alarm.mean() < 1.35 * follows.rate


def test_too_short_a_range_and_impossible_rates_are_refused() -> None:
    with pytest.raises(DataError, match="499 are needed"):
        calibrate(np.arange(300.0), 2)
    with pytest.raises(UsageError, match="between 0 and 500"):
        calibrate(np.arange(300.0), 0)
    assert "false alarms per 1,000" in calibrate(np.arange(5_000.0), 2).words(1_000)


def test_another_timeframe_few_bars_and_forecasts_amiss_are_refused() -> None:
    with pytest.raises(UsageError, match="fit at 4h"):
        model().score(resample(market(), "4h"))
    with pytest.raises(DataError, match="longer train range"):
        fit_anomalies(market().rows(slice(0, 300)))
    with pytest.raises(DataError, match="a row a bar"):
        model().score(market(), normal_forecasts(market().rows(slice(0, 10))))


@pytest.mark.parametrize("timeframe", ["1m", "4h", "1d"])
def test_other_timeframes_have_their_own_patterns(timeframe: str) -> None:
    candles = simulate("SIM/USDT", timeframe, bars=3_000, seed=2).candles
    fitted = fit_anomalies(candles)
    times = {"1m": 168, "4h": 42, "1d": 7}[timeframe]
    assert len(fitted.expected.volume) == times
    combined = fitted.score(candles).combined
    assert abs((combined[np.isfinite(combined)] > 2).mean() - 0.01) < 0.002


# What is planted is seen, and said


def test_alarms_say_why() -> None:
    planted = plant(market(), every=200, seed=2)
    scores = model().score(planted.candles)
    flags = calibrate(model().score(market()).combined[4_000:], 2).flag(scores)
    found = {a.open_ms: a for a in alarms(scores, flags)}
    assert len(found) == flags.alarm.sum()
    said = {"stuck feed": "nothing has changed", "volume burst": "what is usual here at this hour", "fat finger": "a wick of"}
    for kind, words in said.items():
        rows = [planted.stop[i] - 1 for i, k in enumerate(planted.kinds) if k == kind]
        texts = [found[int(planted.candles.open_time[row])].reason for row in rows if flags.alarm[row]]
        assert len(texts) >= 0.6 * len(rows), kind
        assert sum(words in text for text in texts) >= 0.6 * len(texts), (kind, texts)
    late = alarms(scores, flags, since_ms=int(scores.close_time[5_000]))
    assert 0 < len(late) < len(found)
    assert late[0].close_ms > scores.close_time[5_000]
    json.dumps([a.to_dict() for a in late])


def test_gaps_and_missing_source_bars_are_flags() -> None:
    candles = market().rows(np.r_[0:5_000, 5_003:6_000])
    scores = model().score(candles)
    assert scores.worst(5_000) == ["gap"]
    lost = np.zeros(len(market()), np.int32)
    lost[5_000] = 4
    o, h, lo, c, v = market().values()
    scores = model().score(Candles.of("SIM/USDT", "1h", market().open_time, o, h, lo, c, v, lost, source="5m"))
    assert scores.components["missing"][5_000] > 3


def test_a_long_gap_is_flagged_though_nothing_else_is_known() -> None:
    candles = market().rows(np.r_[0:3_000, 3_100:6_000])
    scores = model().score(candles)
    assert scores.components["gap"][3_000] > 5
    assert scores.combined[3_000] > 3
    assert np.isnan(scores.combined[3_001])


def test_forecasts_take_the_place_of_the_built_in_law() -> None:
    told = normal_forecasts(market())
    told.quantiles[5_000:] = np.nan
    with_, without = model().score(market(), told), model().score(market())
    np.testing.assert_array_equal(with_.components["return"][5_001:], without.components["return"][5_001:])
    exact = quantile_surprise(told.for_each_bar(), with_.evidence.returns, LEVELS)
    np.testing.assert_array_equal(with_.components["return"][1:5_000], exact[1:5_000])
    assert (with_.components["range"][1_000:5_000] != without.components["range"][1_000:5_000]).mean() > 0.95
