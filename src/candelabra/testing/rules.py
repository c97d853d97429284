"""`check_rule`: the laws of a trading rule, checked on made-up forecasts."""

from __future__ import annotations

import numpy as np

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.testing.broken import require
from candelabra.testing.markets import example_candles
from candelabra.trading.forecasts import Forecasts
from candelabra.trading.rules import Rule, positions

__all__ = ["check_rule", "example_forecasts"]

_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def example_forecasts(candles: Candles | None = None, seed: int = 0) -> Forecasts:
    """Forecasts for every bar of a market (hourly by default), one bar and six bars ahead: a noisy mean, a volatility that wanders."""
    market = example_candles(bars=600) if candles is None else candles
    random, n, base = np.random.default_rng(seed), len(market), market.timeframe
    level = 0.01 * np.exp(0.6 * np.sin(np.arange(n) / 50) + random.normal(0, 0.1, n))
    volatility = np.stack([level, level * np.sqrt(6)], axis=1)
    mean = volatility * random.normal(0, 0.3, (n, 2))
    normal = np.array([-1.645, -0.674, 0.0, 0.674, 1.645])
    horizons = (base, Timeframe(f"{6 * base.count}{base.unit}"))
    return Forecasts(market.close_time, horizons, mean, volatility, mean[..., None] + volatility[..., None] * normal, _LEVELS)


def check_rule(rule: Rule, *, forecasts: Forecasts | None = None, cost: float = 0.001, fresh: bool = True) -> None:
    """LawBroken, with what, where and by how much, unless the rule keeps the laws.

    - positions are finite, in [-1, 1], one a bar;
    - point in time: changing every forecast after bar *t* moves no position at or before *t*, and neither does leaving them out;
    - ``fresh``: other forecasts for the newest bar can move its position (False for a rule that does not read them);
    - where nothing was forecast it is flat; the same forecasts give the same positions.
    """
    seen = example_forecasts() if forecasts is None else forecasts
    whole = positions(rule, seen, cost)
    require(whole.shape == (len(seen),), f"{rule.name}: positions of shape {whole.shape} for {len(seen)} bars")
    require(bool((np.abs(whole) <= 1.0).all()), f"{rule.name}: a position of {np.abs(whole).max()}: the most is 1")
    require(bool((positions(rule, seen, cost) == whole).all()), f"{rule.name}: the same forecasts gave other positions")
    random = np.random.default_rng(7)
    for after in (len(seen) // 4, len(seen) // 2, len(seen) - 2):
        kept = seen.rows(slice(0, after + 1))
        for what, other in (("were left out", kept), ("changed", _changed(seen, after + 1, random))):
            moved = positions(rule, other, cost)[: after + 1] != whole[: after + 1]
            require(
                not moved.any(),
                f"{rule.name}: the position at bar {int(np.argmax(moved))} moved when only forecasts after bar {after} {what}",
            )
    if fresh:
        require(
            _moves(rule, seen, cost),
            f"{rule.name}: other forecasts for the newest bar never move its position: it is at least one bar stale",
        )
    silent = _with(seen, len(seen) - 3, np.nan)
    require(
        bool((positions(rule, silent, cost)[-3:] == 0.0).all() or not fresh), f"{rule.name}: it holds a position where nothing was forecast"
    )


def _moves(rule: Rule, seen: Forecasts, cost: float) -> bool:
    newest = positions(rule, seen, cost)[-1]
    last = len(seen) - 1
    for mean in (-0.5, 0.0, 0.5):
        for size in (0.001, 0.1, 1.0):
            told = _with(seen, last, mean)
            told.volatility[last] = size
            if positions(rule, told, cost)[-1] != newest:
                return True
    return False


def _changed(seen: Forecasts, first: int, random: np.random.Generator) -> Forecasts:
    mean, volatility, quantiles = (np.array(x) for x in (seen.mean, seen.volatility, seen.quantiles))
    mean[first:] = random.normal(0.0, 0.05, mean[first:].shape)
    volatility[first:] *= random.uniform(0.1, 5.0, volatility[first:].shape)
    quantiles[first:] = mean[first:, :, None] + np.sort(random.normal(0.0, 0.05, quantiles[first:].shape), axis=2)
    return Forecasts(seen.close_time, seen.horizons, mean, volatility, quantiles, seen.levels)


def _with(seen: Forecasts, first: int, value: float) -> Forecasts:
    mean, volatility, quantiles = (np.array(x) for x in (seen.mean, seen.volatility, seen.quantiles))
    mean[first:], quantiles[first:] = value, value
    if np.isnan(value):
        volatility[first:] = value
    return Forecasts(seen.close_time, seen.horizons, mean, volatility, quantiles, seen.levels)
