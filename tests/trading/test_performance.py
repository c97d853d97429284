"""Figures of an equity curve: against empyrical, against small sums, and against what luck does."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candelabra.candles.frame import Candles
from candelabra.testing import example_candles
from candelabra.trading.account import Account
from candelabra.trading.backtest import Walk, backtest
from candelabra.trading.performance import (
    break_even,
    deflated_sharpe,
    drawdowns,
    expected_best_sharpe,
    growth_a_year,
    performance,
    probabilistic_sharpe,
)

HOUR = 3_600_000


def test_the_figures_agree_with_empyrical() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, about pandas
        empyrical = pytest.importorskip("empyrical", reason="empyrical-reloaded is not installed: pip install 'candelabra[dev]'")
    candles = example_candles("1h", 3000, seed=3, gaps=False)
    random = np.random.default_rng(1)
    target = np.repeat(random.choice([-1.0, 0.0, 0.5, 1.0], 300), 10)
    run = backtest(candles, target, Account(taker=0.0004, slippage=0.0001))
    found, r, year = performance(run), run.returns, 24 * 365
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found.growth == pytest.approx(float(empyrical.cum_returns_final(r)), rel=1e-9)
        assert found.cagr == pytest.approx(float(empyrical.cagr(r, annualization=year)), rel=1e-6)
        assert found.volatility == pytest.approx(float(empyrical.annual_volatility(r, annualization=year)), rel=1e-9)
        assert found.sharpe == pytest.approx(float(empyrical.sharpe_ratio(r, annualization=year)), rel=1e-9)
        assert found.sortino == pytest.approx(float(empyrical.sortino_ratio(r, annualization=year)), rel=1e-9)
        assert found.max_drawdown == pytest.approx(float(empyrical.max_drawdown(r)), rel=1e-9)
        assert found.calmar == pytest.approx(float(empyrical.calmar_ratio(r, annualization=year)), rel=1e-6)


def test_trades_and_turnover_by_hand() -> None:
    times = [HOUR * t for t in range(6)]
    prices = [100.0, 100.0, 110.0, 100.0, 90.0, 90.0]
    candles = Candles.of("A/B", "1h", times, prices, prices, prices, prices, [1.0] * 6)
    run = backtest(candles, [1.0, 0.0, 1.0, 0.0, 0.0, 0.0], Account(taker=0.0, slippage=0.0))
    # in at 100, out at 110: +10 %; in at 100, out at 90: -10 % of 1.1
    found = performance(run)
    assert found.growth == pytest.approx(1.1 * 0.9 - 1.0)
    assert (found.trades, found.hit_rate) == (2, 0.5)
    assert found.profit_factor == pytest.approx(0.1 / 0.11)
    assert found.max_drawdown == pytest.approx(-0.1)
    assert found.drawdown_bars == 2
    assert found.in_market == pytest.approx(2 / 6)
    assert run.totals["traded"] == pytest.approx(1.0 + 1.1 + 1.1 + 0.99)
    years = 6 / (24 * 365)
    assert found.turnover == pytest.approx(4.19 / float(run.equity.mean()) / years)


def test_figures_of_nothing_say_nothing() -> None:
    candles = example_candles("1h", 100)
    found = performance(backtest(candles, np.zeros(len(candles))))
    assert (found.growth, found.max_drawdown, found.trades, found.exposure) == (0.0, 0.0, 0, 0.0)
    assert all(math.isnan(x) for x in (found.sharpe, found.sortino, found.calmar, found.hit_rate, found.profit_factor))
    assert growth_a_year(-1.0, 2.0) == -1.0
    assert math.isnan(growth_a_year(0.1, 0.0))


@given(st.lists(st.floats(0.1, 10.0), min_size=1, max_size=60))
def test_drawdowns_are_what_a_loop_finds(equity: list[float]) -> None:
    fall, longest = drawdowns(np.array(equity), 1.0)
    peak, run, best = 1.0, 0, 0
    for k, value in enumerate(equity):
        peak = max(peak, value)
        assert fall[k] == pytest.approx(value / peak - 1.0)
        run = run + 1 if value < peak else 0
        best = max(best, run)
    assert longest == best


# --- luck -----------------------------------------------------------------------------------------------------------------------------


def test_the_deflated_sharpe_of_the_papers_example() -> None:
    """Bailey and Lopez de Prado (2014), section "A numerical example": five years of days, annual Sharpe 2.5, skew -3, kurtosis 10,
    100 trials with an annual variance of 1/2: the expected best is 0.1132 a day, and the deflated ratio 0.9004.
    """
    best = expected_best_sharpe(100, 0.5 / 250)
    assert best == pytest.approx(0.1132, abs=2e-4)
    n, ratio, skew, kurtosis = 1250, 2.5 / math.sqrt(250), -3.0, 10.0
    from scipy.special import ndtr

    by_paper = float(ndtr((ratio - best) * math.sqrt(n - 1) / math.sqrt(1 - skew * ratio + (kurtosis - 1) / 4 * ratio**2)))
    assert by_paper == pytest.approx(0.9004, abs=2e-3)
    r = with_moments(n, ratio, skew, kurtosis)
    assert deflated_sharpe(r, 100, 0.5 / 250) == pytest.approx(by_paper, abs=2e-3)


def with_moments(n: int, ratio: float, skew: float, kurtosis: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Numbers with exactly these moments: two values and their mixture weights are found by bisection on a three-point law."""
    from scipy.optimize import least_squares

    def moments(x: np.ndarray[tuple[int], np.dtype[np.float64]]) -> tuple[float, float]:
        values, weight = np.array([x[0], x[1], 0.0]), np.array([x[2] ** 2, x[3] ** 2, 1.0])
        weight = weight / weight.sum()
        mean = float(weight @ values)
        spread = math.sqrt(float(weight @ (values - mean) ** 2))
        z = (values - mean) / spread
        return float(weight @ z**3), float(weight @ z**4)

    found = least_squares(lambda x: np.subtract(moments(x), (skew, kurtosis)), [-4.0, 1.0, 0.2, 0.8]).x
    weight = np.array([found[2] ** 2, found[3] ** 2, 1.0])
    counts = np.round(n * weight / weight.sum()).astype(int)
    counts[2] = n - counts[0] - counts[1]
    r = np.repeat([found[0], found[1], 0.0], counts)
    r = (r - r.mean()) / r.std(ddof=1)
    return r + ratio


