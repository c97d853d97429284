"""Benchmark markets whose regimes are strong enough to be learned, with the truth beside them.

Decisions: a regime lasts a shortest time plus a gamma-distributed rest, and any other regime follows with equal chance; bullish and bearish
bars drift, consolidation is pulled back to the running mean of recent prices, volatile bars only move more. One GARCH(1,1) factor with
mean 1 runs through all regimes, shocks are Student-t. Open is the close before; wicks and volume are drawn from the size of the bar's
return alone, so that whoever knows the returns knows all there is (`candelabra.candles.regime_oracle` does). Parameters differ from market
to market. Unlike ``candelabra.candles.simulate`` these are not like any real market: they measure segmentation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import UsageError

__all__ = ["RegimeMarket", "RegimeParameters", "check_counts", "drawn_segments", "per_bar", "regime_market", "regime_markets", "walked"]

_START_MS: Final = 1_577_836_800_000  # 2020-01-01
_HOUR_MS: Final = 3_600_000
_JITTER: Final = 0.15
SPAN: Final = 24.0  # bars of the running mean that consolidation is pulled to

Four = tuple[float, float, float, float]


@dataclass(frozen=True)
class RegimeParameters:
    """What the regimes of a market are like, per bar and in the order of ``REGIMES``.

    ``sigma``: the unit of the others, a standard deviation of a log return; ``drift`` and ``level`` (standard deviation) in sigma;
    ``pull``: share of the distance to the running mean (of `SPAN` bars) undone by the next bar; ``mean_bars`` of a segment, at least
    ``least_bars``, what is above gamma-distributed with ``shape``. ``shock`` and ``persistence`` (their sum below 1) of the GARCH factor;
    ``degrees`` of freedom of Student's t, above 4.
    """

    sigma: float = 0.004
    drift: Four = (0.22, -0.22, 0.0, 0.0)
    level: Four = (1.0, 1.0, 0.6, 2.4)
    pull: Four = (0.0, 0.0, 0.08, 0.0)
    mean_bars: Four = (300.0, 300.0, 300.0, 300.0)
    least_bars: int = 60
    shape: float = 1.5
    shock: float = 0.08
    persistence: float = 0.87
    degrees: float = 5.0

    def __post_init__(self) -> None:
        if self.sigma <= 0 or min(self.level) <= 0 or self.shape <= 0 or self.least_bars < 1 or min(self.mean_bars) <= self.least_bars:
            raise UsageError(
                f"regime parameters need sigma, level and shape above 0 and mean_bars above least_bars >= 1, got sigma {self.sigma:g}, "
                f"level {self.level}, shape {self.shape:g}, mean_bars {self.mean_bars}, least_bars {self.least_bars}"
            )
        if min(self.shock, self.persistence) < 0 or self.shock + self.persistence >= 1 or self.degrees <= 4:
            raise UsageError(
                f"shock {self.shock:g} and persistence {self.persistence:g} must be 0 or more and below 1 together, "
                f"degrees {self.degrees:g} above 4: else the variance has no finite mean or its estimate no finite error"
            )
        if not all(0 <= pull < 1 for pull in self.pull):
            raise UsageError(f"pull {self.pull} must lie in [0, 1): at 1 the whole distance would be undone in a bar")

    def jittered(self, rng: np.random.Generator) -> RegimeParameters:
        """The same with every size multiplied by its own factor from 0.85 to 1.15."""

        def shake(values: Sequence[float]) -> Four:
            a, b, c, d = (float(v) for v in np.asarray(values) * rng.uniform(1 - _JITTER, 1 + _JITTER, 4))
            return a, b, c, d

        sigma = float(self.sigma * rng.uniform(1 - _JITTER, 1 + _JITTER))
        return replace(
            self, sigma=sigma, drift=shake(self.drift), level=shake(self.level), pull=shake(self.pull), mean_bars=shake(self.mean_bars)
        )

    @cached_property
    def durations(self) -> NDArray[np.float64]:
        """Chance that a segment of each regime lasts 1, 2, ... bars: float64 ``(4, longest)``, the far tail (1e-6) cut."""
        from scipy.special import gammainc, gammaincinv

        scale = (np.asarray(self.mean_bars) - self.least_bars) / self.shape
        longest = self.least_bars + int(np.ceil(scale.max() * gammaincinv(self.shape, 1 - 1e-6)))
        bars = np.arange(longest + 1) - self.least_bars + 0.5  # what is above the shortest is rounded to whole bars
        reached = gammainc(self.shape, np.maximum(bars, 0) / scale[:, None])
        chance = np.diff(reached, axis=1)
        return np.asarray(chance / chance.sum(1, keepdims=True))


@dataclass(frozen=True, eq=False)
class RegimeMarket:
    """Candles and their truth (simulated: say so wherever they are shown).

    ``regime`` int8 ``(n,)`` indexes ``REGIMES``; ``factor`` float64 ``(n,)``: the GARCH factor of the bar's variance, fixed before the bar;
    ``distance`` float64 ``(n,)``: log price above its running mean before the bar. The bar's log return has mean
    ``sigma drift[k] - pull[k] distance`` and variance ``(sigma level[k])^2 factor``.
    """

    candles: Candles
    regime: NDArray[np.int8]
    factor: NDArray[np.float64]
    distance: NDArray[np.float64]
    parameters: RegimeParameters
    seed: int

    @cached_property
    def returns(self) -> NDArray[np.float64]:
        """Log return of each bar, float64 ``(n,)``."""
        return np.asarray(np.log(self.candles.close / self.candles.open))

    def __repr__(self) -> str:
        return f"RegimeMarket({self.candles!r}, seed {self.seed})"


def regime_markets(
    count: int = 10, bars: int = 20_000, seed: int = 0, parameters: RegimeParameters | None = None
) -> tuple[RegimeMarket, ...]:
    """The benchmark: markets of consecutive seeds with jittered parameters. UsageError for counts below 1.

    >>> [len(m.candles) for m in regime_markets(2, 500)]
    [500, 500]
    """
    check_counts(count, bars, seed)
    return tuple(regime_market(bars, seed + number, parameters) for number in range(count))


def regime_market(bars: int = 20_000, seed: int = 0, parameters: RegimeParameters | None = None, *, jitter: bool = True) -> RegimeMarket:
    """One market; the same seed gives the same bars, and more bars only append. ``jitter`` as in `RegimeParameters.jittered`."""
    check_counts(1, bars, seed)
    chosen = parameters or RegimeParameters()
    if jitter:
        chosen = chosen.jittered(np.random.default_rng([seed, 0]))
    regime = drawn_segments(np.random.default_rng([seed, 1]), bars, np.cumsum(chosen.durations, 1))
    mean, pull, variance = per_bar(chosen, regime)
    candles, factor, distance = walked(f"SIM{seed}/USDT", seed, mean, pull, variance, chosen)
    return RegimeMarket(candles, regime, factor, distance, chosen, seed)


def check_counts(count: int, bars: int, seed: int) -> None:
    """UsageError where so many markets of so many bars cannot be made."""
    if count < 1 or bars < 1 or seed < 0:
        raise UsageError(f"{count} markets of {bars} bars with seed {seed} cannot be made: give 1 or more of both and a seed of 0 or more")


def per_bar(p: RegimeParameters, regime: NDArray[np.int8]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Mean return, pull and variance of each bar by its regime, each float64 ``(n,)``."""
    drift, level = p.sigma * np.asarray(p.drift), p.sigma * np.asarray(p.level)
    return drift[regime], np.asarray(p.pull)[regime], (level**2)[regime]


