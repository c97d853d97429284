"""What a network learns beside its forecast: the ranges of many spans to come, which say more per bar than overlapping horizons do."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.windows.series import Series

__all__ = ["AUXILIARY_SPANS", "auxiliary_targets"]

AUXILIARY_SPANS: Final = ((0, 1), (1, 2), (2, 4), (4, 8), (8, 16), (16, 24), (24, 48), (0, 6), (0, 24), (0, 48), (0, 96))
"""Spans ``(from, to]`` in base bars after the decision: neighbouring ones tile two days, nested ones summarise them."""


def auxiliary_targets(series: Series, last: int) -> NDArray[np.float64]:
    """Log Parkinson volatility of each span to come relative to the level: ``(bars, spans)``, NaN where a span ends after row ``last``.

    Hindsight: for training only. ``last`` is the last base row that training may know (Parkinson 1980, from high and low of each bar).
    """
    candles = series.base_candles
    squares = np.log(candles.high / candles.low) ** 2 / (4 * np.log(2))
    total = np.concatenate([[0.0], np.cumsum(squares)])
    count = len(candles)
    out = np.full((count, len(AUXILIARY_SPANS)), np.nan)
    for column, (start, stop) in enumerate(AUXILIARY_SPANS):
        rows = np.arange(max(0, min(count, last + 1) - stop))
        # rows of candles, not of time: across a gap a span reaches a little further
        mean = (total[rows + 1 + stop] - total[rows + 1 + start]) / (stop - start)
        out[rows, column] = 0.5 * np.log(np.maximum(mean, 1e-10)) - series.level[rows]
    return out
