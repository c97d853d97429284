"""How long after a bar its label is known, and which labels a part of a split may learn from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from candelabra.regimes.learning_set import LearningSet
from candelabra.regimes.segmentation import BarLabels, Segmentation

__all__ = ["hindsight_span_ms", "known_by"]


def hindsight_span_ms(labels: LearningSet | Segmentation) -> int:
    """The longest time (ms) from the close of a bar until its label is known: what a splitter purges by (``purge_ms``).

    A segment is known as a whole, so its first bar waits longest. One long segment makes this long; `known_by` drops the bars that are
    not known at a cut, and no others, which costs less of a learning set with long segments.

    >>> hindsight_span_ms(Segmentation.of("X/Y", "1h", ("u",), [0], [10_800_000], [0])) // 3_600_000
    2
    """
    parts = labels.segmentations if isinstance(labels, LearningSet) else (labels,)
    spans = [int((one.known_at - one.timeframe.next(one.start)).max()) for one in parts if len(one)]
    return max([0, *spans])


def known_by(labels: BarLabels, cut_ms: int) -> NDArray[np.bool_]:
    """Which bars ``(n,)`` have a label that was known at a time: those a part that ends then may learn from."""
    return np.asarray((labels.code >= 0) & (labels.known_at <= cut_ms))
