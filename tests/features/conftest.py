"""Markets for the feature tests: fat tails, a daily rhythm, and on request gaps and a stretch that stands still."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from candelabra.candles.frame import Candles

HOUR_MS = 3_600_000


def _market(bars: int, seed: int = 0, *, gaps: bool = False, flat: bool = False, start: int = 450_000) -> Candles:
    """Hourly candles; ``gaps`` of 3, 24 and 60 absent bars, ``flat``: forty bars at one price without volume."""
    random = np.random.default_rng(seed)
    returns = random.standard_t(4, bars) * 0.006 * np.exp(0.4 * np.sin(np.arange(bars) / 60))
    still = slice(bars // 2, bars // 2 + 40)
    if flat:
        returns[still] = 0
    close = 100 * np.exp(np.cumsum(returns))
    open_ = np.concatenate([[100], close[:-1]]) * np.exp(random.normal(0, 0.0002, bars))
    high = np.maximum(open_, close) * np.exp(np.abs(random.normal(0, 0.003, bars)))
    low = np.minimum(open_, close) * np.exp(-np.abs(random.normal(0, 0.003, bars)))
    volume = np.exp(random.normal(3, 1, bars))
    if flat:
        open_[still] = high[still] = low[still] = close[still]
        volume[still] = 0
    hour = start + np.arange(bars)
    if gaps:
        for place, absent in ((0.3, 3), (0.55, 24), (0.7, 60)):
            hour = hour + np.where(np.arange(bars) > bars * place, absent, 0)
    return Candles.of("X/Y", "1h", hour * HOUR_MS, open_, high, low, close, volume)


def _finer(candles: Candles, parts: int = 12, seed: int = 0) -> Candles:
    """Five-minute candles inside hourly ones (prices need not agree: the tests look at time)."""
    random = np.random.default_rng(seed)
    step = HOUR_MS // parts
    times = (candles.open_time[:, None] + np.arange(parts) * step).ravel()
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.001, len(times))))
    return Candles.of("X/Y", "5m", times, close, close * 1.0005, close * 0.9995, close, np.ones(len(times)))


@pytest.fixture(scope="session")
def market() -> Candles:
    """A plain market without gaps."""
    return _market(5200)


@pytest.fixture(scope="session")
def rough_market() -> Candles:
    """A market with gaps and a stretch that stands still."""
    return _market(5200, gaps=True, flat=True)


@pytest.fixture(scope="session")
def make_market() -> Callable[..., Candles]:
    """Markets of any length and seed."""
    return _market


@pytest.fixture(scope="session")
def make_finer() -> Callable[..., Candles]:
    """Finer candles inside given ones."""
    return _finer