def walked(
    symbol: str,
    seed: int,
    mean: NDArray[np.float64],
    pull: NDArray[np.float64],
    variance: NDArray[np.float64],
    p: RegimeParameters,
) -> tuple[Candles, NDArray[np.float64], NDArray[np.float64]]:
    """Hourly candles from mean, pull and variance of each bar; with them the GARCH factor and the distance to the running mean."""
    shocks, looks = np.random.default_rng([seed, 2]), np.random.default_rng([seed, 3])
    columns, factor, distance = _walk(shocks, looks, mean, pull, variance, p.shock, p.persistence, p.degrees, p.sigma)
    open_time = _START_MS + np.arange(len(mean), dtype=np.int64) * _HOUR_MS
    return Candles.of(symbol, Timeframe("1h"), open_time, *columns, simulated=True, copy=False), factor, distance


@numba.njit(cache=True)
def drawn_segments(rng: np.random.Generator, n: int, lasting: NDArray[np.float64]) -> NDArray[np.int8]:
    """Regimes of ``n`` bars, int8: lengths of segments drawn from ``lasting`` (cumulated chances ``(K, D)``), any other regime next."""
    kinds = len(lasting)
    out = np.empty(n, np.int8)
    at, regime = 0, int(rng.random() * kinds)
    while at < n:
        # Row d of the cumulated chances is a length of d + 1 bars.
        length = min(np.searchsorted(lasting[regime], rng.random(), "right"), lasting.shape[1] - 1) + 1
        out[at : at + length] = regime
        at += length
        regime = (regime + 1 + int(rng.random() * (kinds - 1))) % kinds
    return out


@numba.njit(cache=True)
def _walk(
    shocks: np.random.Generator,
    looks: np.random.Generator,
    mean: NDArray[np.float64],
    pull: NDArray[np.float64],
    variance: NDArray[np.float64],
    shock: float,
    persistence: float,
    degrees: float,
    sigma: float,
) -> tuple[tuple[NDArray[np.float64], ...], NDArray[np.float64], NDArray[np.float64]]:
    n = len(mean)
    o, h, lo, c, v = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    factors, distances = np.empty(n), np.empty(n)
    keep = 1 - 2 / (SPAN + 1)
    factor, distance, x = 1.0, 0.0, math.log(1_000.0)
    for t in range(n):
        factors[t], distances[t] = factor, distance
        mix = (degrees / 2 - 1) / shocks.standard_gamma(degrees / 2)
        z = math.sqrt(mix) * shocks.standard_normal()
        move = mean[t] - pull[t] * distance + math.sqrt(variance[t] * factor) * z
        before, x = x, x + move
        up, down = abs(move) * looks.standard_exponential() / 2, abs(move) * looks.standard_exponential() / 2
        o[t] = c[t - 1] if t else math.exp(before)
        c[t] = math.exp(x)
        h[t], lo[t] = max(o[t], c[t]) * math.exp(up), min(o[t], c[t]) * math.exp(-down)
        v[t] = 1_000 * math.exp(0.4 * looks.standard_normal()) * (0.25 + math.sqrt(abs(move) / sigma))
        distance = keep * (distance + move)
        factor = 1 - shock - persistence + persistence * factor + shock * factor * z * z
    return (o, h, lo, c, v), factors, distances