def test_more_tries_need_more_and_a_rule_without_skill_is_seldom_called_one() -> None:
    random = np.random.default_rng(0)
    r = random.normal(0.06, 1.0, 2000)
    told = [deflated_sharpe(r, trials) for trials in (1, 10, 1000)]
    assert told == sorted(told, reverse=True)
    assert told[0] == pytest.approx(probabilistic_sharpe(r))
    best_of_fifty = [max(random.normal(0, 1, (50, 500)), key=lambda x: x.mean() / x.std()) for _ in range(200)]
    naive = np.mean([probabilistic_sharpe(x) > 0.95 for x in best_of_fifty])
    deflated = np.mean([deflated_sharpe(x, 50) > 0.95 for x in best_of_fifty])
    assert naive > 0.8  # the best of fifty nearly always looks like skill
    assert deflated < 0.1


# --- costs ----------------------------------------------------------------------------------------------------------------------------


def test_at_the_break_even_cost_nothing_is_left() -> None:
    candles = example_candles("1h", 600, seed=2, gaps=False)
    ahead = np.append(np.log(candles.close[1:] / candles.open[1:]), 0.0)
    target = (ahead > 0.001).astype(float)  # it knows the next bar, so that there is something to lose
    account = Account(taker=0.0001, slippage=0.0)
    walking = Walk.over(candles, account)
    run = walking.run(walking.grid.place([target]), account)
    cost = break_even(walking, run.target, run)
    assert 0.0005 < cost < 0.02
    at_cost = walking.run(run.target, Account(taker=cost, maker=cost, slippage=0.0))
    assert at_cost.growth == pytest.approx(0.0, abs=1e-3)
    assert walking.run(run.target, Account(taker=cost + 1e-5, slippage=0.0)).growth < 0.0
    losing = walking.run(walking.grid.place([1.0 - target]), account)
    assert break_even(walking, losing.target, losing) == 0.0
    idle = walking.run(np.zeros_like(run.target), account)
    assert math.isnan(break_even(walking, idle.target, idle))
