"""Seeded markets with known truth: regimes, conditional variance, and the state an oracle needs.

Decisions: regimes are semi-Markov (negative-binomial durations made of geometric phases, so that the truth stays an exact Markov
recursion); the variance of a bar is base level x regime level x hour-of-week pattern x a two-component GARCH factor fed by
the variance realised inside the bar; inside a bar a fat-tailed Brownian path with exact bridge extremes gives open, high, low and close, so
that range-based volatility is informative. Regime drifts are small: returns are near unpredictable, volatility is not. Levels follow
BTC/USDT hours of 2018 to 2023.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.errors import UsageError

__all__ = ["REGIMES", "MarketSettings", "SimulatedMarket", "simulate", "simulate_market"]

REGIMES: Final = ("bullish", "bearish", "consolidation", "volatile")
_HOUR_MS: Final = 3_600_000
_WEEK_HOURS: Final = 168
_MONDAY_HOURS: Final = 96
PATH_STEPS: Final = 12  # steps of the path inside a bar


@dataclass(frozen=True)
class MarketSettings:
    """What a simulated market is like; everything per hour, whatever the timeframe; tuples in the order of ``REGIMES``.

    ``drift``: mean log return; ``volatility``: relative to each other; ``duration_hours``: mean; ``transitions[i][j]``: chance that
    regime j follows regime i; ``hourly_sd``: standard deviation of one hour's log return over all time. ``shock`` and ``persistence`` of
    the fast and the slow GARCH component, which weigh ``fast_share`` and the rest. ``tail_degrees``: Student-t degrees of freedom of a
    bar's return (above 4). ``correlation`` of the shocks of two symbols.
    """

    drift: tuple[float, ...] = (3.0e-4, -3.5e-4, 0.0, 0.0)
    volatility: tuple[float, ...] = (0.8, 1.1, 0.5, 2.0)
    duration_hours: tuple[float, ...] = (240.0, 192.0, 168.0, 60.0)
    transitions: tuple[tuple[float, ...], ...] = (
        (0.0, 0.25, 0.5, 0.25),
        (0.2, 0.0, 0.45, 0.35),
        (0.45, 0.35, 0.0, 0.2),
        (0.3, 0.4, 0.3, 0.0),
    )
    duration_phases: int = 3
    hourly_sd: float = 0.0065
    shock: tuple[float, float] = (0.08, 0.022)
    persistence: tuple[float, float] = (0.92, 0.9993)
    fast_share: float = 0.5
    tail_degrees: float = 5.0
    correlation: float = 0.7
    price: float = 20_000.0
    hourly_volume: float = 1_500.0

    def __post_init__(self) -> None:
        k = len(REGIMES)
        rows = np.asarray(self.transitions, dtype=np.float64)
        if not (len(self.drift) == len(self.volatility) == len(self.duration_hours) == k and rows.shape == (k, k)):
            raise UsageError(f"market settings need one value per regime {REGIMES} in drift, volatility, duration_hours and transitions")
        if (rows < 0).any() or np.abs(rows.sum(1) - 1).max() > 1e-9 or np.diag(rows).any():
            raise UsageError(
                "each row of transitions must be chances that sum to 1, with 0 on the diagonal (a regime does not follow itself)"
            )
        if min(self.volatility) <= 0 or min(self.duration_hours) <= 0 or self.duration_phases < 1 or self.hourly_sd <= 0:
            raise UsageError("volatility, duration_hours, duration_phases and hourly_sd must be above 0")
        if self.tail_degrees <= 4 or not 0 <= self.correlation < 1 or not 0 <= self.fast_share <= 1:
            raise UsageError("tail_degrees must be above 4, correlation in [0, 1), fast_share in [0, 1]")
        if any(not 0 <= s <= p < 1 for s, p in zip(self.shock, self.persistence, strict=True)) or min(self.price, self.hourly_volume) <= 0:
            raise UsageError("0 <= shock <= persistence < 1 must hold for both components, and price and hourly_volume be above 0")


@dataclass(frozen=True, eq=False)
class MarketLaw:
    """The settings turned into per-bar arithmetic for one timeframe.

    ``chain`` float64 ``(states, states)`` over (regime, phase); ``mean`` and ``level`` per state: a bar's mean log return, and its variance
    before the week's pattern and the GARCH factor; ``shock``, ``persistence``, ``weight`` float64 ``(2,)`` per bar.
    """

    settings: MarketSettings
    timeframe: Timeframe
    chain: NDArray[np.float64]
    stationary: NDArray[np.float64]
    mean: NDArray[np.float64]
    level: NDArray[np.float64]
    shock: NDArray[np.float64]
    persistence: NDArray[np.float64]
    weight: NDArray[np.float64]

    @classmethod
    def of(cls, settings: MarketSettings, frame: Timeframe) -> MarketLaw:
        """The law of a market at a timeframe of fixed length (UsageError for months)."""
        if frame.is_calendar:
            raise UsageError(f"a market is simulated in bars of one length, and {frame} is not: simulate 1d or finer, then resample")
        hours, phases = frame.milliseconds / _HOUR_MS, settings.duration_phases
        durations = np.asarray(settings.duration_hours)
        leave = np.minimum(phases * hours / durations, 0.95)
        follows = np.asarray(settings.transitions)
        chain = np.zeros((len(REGIMES) * phases,) * 2)
        for regime, chance in enumerate(leave):
            for state in range(regime * phases, (regime + 1) * phases):
                chain[state, state] = 1 - chance
                if (state + 1) % phases:
                    chain[state, state + 1] = chance
                else:
                    chain[state, ::phases] += chance * follows[regime]
        values, vectors = np.linalg.eig(chain.T)
        stationary = np.abs(np.real(vectors[:, np.argmax(np.real(values))]))
        stationary /= stationary.sum()
        level = np.repeat(np.asarray(settings.volatility, dtype=np.float64) ** 2, phases)
        level *= settings.hourly_sd**2 * hours / (stationary @ level)
        persistence = np.asarray(settings.persistence) ** hours
        shock = np.minimum(np.asarray(settings.shock) * math.sqrt(hours), 0.5 * persistence)
        weight = np.array([settings.fast_share, 1 - settings.fast_share])
        mean = np.repeat(np.asarray(settings.drift, dtype=np.float64) * hours, phases)
        return cls(settings, frame, chain, stationary, mean, level, shock, persistence, weight)

    def pattern(self, open_time: NDArray[np.int64]) -> NDArray[np.float64]:
        """The week's variance pattern over each bar, mean 1 over a week."""
        table = _week_pattern()
        summed = np.concatenate([[0.0], np.cumsum(table)])

        def area(time_ms: NDArray[np.int64]) -> NDArray[np.float64]:
            hour = time_ms / _HOUR_MS - _MONDAY_HOURS
            week, rest = np.divmod(hour, _WEEK_HOURS)
            whole = np.minimum(rest.astype(np.int64), _WEEK_HOURS - 1)
            return np.asarray(week * summed[-1] + summed[whole] + (rest - whole) * table[whole])

        return np.asarray((area(self.timeframe.next(open_time)) - area(open_time)) / (self.timeframe.milliseconds / _HOUR_MS))


