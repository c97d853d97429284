"""How well alarms find events: area under the ROC curve, events caught, delay, precision, alarms on clean bars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from candelabra.errors import DataError

__all__ = ["Detection", "auc", "detection"]


@dataclass(frozen=True)
class Detection:
    """``caught``: share of ``events`` with an alarm while they last; ``delay``: median bars from their first bar to it (0: at its close).

    ``precision``: of alarms on bars of events or clean bars, the share on events; ``false_alarms`` on ``clean`` bars. Bars that are neither
    (the echo of an event) count nowhere. NaN where there is nothing to divide by.
    """

    events: int
    caught: float
    delay: float
    precision: float
    false_alarms: int
    clean: int


def auc(scores: ArrayLike, positive: ArrayLike, negative: ArrayLike) -> float:
    """Chance that a bar of ``positive`` scores above one of ``negative`` (masks ``(n,)``), ties half: the area under the ROC curve.

    By ranks (Mann and Whitney 1947); a score that is not known ranks lowest. DataError when one side is empty.

    >>> auc([1, 2, 3, 3], [False, False, True, False], [True, True, False, True])
    0.8333333333333334
    """
    x, p, n = np.asarray(scores, np.float64), np.asarray(positive, np.bool_), np.asarray(negative, np.bool_)
    if not p.any() or not n.any():
        raise DataError(f"an area under the curve needs bars of both kinds, got {int(p.sum())} and {int(n.sum())}: judge a longer range")
    both = np.concatenate([x[p], x[n]])
    ranks = rankdata(np.where(np.isnan(both), -np.inf, both))
    count = int(p.sum())
    return float((ranks[:count].sum() - count * (count + 1) / 2) / (count * int(n.sum())))


def detection(alarm: ArrayLike, first: ArrayLike, stop: ArrayLike, clean: ArrayLike) -> Detection:
    """What ``alarm`` ``(n,)`` makes of events at rows ``first[i] : stop[i]``, which do not overlap, and of ``clean`` bars ``(n,)``.

    >>> found = detection([0, 0, 1, 0, 1, 0], first=[1], stop=[4], clean=[1, 0, 0, 0, 1, 1])
    >>> found.caught, found.delay, found.precision
    (1.0, 1.0, 0.5)
    """
    raised, quiet = np.asarray(alarm, np.bool_), np.asarray(clean, np.bool_)
    begin, end = np.asarray(first, np.int64), np.asarray(stop, np.int64)
    rows = np.flatnonzero(raised)
    at = np.searchsorted(rows, begin)
    hit = np.append(rows, len(raised))[at]
    caught = hit < end
    inside = int((np.searchsorted(rows, end) - at).sum())
    false = int((raised & quiet).sum())
    delays: NDArray[np.int64] = (hit - begin)[caught]
    return Detection(
        len(begin),
        float(caught.mean()) if len(begin) else float("nan"),
        float(np.median(delays)) if len(delays) else float("nan"),
        inside / (inside + false) if inside + false else float("nan"),
        false,
        int(quiet.sum()),
    )
