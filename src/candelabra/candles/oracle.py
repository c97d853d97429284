"""The best forecasts anyone could make in a simulated market: the ceiling that skill is shown beside."""

from __future__ import annotations

import math

import numba
import numpy as np
from numpy.typing import NDArray

from candelabra.candles.simulate import PATH_STEPS, SimulatedMarket, drawn
from candelabra.errors import UsageError

__all__ = ["oracle_log_volatility", "oracle_return", "oracle_variance"]


def oracle_return(market: SimulatedMarket, steps: int) -> NDArray[np.float64]:
    """Expected log return over the next ``steps`` bars given the true state at each bar's close: exact, float64 ``(n,)``."""
    _check(steps)
    total, ahead = np.zeros_like(market.law.mean), market.law.mean
    for _ in range(steps):
        ahead = market.law.chain @ ahead
        total += ahead
    return total[market.state]


def oracle_variance(market: SimulatedMarket, steps: int) -> NDArray[np.float64]:
    """Expected sum of squared log returns of the next ``steps`` bars given the true state at each bar's close.

    Exact (regimes do not depend on shocks, and the GARCH recursion is linear), float64 ``(n,)``.
    """
    _check(steps)
    law = market.law
    level, square = law.level, law.mean**2
    recursion = np.diag(law.persistence - law.shock) + np.outer(law.shock, law.weight)
    components = market.components
    bar = market.candles.close_time
    total = np.zeros(len(bar))
    for _ in range(steps):
        level, square = law.chain @ level, law.chain @ square
        total += level[market.state] * law.pattern(bar) * (components @ law.weight) + square[market.state]
        components = components @ recursion.T + (1 - law.persistence)
        bar = law.timeframe.next(bar)
    return total


def oracle_log_volatility(
    market: SimulatedMarket, steps: int, *, rows: NDArray[np.int64] | None = None, paths: int = 64, seed: int = 0
) -> NDArray[np.float64]:
    """Expected log realised volatility, 0.5 log(sum of squared log returns), of the next ``steps`` bars given the true state.

    A conditional mean over ``paths`` seeded futures of each row (all rows, or ``rows``): float64, one value per row. Its Monte-Carlo error
    is about 0.25 / sqrt(paths), which costs under 0.002 of R2 at the default.
    """
    _check(steps)
    if paths < 1:
        raise UsageError(f"an oracle needs 1 or more paths, got {paths}")
    law = market.law
    chosen = np.arange(len(market.candles)) if rows is None else np.asarray(rows, dtype=np.int64)
    last = int(market.candles.close_time[-1])
    ahead = last + np.arange(steps, dtype=np.int64) * law.timeframe.milliseconds
    pattern = law.pattern(np.concatenate([market.candles.open_time, ahead]))
    return np.asarray(
        _log_volatility(
            np.random.default_rng([seed, market.seed, 99]),
            chosen,
            steps,
            paths,
            market.state,
            market.components,
            pattern,
            np.cumsum(law.chain, 1),
            law.level,
            law.mean,
            law.shock,
            law.persistence,
            law.weight,
            law.settings.tail_degrees,
        )
    )


def _check(steps: int) -> None:
    if steps < 1:
        raise UsageError(f"an oracle looks 1 or more bars ahead, got {steps}")


@numba.njit(cache=True)
def _log_volatility(
    rng: np.random.Generator,
    rows: NDArray[np.int64],
    steps: int,
    paths: int,
    states: NDArray[np.int16],
    components: NDArray[np.float64],
    pattern: NDArray[np.float64],
    chain: NDArray[np.float64],
    level: NDArray[np.float64],
    mean: NDArray[np.float64],
    shock: NDArray[np.float64],
    persistence: NDArray[np.float64],
    weight: NDArray[np.float64],
    degrees: float,
) -> NDArray[np.float64]:
    out = np.empty(len(rows))
    for i in range(len(rows)):
        row = rows[i]
        total = 0.0
        for _ in range(paths):
            state, g0, g1, realised = int(states[row]), components[row, 0], components[row, 1], 0.0
            for k in range(steps):
                state = drawn(chain[state], rng.random())
                g = weight[0] * g0 + weight[1] * g1
                mix = (degrees / 2 - 1) / rng.standard_gamma(degrees / 2)
                z = rng.standard_normal()
                # The squares of the steps inside a bar, given their sum: the sum's own square plus an independent chi-square.
                inside = z * z + 2 * rng.standard_gamma((PATH_STEPS - 1) / 2)
                move = mean[state] + math.sqrt(level[state] * pattern[row + 1 + k] * g * mix) * z
                realised += move * move
                news = g * mix * inside / PATH_STEPS
                g0 = 1 - persistence[0] + (persistence[0] - shock[0]) * g0 + shock[0] * news
                g1 = 1 - persistence[1] + (persistence[1] - shock[1]) * g1 + shock[1] * news
            total += 0.5 * math.log(realised)
        out[i] = total / paths
    return out