@dataclass(frozen=True, eq=False)
class SimulatedMarket:
    """Candles whose truth is known (never real data: say so wherever they are shown).

    ``regime`` int8 ``(n,)`` indexes ``REGIMES``; ``variance`` float64 ``(n,)``: the variance of the bar's log return given all before it
    and its regime. ``state`` int16 ``(n,)`` (regime and phase) and ``components`` float64 ``(n, 2)`` (the *next* bar's GARCH components)
    are all that matters at the close of each bar for what comes after; ``candelabra.candles.oracle`` forecasts from them.
    """

    candles: Candles
    regime: NDArray[np.int8]
    variance: NDArray[np.float64]
    state: NDArray[np.int16]
    components: NDArray[np.float64]
    law: MarketLaw
    seed: int

    @property
    def regime_names(self) -> tuple[str, ...]:
        """What the numbers in ``regime`` mean."""
        return REGIMES

    def __repr__(self) -> str:
        return f"SimulatedMarket({self.candles!r}, seed {self.seed})"


def simulate(
    symbol: str = "SIM/USDT",
    timeframe_: str | Timeframe = "1h",
    *,
    bars: int = 20_000,
    seed: int = 0,
    start: str | int = "2020-01-01",
    settings: MarketSettings | None = None,
) -> SimulatedMarket:
    """One simulated market: the same seed gives the same bars, and more bars only append.

    ``start`` is a date or ms (UTC), taken to the bar that holds it. Raises UsageError for settings that cannot be.

    >>> market = simulate(bars=500, seed=7)
    >>> len(market.candles), market.regime_names[market.regime[0]] in REGIMES
    (500, True)
    """
    return simulate_market([symbol], timeframe_, bars=bars, seed=seed, start=start, settings=settings)[symbol]


