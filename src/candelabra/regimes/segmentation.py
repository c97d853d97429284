"""`Segmentation`: labelled stretches of one symbol at one timeframe, and their view bar by bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.candles.frame import Candles, format_time
from candelabra.candles.hindsight import Hindsight
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.errors import DataError

__all__ = ["REGIME_LABELS", "UNLABELLED", "BarLabels", "Segmentation", "runs"]

REGIME_LABELS: Final = ("bullish", "bearish", "consolidation", "volatile")
"""The default vocabulary; a learning set may have any other."""

UNLABELLED: Final = -1
"""Code of a bar that nobody labelled: masked in every loss and figure, never a class."""


@dataclass(frozen=True, eq=False)
class BarLabels(Hindsight):
    """A segmentation on the bars of candles, per bar ``(n,)``: hindsight, for targets and judging only.

    ``code`` int16 indexes ``labels``, `UNLABELLED` where there is none; ``confidence`` float32 in [0, 1], 0 where unlabelled;
    ``known_at`` int64 ms, int64 maximum where unlabelled; ``segment`` int32: which segment of the segmentation, -1 where none.
    """

    labels: tuple[str, ...]
    code: NDArray[np.int16]
    confidence: NDArray[np.float32]
    known_at: NDArray[np.int64]
    segment: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.code)


@dataclass(frozen=True, eq=False)
class Segmentation(Hindsight):
    """Labelled segments of one symbol at one timeframe, in time, none overlapping; what lies between them is unlabelled.

    ``start``, ``end`` int64 ms UTC, half-open, on the grid of the timeframe's open times; ``code`` int16 indexes ``labels``;
    ``confidence`` float32 in [0, 1]; ``known_at`` int64 ms: when the label could have been known (default: the segment's end).
    ``annotator`` who drew it, "" when nobody says. Build with :meth:`of`, which checks; arrays are read-only.
    """

    symbol: str
    timeframe: Timeframe
    labels: tuple[str, ...]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    code: NDArray[np.int16]
    confidence: NDArray[np.float32]
    known_at: NDArray[np.int64]
    annotator: str = ""
    note: tuple[str, ...] = field(default=())

    @classmethod
    def of(
        cls,
        symbol: str,
        timeframe_: str | Timeframe,
        labels: Sequence[str],
        start: ArrayLike,
        end: ArrayLike,
        code: ArrayLike,
        confidence: ArrayLike | None = None,
        known_at: ArrayLike | None = None,
        *,
        annotator: str = "",
        note: Sequence[str] = (),
    ) -> Segmentation:
        """A checked segmentation; DataError with the first segment that cannot be.

        >>> s = Segmentation.of("BTC/USDT", "1h", ("up", "down"), [0, 7_200_000], [7_200_000, 10_800_000], [0, 1])
        >>> len(s), int(s.known_at[1])
        (2, 10800000)
        """
        frame = timeframe(timeframe_)
        starts, ends = np.array(start, np.int64), np.array(end, np.int64)
        codes = np.array(code, np.int16)
        weight = np.ones(len(starts), np.float32) if confidence is None else np.array(confidence, np.float32)
        known = ends.copy() if known_at is None else np.array(known_at, np.int64)
        where = f"{symbol} {frame}"
        if not len(starts) == len(ends) == len(codes) == len(weight) == len(known) or (note and len(note) != len(starts)):
            raise DataError(f"{where}: the columns of its segments have different lengths: give one value of each to a segment")
        if len(set(labels)) != len(labels) or not all(labels):
            raise DataError(f"{where}: the vocabulary {tuple(labels)} names a label twice or has an empty one: name each once")

        def refuse(bad: NDArray[np.bool_], why: str) -> None:
            if bad.any():
                row = int(np.argmax(bad))
                span = f"{format_time(int(starts[row]))} .. {format_time(int(ends[row]))}"
                raise DataError(f"{where}: segment {row} ({span}) {why} ({int(bad.sum())} such)")

        refuse(ends <= starts, "ends before it begins: `end` is the open time of the first bar after the segment")
        refuse((frame.floor(starts) != starts) | (frame.floor(ends) != ends), f"is not on the grid of {frame} open times (UTC)")
        refuse((codes < 0) | (codes >= len(labels)), f"has a label outside the vocabulary of {len(labels)}")
        refuse(~((weight >= 0) & (weight <= 1)), "has a confidence outside [0, 1]")
        if len(starts) > 1:
            late = np.concatenate([[False], starts[1:] < ends[:-1]])
            refuse(late, "overlaps the one before it, or is out of order: a bar has one label at a timeframe")
        for column in (starts, ends, codes, weight, known):
            column.flags.writeable = False
        return cls(symbol, frame, tuple(labels), starts, ends, codes, weight, known, annotator, tuple(note))

    @classmethod
    def of_bars(cls, candles: Candles, labels: Sequence[str], code: ArrayLike, known_at: ArrayLike | None = None) -> Segmentation:
        """Runs of equal codes (`UNLABELLED`: none) of the bars of candles; a gap in the bars ends a segment only where the label changes.

        ``known_at`` per bar; a segment is known when the last of its bars is (default: its end).
        """
        codes = np.asarray(code, np.int16)
        if codes.shape != (len(candles),):
            raise DataError(f"{candles.symbol} {candles.timeframe}: {codes.shape} labels for {len(candles)} bars: give one a bar")
        first, stop, value = runs(codes)
        keep = value >= 0
        first, stop, value = first[keep], stop[keep], value[keep]
        known = None
        if known_at is not None:
            given = np.asarray(known_at, np.int64)
            known = np.maximum.reduceat(given, np.stack([first, stop], 1).ravel()[:-1])[::2] if len(first) else np.zeros(0, np.int64)
            if len(first):  # reduceat's last stretch would reach to the end of the bars
                known[-1] = given[first[-1] : stop[-1]].max()
        return cls.of(candles.symbol, candles.timeframe, labels, candles.open_time[first], candles.close_time[stop - 1], value, None, known)

    def __len__(self) -> int:
        return len(self.start)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The label of each segment."""
        return tuple(self.labels[c] for c in self.code)

    @cached_property
    def bars(self) -> NDArray[np.int64]:
        """Length of each segment in bars of the grid."""
        return np.asarray(self.timeframe.index(self.end) - self.timeframe.index(self.start))

    def on(self, candles: Candles) -> BarLabels:
        """The labels of the bars of candles (their own or a finer timeframe's): a bar has the label of the segment it opens in."""
        place = np.searchsorted(self.start, candles.open_time, "right") - 1
        inside = place >= 0
        inside[inside] = candles.open_time[inside] < self.end[place[inside]]
        row = np.where(inside, place, 0)
        if not len(self):
            n = len(candles)
            return BarLabels(
                self.labels,
                np.full(n, UNLABELLED, np.int16),
                np.zeros(n, np.float32),
                np.full(n, np.iinfo(np.int64).max),
                np.full(n, -1, np.int32),
            )
        return BarLabels(
            self.labels,
            np.where(inside, self.code[row], UNLABELLED).astype(np.int16),
            np.where(inside, self.confidence[row], 0).astype(np.float32),
            np.where(inside, self.known_at[row], np.iinfo(np.int64).max),
            np.where(inside, row, -1).astype(np.int32),
        )

    def between(self, start_ms: int | None = None, end_ms: int | None = None) -> Segmentation:
        """The segments that lie wholly within a stretch of time."""
        keep = np.ones(len(self), bool)
        if start_ms is not None:
            keep &= self.start >= start_ms
        if end_ms is not None:
            keep &= self.end <= end_ms
        note = tuple(n for n, k in zip(self.note, keep, strict=True) if k) if self.note else ()
        columns = (self.start, self.end, self.code, self.confidence, self.known_at)
        return Segmentation.of(self.symbol, self.timeframe, self.labels, *(c[keep] for c in columns), annotator=self.annotator, note=note)

    def __repr__(self) -> str:
        return f"Segmentation({self.symbol} {self.timeframe}, {len(self):,} segments of {', '.join(self.labels)})"


def runs(code: NDArray[np.int16]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int16]]:
    """Stretches of equal values: first rows, rows after the last, values.

    >>> [column.tolist() for column in runs(np.array([2, 2, 0, 0, 0, 2], np.int16))]
    [[0, 2, 5], [2, 5, 6], [2, 0, 2]]
    """
    if not len(code):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int16)
    first = np.concatenate([[0], np.flatnonzero(np.diff(code)) + 1]).astype(np.int64)
    return first, np.concatenate([first[1:], [len(code)]]).astype(np.int64), code[first]
