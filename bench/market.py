"""The candles that data items are measured on: a seeded random walk without gaps, four years of minutes."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

ROWS = 2_103_840
"""Four years of one-minute bars from 2021-01-01 (a Friday: the first week is unfinished)."""

START_MS = 1_609_459_200_000
SCALES = ("5m", "15m", "1h", "4h", "1d", "1w")


def rows(small: bool) -> int:
    """How many bars: all, or seventy days."""
    return 100_800 if small else ROWS


@cache
def columns(count: int) -> dict[str, NDArray[np.float64]]:
    """``open, high, low, close, volume`` of ``count`` bars."""
    random = np.random.default_rng(7)
    close = 30_000 * np.exp(np.cumsum(random.normal(0, 5e-4, count)))
    opened = np.concatenate([[30_000.0], close[:-1]])
    high = np.maximum(opened, close) * np.exp(random.exponential(2e-4, count))
    low = np.minimum(opened, close) * np.exp(-random.exponential(2e-4, count))
    return {"open": opened, "high": high, "low": low, "close": close, "volume": random.gamma(2.0, 10.0, count)}


def open_time_ms(count: int) -> NDArray[np.int64]:
    """Open times of the bars."""
    return START_MS + 60_000 * np.arange(count, dtype=np.int64)


def candles(count: int):  # type: ignore[no-untyped-def]
    """The same as `Candles`."""
    from candelabra.candles import Candles

    c = columns(count)
    return Candles.of("WALK/USDT", "1m", open_time_ms(count), c["open"], c["high"], c["low"], c["close"], c["volume"])


def copied_bytes(read: int, written: int) -> int:
    """Size of the array whose copying touches as many bytes as reading and writing these."""
    return (read + written) // 2
