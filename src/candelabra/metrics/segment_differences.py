"""Is one segmentation better than another: paired bootstrap intervals over markets, or over the true segments of one or several.

Bars of a segment stand and fall together, so segments are what is resampled (in blocks of neighbours), never single bars; markets are
independent of each other, so over several of them whole markets are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.errors import DataError
from candelabra.metrics.judged_bars import JudgedBars, judged_bars
from candelabra.metrics.segment_bounds import best_overlaps
from candelabra.metrics.significance import Difference, block_bootstrap, bootstrap_mean_difference

__all__ = ["difference_over_markets", "difference_over_segments"]

Floats = NDArray[np.float64]
Figure = Literal["macro_f1", "covering"]

BLOCK: Final = 4  # segments drawn together: one of each regime on average
_RESAMPLES: Final = 2_000


def difference_over_markets(scores: ArrayLike, baseline: ArrayLike, *, resamples: int = _RESAMPLES, seed: int = 0) -> Difference:
    """mean(scores) - mean(baseline) of any figure whose larger value is better; both ``(markets,)`` in the same order.

    For figures whose smaller value is better (delay, flips) give them the other way round. Markets where either is NaN are left out.

    >>> d = difference_over_markets([0.8, 0.9, 0.7], [0.7, 0.7, 0.6])
    >>> round(d.value, 3), d.low > 0
    (0.133, True)
    """
    ours, theirs = np.asarray(scores, np.float64), np.asarray(baseline, np.float64)
    known = int(np.isfinite(ours + theirs).sum()) if ours.shape == theirs.shape else 0
    if ours.ndim != 1 or known < 2:
        raise DataError(
            f"figures {ours.shape} and {theirs.shape} of the same markets give {known} pairs: an interval over markets needs 2 or more; "
            "for one market use the interval over its segments"
        )
    return bootstrap_mean_difference(theirs, ours, 1, resamples=resamples, seed=seed)


def difference_over_segments(
    truth: Sequence[ArrayLike],
    shown: Sequence[ArrayLike],
    baseline: Sequence[ArrayLike],
    labels: int,
    figure: Figure = "macro_f1",
    *,
    block: int = BLOCK,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Difference of a figure between two labellings of the same bars; positive: ``shown`` is better than ``baseline``.

    Each argument holds one column of codes ``(n,)`` a series (below 0: none); all series count as one long one. Bars are judged where the
    truth and both labellings have a label. DataError where fewer than two true segments remain.
    """
    tables = [_table(*columns, labels, figure) for columns in zip(truth, shown, baseline, strict=True)]
    table = np.concatenate(tables) if tables else np.zeros((0, 1))
    if len(table) < 2:
        raise DataError(f"{len(table)} labelled segments give no interval: label more of the range that is judged, or judge a longer one")
    statistic = _macro_f1_difference if figure == "macro_f1" else _covering_difference
    return block_bootstrap(statistic, table, block, resamples=resamples, seed=seed)


def _table(truth: ArrayLike, shown: ArrayLike, baseline: ArrayLike, labels: int, figure: Figure) -> Floats:
    """Sums by true segment: ``(segments, columns)``."""
    t = np.where((np.asarray(shown) >= 0) & (np.asarray(baseline) >= 0), np.asarray(truth), -1)
    pair = judged_bars(t, shown), judged_bars(t, baseline)
    if figure == "covering":
        length = pair[0].true_pieces.length.astype(np.float64)
        return np.stack([length * best_overlaps(pair[0]), length * best_overlaps(pair[1]), length], 1)
    return np.concatenate([_counts(bars, labels) for bars in pair], 1)


def _counts(bars: JudgedBars, labels: int) -> Floats:
    """Hits, then true plus shown bars of each label, by true segment: ``(segments, 2 labels)``."""
    pieces = bars.true_pieces
    rows = len(pieces.first)

    def by_label(code: NDArray[np.int64], weight: NDArray[np.bool_] | None = None) -> Floats:
        return np.asarray(np.bincount(pieces.of * labels + code, weight, rows * labels).reshape(rows, labels), np.float64)

    return np.concatenate([by_label(bars.truth, bars.truth == bars.shown), by_label(bars.truth) + by_label(bars.shown)], 1)


def _macro_f1_difference(sums: Floats) -> Floats:
    ours, theirs = np.split(sums, 2, axis=-1)
    return _macro_f1(ours) - _macro_f1(theirs)


def _macro_f1(sums: Floats) -> Floats:
    hit, both = np.split(sums, 2, axis=-1)
    there = both > 0
    f1 = 2.0 * hit / np.where(there, both, 1.0)
    return np.asarray(f1.sum(-1) / np.maximum(there.sum(-1), 1))


def _covering_difference(sums: Floats) -> Floats:
    return np.asarray((sums[..., 0] - sums[..., 1]) / sums[..., 2])
