"""Labels given bar by bar, made into segments."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.raw import NO_TIME
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import UsageError
from candelabra.regimes.label_rows import LabelRows
from candelabra.regimes.segmentation import Segmentation

__all__ = ["common_step", "segments_of_bars"]

_UNITS: Final = (("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000))


def common_step(rows: LabelRows) -> Timeframe | None:
    """The timeframe whose length is the most common step between the times of the first symbol and annotator; None when there is none."""
    if not len(rows):
        return None
    first = (rows.symbol[0], rows.annotator[0])
    own = [k for k in range(len(rows)) if rows.good[k] and (rows.symbol[k], rows.annotator[k]) == first]
    steps = np.diff(np.unique(rows.start[own]))
    if not len(steps):
        return None
    lengths, counts = np.unique(steps, return_counts=True)
    length = int(lengths[int(np.argmax(counts))])
    month = 28 * 86_400_000 <= length <= 31 * 86_400_000
    name = "1M" if month else next((f"{length // size}{unit}" for unit, size in _UNITS if length % size == 0), "")
    try:
        return Timeframe(name)
    except UsageError:
        return None


def segments_of_bars(
    rows: LabelRows, group: NDArray[np.int64], key: tuple[str, Timeframe, str], words: tuple[str, ...], candles: Candles | None
) -> Segmentation | None:
    """Runs of equal labels of rows in order of time; a bar without a row or a label ends a run, unless ``candles`` lack it too.

    A segment's confidence is the mean of its bars', ``known_at`` the latest, its note every different one of theirs.
    """
    symbol, frame, annotator = key
    if not len(group):
        return None
    time = rows.start[group]
    code = np.array([-1 if rows.label[int(k)] is None else words.index(rows.label[int(k)] or "") for k in group], np.int64)
    after = frame.next(time)
    absent = frame.index(time)[1:] - frame.index(time)[:-1] - 1
    if candles is not None:  # bars that the market itself lacks leave no hole in its labels
        between = np.searchsorted(candles.open_time, time[1:]) - np.searchsorted(candles.open_time, after[:-1])
        absent = np.minimum(absent, between)
    edge = np.concatenate([[True], (code[1:] != code[:-1]) | (absent > 0)])
    first = np.flatnonzero(edge)
    stop = np.concatenate([first[1:], [len(group)]])
    kept = code[first] >= 0
    first, stop = first[kept], stop[kept]
    if not len(first):
        return None
    known = np.where(rows.known_at[group] == NO_TIME, after, rows.known_at[group])
    confidence = [float(rows.confidence[group[a:b]].mean(dtype=np.float64)) for a, b in zip(first, stop, strict=True)]
    latest = [int(known[a:b].max()) for a, b in zip(first, stop, strict=True)]
    said = [dict.fromkeys(n for n in (rows.note[int(k)] for k in group[a:b]) if n) for a, b in zip(first, stop, strict=True)]
    note = tuple("; ".join(words_) for words_ in said)
    return Segmentation.of(
        symbol, frame, words, time[first], after[stop - 1], code[first], confidence, latest, annotator=annotator,
        note=note if any(note) else (),
    )  # fmt: skip
