"""The best regime labels anyone could give in a benchmark market: the ceiling that segmentations are shown beside.

It knows the parameters, the law of durations and the GARCH factor of every bar, and reads the returns. Given these its answers are exact; a
reader that saw the regime through the factor's own path (which the true shocks drive) is not meant, and would be no ceiling for anybody.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from candelabra.candles import semi_markov
from candelabra.candles.regime_markets import RegimeMarket, RegimeParameters
from candelabra.candles.simulate import REGIMES

__all__ = ["log_likelihood", "oracle_filtered", "oracle_lagged", "oracle_smoothed", "oracle_viterbi", "succession"]


def log_likelihood(market: RegimeMarket) -> NDArray[np.float64]:
    """Log density of each bar's return were it of each regime, given all before it: float64 ``(n, 4)``."""
    p = market.parameters
    mean = p.sigma * np.asarray(p.drift) - market.distance[:, None] * np.asarray(p.pull)
    # A Student-t of variance 1 has a scale of sqrt(1 - 2 / degrees).
    scale = p.sigma * np.asarray(p.level) * np.sqrt(market.factor * (1 - 2 / p.degrees))[:, None]
    square = ((market.returns[:, None] - mean) / scale) ** 2
    constant = math.lgamma((p.degrees + 1) / 2) - math.lgamma(p.degrees / 2) - 0.5 * math.log(p.degrees * math.pi)
    return np.asarray(constant - np.log(scale) - (p.degrees + 1) / 2 * np.log1p(square / p.degrees))


def succession() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Which regime follows which ``(4, 4)``, and the first ``(4,)``: all others alike."""
    k = len(REGIMES)
    return (np.ones((k, k)) - np.eye(k)) / (k - 1), np.full(k, 1 / k)


def _chain(p: RegimeParameters) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    return p.durations, *succession()


def oracle_filtered(market: RegimeMarket) -> NDArray[np.float64]:
    """Chance of each regime at the close of each bar: float64 ``(n, 4)``."""
    return semi_markov.filtered(log_likelihood(market), *_chain(market.parameters))


def oracle_lagged(market: RegimeMarket, lag: int) -> NDArray[np.float64]:
    """Chance of each regime at bar t as known ``lag`` bars later: float64 ``(n, 4)``, NaN for the last ``lag`` bars."""
    return semi_markov.lagged(log_likelihood(market), *_chain(market.parameters), lag)


def oracle_smoothed(market: RegimeMarket) -> NDArray[np.float64]:
    """Chance of each regime at each bar as known at the end of the market: float64 ``(n, 4)``."""
    return semi_markov.smoothed(log_likelihood(market), *_chain(market.parameters))


def oracle_viterbi(market: RegimeMarket) -> NDArray[np.int8]:
    """The most probable regimes of all bars together as known at the end of the market: int8 ``(n,)``."""
    return semi_markov.viterbi(log_likelihood(market), *_chain(market.parameters))
