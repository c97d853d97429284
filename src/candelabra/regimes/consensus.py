"""Several annotators of one market: what they agree on, and how far they do not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import DataError
from candelabra.regimes.learning_set import CONSENSUS
from candelabra.regimes.segmentation import Segmentation, runs

__all__ = ["agreed", "covering", "differing", "placed"]


def agreed(segmentations: Sequence[Segmentation]) -> Segmentation:
    """The label that most of the annotators give, weighed by their confidence; none where the first two tie.

    Of each stretch between two boundaries of anybody; stretches of one label are one segment. Its confidence is the share of weight that
    agrees, averaged over time; it is known when the last of the segments that took part in it is. An annotator who gave no label to a
    stretch has no say in it. DataError when they are of different markets or vocabularies.
    """
    first = segmentations[0]
    for one in segmentations:
        if (one.symbol, one.timeframe, one.labels) != (first.symbol, first.timeframe, first.labels):
            raise DataError(
                f"annotators of {first.symbol} {first.timeframe} and {one.symbol} {one.timeframe} (or of other labels) cannot agree: give "
                "segmentations of one market and vocabulary"
            )
    edges, rows = placed(segmentations)
    stretches = max(0, len(edges) - 1)
    weight = np.zeros((stretches, len(first.labels)))
    known = np.full(stretches, np.iinfo(np.int64).min)
    for one, row in zip(segmentations, rows, strict=True):
        said = np.flatnonzero(row >= 0)
        np.add.at(weight, (said, one.code[row[said]].astype(np.int64)), one.confidence[row[said]].astype(np.float64))
        known[said] = np.maximum(known[said], one.known_at[row[said]])
    total = weight.sum(axis=1)
    most = weight.max(axis=1, initial=0.0)
    winner = np.argmax(weight, axis=1) if stretches else np.zeros(0, np.int64)
    tied = (weight >= most[:, None] * (1 - 1e-6)).sum(axis=1) > 1
    code = np.where((total > 0) & ~tied, winner, -1).astype(np.int16)
    share = np.divide(most, total, out=np.zeros(stretches), where=total > 0)
    begin, stop, value = runs(code)
    kept = value >= 0
    begin, stop, value = begin[kept], stop[kept], value[kept]
    length = np.diff(edges).astype(np.float64)
    confidence = [float(np.average(share[a:b], weights=length[a:b])) for a, b in zip(begin, stop, strict=True)]
    latest = [int(known[a:b].max()) for a, b in zip(begin, stop, strict=True)]
    columns = (edges[begin], edges[stop], value, np.clip(confidence, 0, 1), latest)
    return Segmentation.of(first.symbol, first.timeframe, first.labels, *columns, annotator=CONSENSUS)


def covering(truth: Segmentation, other: Segmentation) -> float:
    """How well the segments of ``other`` cover those of ``truth`` (van den Burg and Williams 2020): 1 where all are the same, NaN alone.

    The mean over the segments of ``truth``, weighed by their length, of the best ratio of intersection to union with a segment of
    ``other``, in the time that both labelled. Boundaries count, labels do not.

    >>> a = Segmentation.of("X/Y", "1h", ("u",), [0, 7_200_000], [7_200_000, 14_400_000], [0, 0])
    >>> b = Segmentation.of("X/Y", "1h", ("u",), [0], [14_400_000], [0])
    >>> covering(a, b), covering(b, a), covering(a, a)
    (0.5, 0.5, 1.0)
    """
    length, mine, theirs = _common(truth, other)
    if not len(length):
        return float("nan")
    size_mine = np.bincount(mine, length)
    size_theirs = np.bincount(theirs, length)
    pair, place = np.unique(np.stack([mine, theirs], 1), axis=0, return_inverse=True)
    shared = np.bincount(place.ravel(), length)
    ratio = shared / (size_mine[pair[:, 0]] + size_theirs[pair[:, 1]] - shared)
    best = np.zeros(len(size_mine))
    np.maximum.at(best, pair[:, 0], ratio)
    return float((size_mine * best).sum() / size_mine.sum())


def differing(a: Segmentation, b: Segmentation) -> float:
    """Share of the time that both labelled in which their labels differ; NaN where they have no time in common."""
    length, mine, theirs = _common(a, b)
    if not len(length):
        return float("nan")
    place = np.array([b.labels.index(name) if name in b.labels else -1 for name in a.labels] or [-1])
    return float(length[place[a.code[mine]] != b.code[theirs]].sum() / length.sum())


def placed(segmentations: Sequence[Segmentation]) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Every boundary of any of them (ms, rising), and for each the segment that holds each stretch between two of these, -1 for none."""
    edges = np.unique(np.concatenate([np.concatenate([one.start, one.end]) for one in segmentations]))
    rows = []
    for one in segmentations:
        row = np.searchsorted(one.start, edges[:-1], "right") - 1
        inside = row >= 0
        inside[inside] = edges[:-1][inside] < one.end[row[inside]]
        rows.append(np.where(inside, row, -1))
    return edges, rows


def _common(a: Segmentation, b: Segmentation) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    edges, (mine, theirs) = placed([a, b])
    both = (mine >= 0) & (theirs >= 0)
    return np.diff(edges)[both].astype(np.float64), mine[both], theirs[both]
