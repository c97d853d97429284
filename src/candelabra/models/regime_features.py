"""What the last bars looked like over several spans: the columns that trees classify regimes by.

Decisions: everything is relative to a slow causal level of volatility or to itself, so that markets can be pooled; six numbers a span
(size of the move and of the steps, clarity, straightness, evenness of the steps, place in the range), from sliding sums and extremes:
O(bars) whatever the span, and a row reads nothing after its bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.features.running import RunningWindows

__all__ = ["REFERENCE", "SPANS", "WINDOWS", "column_names", "glances", "log_returns", "multi_scale", "slow_level"]

SPANS: Final = (1, 5, 15, 30, 60, 120, 240)
WINDOWS: Final = (6, 12, 24, 36, 48, 72, 144)
REFERENCE: Final = 4_320
"""Bars whose median volatility is taken for usual."""

LEVEL_SPAN: Final = 20_000  # a level that follows regimes hides them: 1,000 bars cost 0.045 of macro-F1 on the benchmark markets
_KINDS: Final = ("move", "volatility", "z", "efficiency", "evenness", "position")
_LEAST: Final = 1e-12

Floats = NDArray[np.float64]


def column_names(spans: Sequence[int] = SPANS) -> tuple[str, ...]:
    """Names of the columns of `multi_scale`."""
    return tuple(f"{kind}({span})" for span in spans for kind in _KINDS)


def log_returns(candles: Candles, past: RunningWindows | None = None) -> Floats:
    """Log return of each bar from the close before (the first: from its open), float64 ``(n,)``; ``past``: what came before."""
    price = np.log(candles.close)
    first = float(np.log(candles.open[0])) if len(candles) else 0.0
    return (past or RunningWindows(1)).steps("price", price, first)


def slow_level(returns: Floats, span: int = LEVEL_SPAN, past: RunningWindows | None = None) -> Floats:
    """Volatility of a bar as an exponentially weighted root mean square of all returns up to it, float64 ``(n,)``."""
    before, decay = past or RunningWindows(1), 2.0 / (span + 1.0)
    weight = 1.0 - (1.0 - decay) ** before.counts(len(returns))
    mean = before.decayed("level", returns**2, decay) / np.maximum(weight, _LEAST)
    return np.asarray(np.sqrt(np.maximum(mean, _LEAST**2)))


def multi_scale(candles: Candles, spans: Sequence[int] = SPANS, past: RunningWindows | None = None) -> NDArray[np.float32]:
    """Columns `column_names` for each bar, float32 ``(n, 6 spans)``; rows before the longest span use what bars there are.

    ``past``: what the bars before these left behind, which is carried on in place (default: these are the first).
    """
    before, windows = past or RunningWindows(max(spans)), np.array(spans, np.int64)
    r = log_returns(candles, before)
    level = slow_level(r, past=before)
    price = np.log(candles.close)
    top = before.series("high", np.log(candles.high)).tops(windows)
    bottom = -before.series("low", -np.log(candles.low)).tops(windows)
    moved, walked = before.series("move", r).sums(windows), before.series("walk", np.abs(r)).sums(windows)
    squares = before.series("square", r * r).sums(windows)
    count = np.minimum(before.counts(len(r)), windows[:, None])
    root = np.sqrt(count)
    size = np.sqrt(np.maximum(squares / count, (1e-6 * level) ** 2))  # flat prices have no direction, but a level
    columns = np.stack(
        [
            moved / (level * root),
            np.log(size / level),
            moved / (size * root),
            np.abs(moved) / np.maximum(walked, _LEAST),
            walked / (count * size),
            np.where(top > bottom, (2 * price - top - bottom) / np.maximum(top - bottom, _LEAST), 0.0),
        ],
        axis=1,
    )
    before.advance(len(r))
    return np.ascontiguousarray(columns.reshape(len(_KINDS) * len(spans), len(r)).T, np.float32)


def glances(candles: Candles, windows: Sequence[int] = WINDOWS, reference: int = REFERENCE, past: RunningWindows | None = None) -> Floats:
    """What a chart reader sees over each window, ``(n, 2 windows)``: the return in standard errors, and log volatility over its usual one.

    The usual one is the median over the ``reference`` bars up to the bar, from every half window. ``past``: as in `multi_scale`.
    """
    before, spans = past or RunningWindows(max(windows)), np.array(windows, np.int64)
    r = log_returns(candles, before)
    moved = before.series("move", r).sums(spans)
    squares = np.maximum(before.series("square", r * r).sums(spans), 1e-18)
    size = np.sqrt(squares / np.minimum(before.counts(len(r)), spans[:, None]))
    every = [max(window // 2, 1) for window in windows]
    usual = before.sampled_medians("size", size, [window - 1 for window in windows], every, [max(reference // e, 1) for e in every])
    out = np.stack([moved / np.sqrt(squares), np.log(size / np.where(np.isnan(usual), size, usual))], axis=1)
    before.advance(len(r))
    return np.asarray(out.reshape(2 * len(windows), len(r)).T)
