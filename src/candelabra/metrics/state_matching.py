"""Do the states shown agree with the true ones: adjusted Rand indices, and errors by kind as a trader asks about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.metrics.judged_bars import JudgedBars

__all__ = ["StateErrors", "adjusted_rand", "matched_states", "state_errors", "weighted_adjusted_rand"]

_SLOPE: Final = 0.1  # how much more a bar weighs for each bar it lies away from a boundary
_WEIGHTS: Final = {"delay": 0.1, "transition": 0.3, "isolation": 0.8, "missing": 0.5}


@dataclass(frozen=True)
class StateErrors:
    """State matching score, and the share of bars in errors of each kind; the four add up to the share of wrong bars.

    *delay*: a true boundary shown early or late; *transition*: one wrong state across one boundary; *isolation*: a wrong state inside a
    true segment; *missing*: one wrong state across several boundaries.
    """

    score: float
    delay: float
    transition: float
    isolation: float
    missing: float


def _rand(counts: NDArray[np.float64], total: float) -> float:
    """Adjusted Rand index from sums of weights by (true, shown): pairs are counted as products of weights (Hubert and Arabie 1985)."""
    squares = float((counts**2).sum())
    both = squares - total
    only_shown = float(counts.sum(0) @ counts.sum(0)) - squares
    only_true = float(counts.sum(1) @ counts.sum(1)) - squares
    neither = total**2 - only_shown - only_true - squares
    if only_shown <= 1e-9 * max(total, 1.0) and only_true <= 1e-9 * max(total, 1.0):
        return 1.0
    above = both + only_true, both + only_shown
    return 2.0 * (both * neither - only_true * only_shown) / (above[0] * (only_true + neither) + above[1] * (only_shown + neither))


def _table(bars: JudgedBars, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    kinds = int(max(bars.truth.max(), bars.shown.max())) + 1
    return np.asarray(np.bincount(bars.truth * kinds + bars.shown, weight, kinds * kinds).reshape(kinds, kinds), np.float64)


def adjusted_rand(bars: JudgedBars) -> float:
    """Adjusted Rand index of the labels of single bars: 1 the same up to names, 0 as good as chance. NaN without bars."""
    return _rand(_table(bars, np.ones(len(bars))), float(len(bars))) if len(bars) else float("nan")


def weighted_adjusted_rand(bars: JudgedBars) -> float:
    """The same with bars weighing 1 + 0.1 for each bar of distance from the nearest true boundary: deep errors count more (WARI)."""
    if not len(bars):
        return float("nan")
    pieces, at = bars.true_pieces, np.arange(len(bars))
    away = np.minimum(at - pieces.first[pieces.of], pieces.stop[pieces.of] - 1 - at)
    weight = 1.0 + _SLOPE * away
    return _rand(_table(bars, weight), float(weight.sum()))


def state_errors(bars: JudgedBars) -> StateErrors:
    """Errors by kind and the state matching score with its published weights (arXiv 2510.23261); labels are compared by name."""
    n = len(bars)
    if not n:
        nan = float("nan")
        return StateErrors(nan, nan, nan, nan, nan)
    truth, shown, pieces = bars.truth, bars.shown, bars.true_pieces
    runs = bars.pieces_of(np.where(truth != shown, shown, -1))
    bad = runs.code >= 0
    first, stop, label = runs.first[bad], runs.stop[bad], runs.code[bad]
    if not len(first):
        return StateErrors(1.0, 0.0, 0.0, 0.0, 0.0)
    states = pieces.of[stop - 1] - pieces.of[first] + 1
    # A neighbour is one only in the same stretch; both labellings must have had the wrong label there.
    padded = np.concatenate([[-1], bars.stretch, [-1]])
    right = np.where((truth == shown), truth, -1)
    before = np.where(padded[first] == bars.stretch[first], np.concatenate([[-1], right])[first], -1)
    after = np.where(padded[stop + 1] == bars.stretch[stop - 1], np.append(right, -1)[stop], -1)
    delayed = (states == 1) & ((before == label) | (after == label))
    kind = np.select([delayed, states == 1, states == 2], [0, 2, 1], 3)
    size = (stop - first).astype(np.float64)
    edges = np.append(pieces.first, n).astype(np.float64)
    centre = (first + stop - 1) / 2.0
    place = np.searchsorted(edges, centre)
    near = np.minimum(np.abs(edges[np.minimum(place, len(edges) - 1)] - centre), np.abs(centre - edges[np.maximum(place - 1, 0)]))
    depth = 2.0 * near / n
    delay, transition, isolation, missing = _WEIGHTS.values()
    spread = missing * (1.0 + (missing - 1.0) * 3.0 / states)
    weight = np.select([kind == 0, kind == 1, kind == 2], [delay, transition * depth, isolation * depth], spread)
    share = np.bincount(kind, size, 4) / n
    score = 1.0 - float(((1.0 + weight) * size).sum()) / n
    return StateErrors(score, *(float(x) for x in share))


def matched_states(truth: ArrayLike, states: ArrayLike, labels: int) -> NDArray[np.int64]:
    """The label to show for each state of an unsupervised model: the pairing with most bars in common, ``(states,)``.

    States beyond the number of labels take the label they share most bars with. Bars below 0 in either are left out.

    >>> matched_states([0, 0, 1, 1], [1, 1, 0, 0], 2).tolist()
    [1, 0]
    """
    from scipy.optimize import linear_sum_assignment

    t, s = np.asarray(truth).astype(np.int64), np.asarray(states).astype(np.int64)
    known = (t >= 0) & (s >= 0)
    count = int(s[known].max(initial=-1)) + 1
    common = np.bincount(s[known] * labels + t[known], minlength=count * labels).reshape(count, labels)
    best = np.argmax(common, 1) if count else np.zeros(0, np.int64)
    rows, columns = linear_sum_assignment(-common)
    best[rows] = columns
    return np.asarray(best, np.int64)
