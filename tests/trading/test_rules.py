"""Rules: what they decide, that they read nothing ahead, that the newest forecast can move them, and choosing among them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import BundleError, UsageError
from candelabra.metrics.calibration import Calibration
from candelabra.models.base import ModelOutput
from candelabra.testing import check_rule, example_candles, example_forecasts
from candelabra.testing.broken import LawBroken
from candelabra.trading.account import Account
from candelabra.trading.backtest import Walk
from candelabra.trading.choice import Choice, choose, default_grid
from candelabra.trading.forecasts import Forecasts
from candelabra.trading.rules import (
    RULES,
    Band,
    BuyAndHold,
    Flat,
    Plan,
    Rule,
    Threshold,
    VolatilityTarget,
    follow,
    new_rule,
    positions,
    told,
)
from candelabra.trading.sweep import sweep
from candelabra.windows.targets import candle_targets

Floats = NDArray[np.float64]
LEVELS = (0.05, 0.5, 0.95)
HOUR = 3_600_000


def says(mean: list[float], volatility: float | list[float] = 0.02) -> Forecasts:
    """Forecasts of one day ahead, hour by hour."""
    n = len(mean)
    m, v = np.array(mean)[:, None], np.broadcast_to(np.asarray(volatility, float), n)[:, None]
    return Forecasts(HOUR * np.arange(1, n + 1), (Timeframe("24h"),), m, v, np.stack([m - v, m, m + v], axis=2), LEVELS)


def test_a_threshold_goes_in_above_one_and_out_below_the_other() -> None:
    seen = says([0.0, 0.003, 0.002, 0.0011, 0.001, 0.002, -0.004, np.nan, -0.004])
    rule = Threshold(enter=0.0025, leave=0.001)
    assert positions(rule, seen, 0.0).tolist() == [0, 1, 1, 1, 0, 0, 0, 0, 0]
    both = replace(rule, side="both", size=0.5)
    assert positions(both, seen, 0.0).tolist() == [0, 0.5, 0.5, 0.5, 0, 0, -0.5, 0, -0.5]
    assert positions(replace(rule, side="short"), seen, 0.0).tolist() == [0, 0, 0, 0, 0, 0, -1, 0, -1]


def test_signals_are_the_mean_the_median_and_their_ratio_to_volatility() -> None:
    seen = says([0.003, 0.003], [0.1, 0.01])
    assert positions(Threshold(signal="ratio", enter=0.1), seen, 0.0).tolist() == [0, 1]
    assert positions(Threshold(signal="median", enter=0.0025), seen, 0.0).tolist() == [1, 1]
    with pytest.raises(UsageError, match="unknown signal"):
        positions(Threshold(signal="means"), seen, 0.0)
    with pytest.raises(UsageError, match=r'no horizon .* did you mean "24h"'):
        positions(Threshold(horizon="24"), seen, 0.0)


def test_a_band_waits_until_the_costs_are_covered() -> None:
    seen = says([0.0029, 0.0031, 0.0001, -0.0001, 0.0031])
    assert positions(Band(), seen, 0.0015).tolist() == [0, 1, 1, 0, 1]  # in above 2 x 15 bp, out when it turns
    assert positions(Band(factor=2.0), seen, 0.0015).tolist() == [0] * 5
    assert positions(Band(), seen, 0.0).tolist() == [1, 1, 1, 0, 1]


def test_a_volatility_target_is_small_in_storms_and_moves_seldom() -> None:
    a_day = 0.4 / np.sqrt(365)
    seen = says([0.0] * 6, [a_day, 2 * a_day, 1.9 * a_day, 4 * a_day, 0.2 * a_day, np.nan])
    np.testing.assert_allclose(positions(VolatilityTarget(0.4), seen, 0.0), [1.0, 0.5, 0.5, 0.25, 1.0, 0.0], rtol=1e-12)
    eager = positions(VolatilityTarget(0.4, tolerance=0.0), seen, 0.0)
    np.testing.assert_allclose(eager[2], 1 / 1.9)
    turned = positions(VolatilityTarget(0.4, signal="mean", side="both"), says([0.01, -0.01], 2 * a_day), 0.0)
    np.testing.assert_allclose(turned, [0.5, -0.5])


def test_a_filter_keeps_out_and_hindsight_is_refused() -> None:
    seen = says([0.01] * 4)
    allowed = np.array([True, False, True, True])
    assert positions(Threshold(), seen, 0.0, allowed=allowed).tolist() == [1, 0, 1, 1]
    with pytest.raises(UsageError, match="one value a bar"):
        positions(Threshold(), seen, 0.0, allowed=allowed[:2])
    future = candle_targets(example_candles("1h", 50), ["1h"])
    with pytest.raises(UsageError, match="knows the future"):
        positions(Threshold(), seen, 0.0, allowed=future)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="knows the future"):
        Forecasts.of(future, Calibration(("1h",), (1.0,), (1.0,)), seen.close_time, ("1h",))  # type: ignore[arg-type]


def test_settings_that_cannot_be_are_refused_by_name() -> None:
    seen = says([0.0])
    for rule, word in (
        (Threshold(enter=0.0, leave=0.1), "leave must not be above enter"),
        (Threshold(enter=-0.1, leave=-0.2, side="both"), "both sides at once"),
        (Threshold(side="up"), "unknown side"),  # type: ignore[arg-type]
        (VolatilityTarget(annual=0.0), "a volatility above 0"),
        (VolatilityTarget(tolerance=-1.0), "tolerance"),
    ):
        with pytest.raises(UsageError, match=word):
            positions(rule, seen, 0.0)
    with pytest.raises(UsageError, match=r'no setting .enterr.*did you mean "enter"'):
        new_rule("threshold", {"enterr": 1})
    with pytest.raises(UsageError, match="is not a number"):
        new_rule("threshold", {"enter": "much"})
    with pytest.raises(UsageError, match="unknown rule"):
        new_rule("tresholdd")


@pytest.mark.parametrize("name", RULES.names())
def test_a_rule_written_down_is_the_rule_again(name: str) -> None:
    rule = new_rule(name)
    values = told(rule)
    assert new_rule(values.pop("name"), values) == rule
    choice = Choice(rule, 3, float("nan"), 0.5, 7)
    again = Choice.of(choice.as_dict())
    assert (again.rule, again.tried, again.growth, again.bars) == (rule, 3, 0.5, 7)
    with pytest.raises(BundleError, match="not a chosen rule"):
        Choice.of({"rule": {"name": "threshold"}})


# --- the laws -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RULES.names())
def test_every_registered_rule_keeps_the_laws(name: str) -> None:
    check_rule(new_rule(name), fresh=name not in ("flat", "buy_and_hold"))
    if name in ("threshold", "band", "volatility_target"):
        extra = {} if name != "volatility_target" else {"signal": "mean"}
        check_rule(new_rule(name, {"side": "both", **extra}))


@dataclass(frozen=True)
class Peeking:
    """Made to be caught: acts on the forecast of the next bar."""

    name: str = "peeking"

    def plan(self, seen: Forecasts, cost: float) -> Plan:
        return Plan(np.append(seen.mean[1:, 0], 0.0), np.ones(len(seen)), 0.001)


@dataclass(frozen=True)
class Stale:
    """Made to be caught: acts on the forecast before the last."""

    name: str = "stale"

    def plan(self, seen: Forecasts, cost: float) -> Plan:
        return Plan(np.concatenate([[0.0], seen.mean[:-1, 0]]), np.ones(len(seen)), 0.001)


@dataclass(frozen=True)
class Normalised:
    """Made to be caught: scaled by the whole range it was shown."""

    name: str = "normalised"

    def plan(self, seen: Forecasts, cost: float) -> Plan:
        return Plan(seen.mean[:, 0] / np.nanstd(seen.mean[:, 0]), np.ones(len(seen)), 0.5)


@pytest.mark.parametrize(("rule", "word"), [(Peeking(), "moved when only"), (Stale(), "stale"), (Normalised(), "moved when only")])
def test_a_rule_that_breaks_a_law_is_caught(rule: Rule, word: str) -> None:
    with pytest.raises(LawBroken, match=word):
        check_rule(rule)


# --- one machine ----------------------------------------------------------------------------------------------------------------------


def by_hand(plan: Plan, allowed: NDArray[np.bool_]) -> list[float]:
    """The state machine as a sentence: leave first, then enter, then size."""
    side, held, out = 0, 0.0, []
    for x, large, may in zip(plan.score, plan.size, allowed, strict=True):
        if not may or np.isnan(x) or np.isnan(large):
            side = 0
        else:
            if (side > 0 and x <= plan.leave) or (side < 0 and x >= -plan.leave):
                side = 0
            if side <= 0 and plan.side != "short" and x > plan.enter:
                side = 1
            elif side >= 0 and plan.side != "long" and x < -plan.enter:
                side = -1
        wanted = side * min(max(large, 0.0), 1.0) if side else 0.0
        if side == 0:
            held = 0.0
        elif held * wanted <= 0 or abs(wanted - held) > plan.tolerance * abs(held):
            held = wanted
        out.append(held)
    return out


@given(
    values=st.lists(st.sampled_from([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, np.nan]), min_size=1, max_size=40),
    sizes=st.lists(st.sampled_from([0.2, 0.5, 0.55, 1.0, 3.0, np.nan]), min_size=40, max_size=40),
    closed=st.sets(st.integers(0, 39), max_size=5),
    enter=st.sampled_from([0.0, 0.5, 1.0]),
    leave=st.sampled_from([-1.0, 0.0]),
    side=st.sampled_from(["long", "short", "both"]),
    tolerance=st.sampled_from([0.0, 0.2]),
)
def test_the_compiled_machine_does_what_the_sentence_says(
    values: list[float], sizes: list[float], closed: set[int], enter: float, leave: float, side: str, tolerance: float
) -> None:
    plan = Plan(np.array(values), np.array(sizes[: len(values)]), enter, leave, side, tolerance)  # type: ignore[arg-type]
    allowed = np.array([k not in closed for k in range(len(values))])
    out = np.empty(len(values))
    follow(plan.score, plan.size, allowed, enter, leave, side != "short", side != "long", tolerance, out)
    assert out.tolist() == by_hand(plan, allowed)


def test_a_sweep_is_the_backtest_many_times() -> None:
    candles = [example_candles("1h", 900, seed=1), example_candles("1h", 700, seed=2, symbol="BBB/USDT")]
    told_ = [example_forecasts(c, seed=k) for k, c in enumerate(candles)]
    account = Account(leverage=2.0, stop=0.03, funding=0.0001, slippage_volatility=0.2)
    walking = Walk.over(candles, account, volatility=[f.bar_volatility(Timeframe("1h")) for f in told_])
    rules = [r for r in default_grid(Timeframe("1h"), told_[0].horizons) if r.name != "flat"][::5]
    found = sweep(walking, [[rule.plan(f, account.per_side) for f in told_] for rule in rules], account)
    assert len(found) == len(rules)
    for k, rule in enumerate(rules):
        run = walking.run(walking.grid.place([positions(rule, f, account.per_side) for f in told_]), account)
        assert found.growth[k] == run.growth
        assert (found.orders[k], found.trades[k]) == (run.totals["orders"], run.totals["trades"])
        spread = run.returns.std(ddof=1)
        assert found.sharpe[k] == pytest.approx(run.returns.mean() / spread if spread else 0.0, rel=1e-9, abs=1e-15)
        peak = np.maximum.accumulate(np.maximum(run.equity, account.purse))
        assert found.drawdown[k] == pytest.approx(float((1.0 - run.equity / peak).max()), rel=1e-9, abs=1e-12)
    with pytest.raises(UsageError, match="a plan per symbol, set alike"):
        sweep(walking, [[rules[0].plan(told_[0], 0.0)]], account)
    with pytest.raises(UsageError, match="at least one plan"):
        sweep(walking, [], account)


# --- choosing -------------------------------------------------------------------------------------------------------------------------


def scrambled_after(candles: Candles, row: int) -> Candles:
    """The same candles up to ``row``; every later one is another market."""
    other = example_candles("1h", len(candles), seed=77, gaps=False)
    factor = candles.close[row] / other.close[row]
    columns = [np.concatenate([a[: row + 1], b[row + 1 :] * factor]) for a, b in zip(candles.values()[:4], other.values()[:4], strict=True)]
    return Candles.of(candles.symbol, "1h", candles.open_time, *columns, candles.volume)


def test_a_choice_reads_validation_alone() -> None:
    candles = example_candles("1h", 4000, seed=5, gaps=False)
    told_ = example_forecasts(candles, seed=3)
    told_.mean[:-1, 0] += 0.5 * np.diff(np.log(candles.close))  # it knows something, so that there is something to choose
    rows = np.arange(1000, 2500)
    account = Account(taker=0.0002, slippage=0.0001)
    chosen = choose([candles], [told_.rows(rows)], [rows], account)
    assert chosen.tried == len(default_grid(Timeframe("1h"), told_.horizons))
    assert chosen.rule.name != "flat"
    again = choose([scrambled_after(candles, 2499)], [told_.rows(rows)], [rows], account)
    assert again == chosen
    moved = choose([scrambled_after(candles, 1600)], [told_.rows(rows)], [rows], account)
    assert moved != chosen  # what lies inside validation does count


def test_where_nothing_earned_its_costs_the_choice_is_to_stay_out() -> None:
    candles = example_candles("1h", 1500, seed=6, gaps=False)
    told_ = example_forecasts(candles, seed=3)
    rows = np.arange(200, 1200)
    rules = [Threshold(side="both", enter=e) for e in (0.0, 0.0001)]
    chosen = choose([candles], [told_.rows(rows)], [rows], Account(taker=0.05), rules=rules)
    assert chosen.rule == Flat()
    assert chosen.tried == 2
    always = choose([candles], [told_.rows(rows)], [rows], Account(), rules=[BuyAndHold()])
    assert always.rule == Flat()  # one purchase has shown nothing


def test_forecasts_come_from_a_models_output_in_natural_units() -> None:
    mean = np.array([[0.001, 0.002]], np.float32)
    output = ModelOutput(np.zeros((1, 2, 3), np.float32), mean, np.log(np.array([[0.01, 0.04]], np.float32)), LEVELS)
    told_ = Forecasts.of(output, Calibration(("1h", "4h"), (1.0, 1.0), (1.0, 4.0)), np.array([HOUR]), ("1h", "4h"))
    np.testing.assert_allclose(told_.volatility, [[0.01, 0.08]], rtol=1e-6)
    np.testing.assert_allclose(told_.annual_volatility(1), 0.08 * np.sqrt(365 * 6), rtol=1e-6)
    np.testing.assert_allclose(told_.bar_volatility(Timeframe("1h")), 0.01, rtol=1e-6)
