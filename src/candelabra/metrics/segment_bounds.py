"""Do the segments shown lie where the true ones do: covering, boundary F1, detection delay; NaN where there is nothing to judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numba
import numpy as np
from numpy.typing import NDArray

from candelabra.metrics.judged_bars import JudgedBars

__all__ = ["SHOWN_BARS", "Delays", "best_overlaps", "boundary_f1", "covering", "detection_delays", "matched_boundaries"]

SHOWN_BARS: Final = 3  # so many bars in a row make a label noticed


@dataclass(frozen=True)
class Delays:
    """Bars from the start of a true segment until its label is shown `SHOWN_BARS` times in a row; ``missed``: share where it never is.

    A missed segment counts with its whole length.
    """

    median: float
    p90: float
    missed: float


def best_overlaps(bars: JudgedBars) -> NDArray[np.float64]:
    """For each true segment, the largest overlap over union with a segment shown: float64 ``(segments,)``.

    >>> from candelabra.metrics.judged_bars import judged_bars
    >>> best_overlaps(judged_bars([0, 0, 1, 1], [0, 0, 0, 1])).round(3).tolist()
    [0.667, 0.5]
    """
    true, shown = bars.true_pieces, bars.shown_pieces
    best = np.zeros(len(true.first))
    if not len(bars):
        return best
    # Two segments overlap in one run of bars at most: every run of a pair is looked at once.
    common = bars.pieces_of(true.of * (len(shown.first) + 1) + shown.of)
    t, s = true.of[common.first], shown.of[common.first]
    overlap = common.length / (true.length[t] + shown.length[s] - common.length)
    np.maximum.at(best, t, overlap)
    return best


def covering(bars: JudgedBars) -> float:
    """Best overlaps weighted by the length of the true segments (van den Burg and Williams 2020); boundaries alone count, not labels."""
    return float(best_overlaps(bars) @ bars.true_pieces.length / len(bars)) if len(bars) else float("nan")


@numba.njit(cache=True)
def _matched(true: NDArray[np.int64], shown: NDArray[np.int64], margin: float) -> int:
    i, j, count = 0, 0, 0
    while i < len(true) and j < len(shown):
        if abs(true[i] - shown[j]) <= margin:
            count, i, j = count + 1, i + 1, j + 1
        elif true[i] < shown[j]:
            i += 1
        else:
            j += 1
    return count


def matched_boundaries(true: NDArray[np.int64], shown: NDArray[np.int64], margin: float) -> int:
    """Most boundaries (ascending rows) that can be paired one to one at most ``margin`` bars apart.

    >>> matched_boundaries(np.array([10, 20]), np.array([8, 9, 25]), 4)
    1
    """
    return int(_matched(true.astype(np.int64), shown.astype(np.int64), margin))


def boundary_f1(bars: JudgedBars, share: float) -> float:
    """F1 of boundaries paired one to one within ``share`` of the mean true segment; 1 where neither has any.

    The ends of the series are no boundaries. NaN without bars.
    """
    if not len(bars):
        return float("nan")
    true, shown = bars.row[bars.true_pieces.boundaries], bars.row[bars.shown_pieces.boundaries]
    if not len(true) + len(shown):
        return 1.0
    margin = share * float(bars.true_pieces.length.mean())
    return 2.0 * matched_boundaries(true, shown, margin) / (len(true) + len(shown))


def detection_delays(bars: JudgedBars) -> Delays:
    """How late the true segments that begin in the bars are noticed; NaN where none begins (see `Delays`)."""
    pieces = bars.true_pieces
    nan = float("nan")
    if not pieces.begins.any():
        return Delays(nan, nan, nan)
    n = len(bars)
    stop = pieces.stop[pieces.of]
    wrong = np.where(bars.truth != bars.shown, np.arange(n), n)
    next_wrong = np.minimum.accumulate(wrong[::-1])[::-1]
    in_row = np.minimum(next_wrong, stop) - np.arange(n)
    noticed = in_row >= np.minimum(SHOWN_BARS, pieces.length)[pieces.of]
    at = np.full(len(pieces.first), n)
    rows = np.flatnonzero(noticed)
    np.minimum.at(at, pieces.of[rows], rows)
    found = at < n
    delay = np.where(found, at - pieces.first, pieces.length)[pieces.begins]
    return Delays(float(np.median(delay)), float(np.quantile(delay, 0.9)), float(1.0 - found[pieces.begins].mean()))
