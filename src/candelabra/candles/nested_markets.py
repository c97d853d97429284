"""Benchmark markets with regimes at two timeframes: regimes of days, and inside each of them regimes of hours, the truth of both known.

What is learned at one timeframe helps at the other: an hour's drift, pull and variance are the sums of both regimes', so that quiet hours
in a bullish stretch of days rise too, and are told from bullish hours only by who knows the day.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.regime_markets import RegimeParameters, check_counts, drawn_segments, per_bar, walked

__all__ = ["NestedMarket", "NestedParameters", "nested_market", "nested_markets"]

_DAY_HOURS: Final = 24


@dataclass(frozen=True, eq=False)
class NestedMarket:
    """Hourly candles of a market with regimes of days, and regimes of hours inside each of them.

    ``regime`` int8 ``(hours,)`` is the truth at 1h, ``regime_1d`` int8 ``(days,)`` at 1d (candles begin at midnight UTC:
    resampled to 1d they have these days); ``factor`` float64 ``(hours,)``: the GARCH factor of the hour's variance.
    """

    candles: Candles
    regime: NDArray[np.int8]
    regime_1d: NDArray[np.int8]
    factor: NDArray[np.float64]
    hourly: RegimeParameters
    daily: RegimeParameters
    seed: int

    def __repr__(self) -> str:
        return f"NestedMarket({self.candles!r}, seed {self.seed})"


@dataclass(frozen=True)
class NestedParameters:
    """Both levels of a nested market: ``hourly`` in bars of an hour; ``daily`` sizes per hour too, but durations in days."""

    hourly: RegimeParameters = field(
        default_factory=lambda: RegimeParameters(
            drift=(0.5, -0.5, 0.0, 0.0),
            level=(0.7, 0.7, 0.3, 2.4),
            mean_bars=(100.0, 100.0, 100.0, 100.0),
            least_bars=30,
        )
    )
    daily: RegimeParameters = field(
        default_factory=lambda: RegimeParameters(
            drift=(0.4, -0.4, 0.0, 0.0),
            level=(0.5, 0.5, 0.1, 1.6),
            pull=(0.0, 0.0, 0.02, 0.0),
            mean_bars=(16.0, 16.0, 16.0, 16.0),
            least_bars=6,
        )
    )


def nested_markets(count: int = 10, days: int = 840, seed: int = 0) -> tuple[NestedMarket, ...]:
    """Nested markets of consecutive seeds."""
    check_counts(count, days, seed)
    return tuple(nested_market(days, seed + number) for number in range(count))


def nested_market(days: int = 840, seed: int = 0, parameters: NestedParameters | None = None) -> NestedMarket:
    """One market with regimes of days and, begun anew inside each of them, regimes of hours.

    >>> m = nested_market(60)
    >>> len(m.candles), len(m.regime), len(m.regime_1d)
    (1440, 1440, 60)
    """
    check_counts(1, days, seed)
    both = parameters or NestedParameters()
    rng = np.random.default_rng([seed, 0])
    hourly, daily = both.hourly.jittered(rng), both.daily.jittered(rng)
    hourly = replace(hourly, sigma=daily.sigma)
    rng = np.random.default_rng([seed, 1])
    by_day = drawn_segments(rng, days, np.cumsum(daily.durations, 1))
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(by_day)) + 1, [days]]) * _DAY_HOURS
    lasting = np.cumsum(hourly.durations, 1)
    regime = np.concatenate([drawn_segments(rng, int(length), lasting) for length in np.diff(bounds)])
    inner, outer = per_bar(hourly, regime), per_bar(daily, np.repeat(by_day, _DAY_HOURS))
    mean, pull, variance = (a + b for a, b in zip(inner, outer, strict=True))
    candles, factor, _ = walked(f"NEST{seed}/USDT", seed, mean, pull, variance, hourly)
    return NestedMarket(candles, regime, by_day, factor, hourly, daily, seed)
