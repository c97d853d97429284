"""Paper trading bar by bar is the backtest: the same fills, fees, stops, funding and equity to the bit, also over restarts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from candelabra.bundles.predictor import Prediction
from candelabra.candles.frame import Candles
from candelabra.errors import DataError
from candelabra.live.paper import Paper
from candelabra.testing import example_candles, example_forecasts
from candelabra.trading.account import Account
from candelabra.trading.backtest import backtest
from candelabra.trading.forecasts import Forecasts
from candelabra.trading.rules import Band, BuyAndHold, Rule, Threshold, VolatilityTarget, positions

ACCOUNTS = {
    "plain": Account(),
    "stops": Account(stop=0.01, take=0.015, slippage_volatility=0.1),
    "margin": Account(leverage=8.0, funding=0.0005, maintenance=0.05),
}
RULES: dict[str, Rule] = {
    "both": Threshold(horizon="1h", signal="ratio", enter=0.3, side="both"),
    "band": Band(factor=0.5),
    "target": VolatilityTarget(annual=0.8, signal="mean"),
    "hold": BuyAndHold(),
}


def told(seen: Forecasts, row: int) -> Prediction | None:
    if not np.isfinite(seen.mean[row]).all():
        return None
    values = {name: tuple(getattr(seen, name)[row].tolist()) for name in ("mean", "volatility")}
    quantiles = tuple(tuple(q) for q in seen.quantiles[row].tolist())
    blank = {"symbol": "", "close": 1.0, "prices": quantiles, "log_volatility": (), "bundle": "", "simulated": True, "newest_ms": 0}
    names = {"horizons": tuple(h.name for h in seen.horizons), "levels": seen.levels, "as_of_ms": int(seen.close_time[row]), "regimes": {}}
    return Prediction(**blank, **names, **values, quantiles=quantiles)  # type: ignore[arg-type]


def silent_at(seen: Forecasts, rows: slice) -> Forecasts:
    mean = seen.mean.copy()
    mean[rows] = np.nan
    return Forecasts(seen.close_time, seen.horizons, mean, seen.volatility, seen.quantiles, seen.levels)


@pytest.fixture(scope="module")
def market() -> Candles:
    return example_candles(bars=700, seed=5)


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("rule", RULES)
def test_it_is_the_backtest_to_the_bit_over_restarts(rule: str, account: str, market: Candles) -> None:
    costs, how = ACCOUNTS[account], RULES[rule]
    seen = silent_at(example_forecasts(market, seed=2), slice(200, 220))
    wanted = positions(how, seen, costs.per_side)
    wanted[200:220] = 0.0
    volatility = [np.where(np.isfinite(seen.mean[:, 0]), seen.bar_volatility(market.timeframe), np.nan)]
    whole = backtest(market, wanted, costs, volatility=volatility if costs.slippage_volatility else None)
    paper = Paper(market.symbol, market.timeframe, how, costs)
    bars = []
    for row in range(len(market)):
        if row % 97 == 50:  # a restart, by way of JSON
            saved = json.loads(json.dumps(paper.save()))
            paper = Paper(market.symbol, market.timeframe, how, costs)
            paper.resume(saved)
        bars.append(paper.step(market.rows(slice(row, row + 1)), told(seen, row)))
    np.testing.assert_array_equal([bar.target for bar in bars], wanted)
    np.testing.assert_array_equal([bar.equity for bar in bars], whole.equity)
    np.testing.assert_array_equal([bar.cash for bar in bars], whole.cash)
    np.testing.assert_array_equal([bar.units for bar in bars], whole.units[:, 0])
    assert paper.fees == whole.totals["fees"]
    assert paper.equity == whole.final
    ended = [trade for bar in bars for trade in bar.trades]
    closed = [trade for trade in whole.trades if trade.reason != "open"]
    assert len(ended) == len(closed)
    for ours, theirs in zip(ended, closed, strict=True):
        assert (ours["profit"], ours["reason"], ours["entry"]) == (theirs.profit, theirs.reason, theirs.entry)
        assert ours["opened"] == market.open_time[theirs.opened]
        assert ours["closed"] == market.close_time[theirs.closed]


class Remembering:
    """A rule of somebody else that looks back on five forecasts."""

    name = "remembering"

    def plan(self, seen: Forecasts, cost: float) -> object:
        from candelabra.trading.rules import Plan

        score = np.array([np.nanmean(seen.mean[max(0, k - 4) : k + 1, 0]) for k in range(len(seen))])
        return Plan(score, np.ones(len(seen)), 0.0005, 0.0)


def test_a_rule_that_looks_back_on_forecasts_is_followed_too(market: Candles) -> None:
    seen, rule = example_forecasts(market, seed=2), Remembering()
    wanted = positions(rule, seen, Account().per_side)  # type: ignore[arg-type]
    paper = Paper(market.symbol, market.timeframe, rule, Account())  # type: ignore[arg-type]
    said = []
    for row in range(400):
        if row == 300:
            saved = json.loads(json.dumps(paper.save()))
            paper = Paper(market.symbol, market.timeframe, rule, Account())  # type: ignore[arg-type]
            paper.resume(saved)
        said.append(paper.step(market.rows(slice(row, row + 1)), told(seen, row)).target)
    np.testing.assert_array_equal(said, wanted[:400])


def test_a_bar_twice_or_out_of_order_is_refused(market: Candles) -> None:
    paper = Paper(market.symbol, market.timeframe, BuyAndHold(), Account())
    paper.step(market.rows(slice(5, 6)), None)
    for rows in (slice(5, 6), slice(4, 5), slice(6, 8)):
        with pytest.raises(DataError, match="one bar at a time"):
            paper.step(market.rows(rows), None)


def test_liquidation_is_seen_on_paper(market: Candles) -> None:
    fall: Callable[[float], float] = lambda price: price * 0.5  # noqa: E731
    costs = replace(ACCOUNTS["margin"], leverage=15.0)
    paper = Paper("A/B", market.timeframe, BuyAndHold(), costs)
    first = Candles.of("A/B", "1h", [0, 3_600_000], [100, 100], [101, 101], [99, 99], [100, 100], [1, 1])
    crash = Candles.of("A/B", "1h", [7_200_000], [100], [100], [fall(100)], [fall(100)], [1])
    seen = example_forecasts(market)
    for candles in (first.rows(slice(0, 1)), first.rows(slice(1, 2)), crash):
        bar = paper.step(candles, told(seen, 10))
    assert [trade["reason"] for trade in bar.trades] == ["liquidation"]
    assert bar.units == 0.0