def simulate_market(
    symbols: Sequence[str],
    timeframe_: str | Timeframe = "1h",
    *,
    bars: int = 20_000,
    seed: int = 0,
    start: str | int = "2020-01-01",
    settings: MarketSettings | None = None,
) -> dict[str, SimulatedMarket]:
    """Several symbols in one market: shared regimes and tail events, shocks correlated by ``settings.correlation``."""
    chosen, frame = settings or MarketSettings(), timeframe(timeframe_)
    if bars < 1 or seed < 0 or not symbols or len(set(symbols)) != len(symbols):
        raise UsageError(
            f"a simulated market needs 1 or more bars, a seed of 0 or more and distinct symbols, got {bars}, {seed}, {list(symbols)}"
        )
    law = MarketLaw.of(chosen, frame)
    try:
        start_ms = int(np.datetime64(start, "ms").astype(np.int64)) if isinstance(start, str) else int(start)
    except ValueError:
        raise UsageError(f"the start {start!r} is not a date: write it as 2020-01-01 or 2020-01-01T12:00") from None
    first = int(frame.floor(start_ms))
    open_time = first + np.arange(bars, dtype=np.int64) * frame.milliseconds
    state = _states(np.random.default_rng([seed, 0]), bars, np.cumsum(law.chain, 1), np.cumsum(law.stationary))
    before_garch = law.level[state] * law.pattern(open_time)
    regime = (state // chosen.duration_phases).astype(np.int8)
    hours = frame.milliseconds / _HOUR_MS
    markets = {}
    for number, symbol in enumerate(symbols):
        columns, components, variance = _walk(
            np.random.default_rng([seed, 1]),
            np.random.default_rng([seed, 2 + number]),
            before_garch,
            law.mean[state],
            law.shock,
            law.persistence,
            law.weight,
            chosen.tail_degrees,
            math.sqrt(chosen.correlation),
            math.log(chosen.price) - number,
            math.log(chosen.hourly_volume * hours) + number,
            chosen.hourly_sd**2 * hours,
            0.95**hours,
        )
        candles = Candles.of(symbol, frame, open_time, *columns, simulated=True)
        markets[symbol] = SimulatedMarket(candles, regime, variance, state, components, law, seed)
    return markets


def _week_pattern() -> NDArray[np.float64]:
    """Relative variance of each hour of the week from Monday 00:00 UTC: busy at the Asian open and New York's, quiet weekends."""
    hour = np.arange(_WEEK_HOURS) + 0.5
    day = hour // 24
    log_volatility = 0.10 * np.cos(2 * np.pi * (hour - 16) / 24) + 0.12 * np.cos(4 * np.pi * (hour - 2) / 24)
    log_volatility += np.where(day == 5, -0.26, np.where(day == 6, -0.17, 0.0))
    variance = np.exp(2 * log_volatility)
    return np.asarray(variance / variance.mean())


@numba.njit(cache=True)
def drawn(cumulative: NDArray[np.float64], chance: float) -> int:
    """The first index whose cumulative chance exceeds ``chance``."""
    for index in range(len(cumulative) - 1):
        if chance < cumulative[index]:
            return index
    return len(cumulative) - 1


@numba.njit(cache=True)
def _states(rng: np.random.Generator, n: int, chain: NDArray[np.float64], stationary: NDArray[np.float64]) -> NDArray[np.int16]:
    out = np.empty(n, np.int16)
    state = drawn(stationary, rng.random())
    for t in range(n):
        out[t] = state
        state = drawn(chain[state], rng.random())
    return out


@numba.njit(cache=True)
def _walk(
    common: np.random.Generator,
    own: np.random.Generator,
    before_garch: NDArray[np.float64],
    mean: NDArray[np.float64],
    shock: NDArray[np.float64],
    persistence: NDArray[np.float64],
    weight: NDArray[np.float64],
    degrees: float,
    loading: float,
    log_price: float,
    log_volume: float,
    usual_variance: float,
    volume_persistence: float,
) -> tuple[tuple[NDArray[np.float64], ...], NDArray[np.float64], NDArray[np.float64]]:
    n = len(mean)
    o, h, lo, c, v = np.empty(n), np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    components, variance = np.empty((n, 2)), np.empty(n)
    rest = math.sqrt(1 - loading * loading)
    g0, g1, x, appetite = 1.0, 1.0, log_price, 0.0
    for t in range(n):
        g = weight[0] * g0 + weight[1] * g1
        variance[t] = before_garch[t] * g
        # A Student-t return is a normal one whose variance is drawn: the whole path inside the bar shares the draw.
        mix = (degrees / 2 - 1) / common.standard_gamma(degrees / 2)
        step_variance = variance[t] * mix / PATH_STEPS
        sd, drift = math.sqrt(step_variance), mean[t] / PATH_STEPS
        o[t], top, bottom, realised = x, x, x, 0.0
        for _ in range(PATH_STEPS):
            z = loading * common.standard_normal() + rest * own.standard_normal()
            move = drift + sd * z
            realised += z * z
            # The exact law of a Brownian bridge's maximum and minimum between two points.
            up = math.sqrt(move * move + 2 * step_variance * own.standard_exponential())
            down = math.sqrt(move * move + 2 * step_variance * own.standard_exponential())
            top = max(top, x + (move + up) / 2)
            bottom = min(bottom, x + (move - down) / 2)
            x += move
        o[t], h[t], lo[t], c[t] = math.exp(o[t]), math.exp(top), math.exp(bottom), math.exp(x)
        h[t], lo[t] = max(h[t], o[t], c[t]), min(lo[t], o[t], c[t])
        news = g * mix * realised / PATH_STEPS
        g0 = 1 - persistence[0] + (persistence[0] - shock[0]) * g0 + shock[0] * news
        g1 = 1 - persistence[1] + (persistence[1] - shock[1]) * g1 + shock[1] * news
        components[t, 0], components[t, 1] = g0, g1
        noise = math.sqrt(1 - volume_persistence * volume_persistence)
        appetite = volume_persistence * appetite + 0.4 * noise * own.standard_normal()
        busy = 0.5 * math.log(variance[t] * mix * realised / PATH_STEPS / usual_variance)
        v[t] = math.exp(log_volume + 0.75 * busy + appetite)
    return (o, h, lo, c, v), components, variance
