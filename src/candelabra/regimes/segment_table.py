"""Readings as segments: from when to when each regime was shown, how sure, how old, what is likely next and how long it may yet last."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.hindsight import Hindsight
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import UsageError
from candelabra.regimes.decoding import Decoder
from candelabra.regimes.reading import Mode, RegimeReading
from candelabra.regimes.segmentation import Segmentation, runs

__all__ = ["SegmentTable", "segment_rows"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SegmentTable(Hindsight):
    """The segments of a reading in time, a row each ``(m,)``; a row speaks of bars before its end, so it is no input of a rule.

    ``start``, ``end`` int64 ms UTC, half-open; ``code`` indexes ``labels``; ``mean_probability``, ``least_probability`` of the label
    shown, over the bars where it is known; ``next_probabilities`` ``(m, K)``: chance of each label to come after it; ``age``: candles that
    closed in it; ``expected_remaining``: further bars after ``end`` that the newest segment lasts on average, when nothing has ended it
    yet, NaN for all others; ``waiting``: how many of its last bars are still provisional; ``known_at`` int64 ms: when its last bar's label
    was said for good (or will be); ``lag``: bars that every label of it is late.

    ``confirmed``: whether later candles leave the segment's beginning and label as they are. Of a filtered reading that holds of every
    segment as soon as it is shown, the newest one only grows. With a fixed lag it holds as soon as one of its bars is older than the lag:
    its end within the lag may still move; a segment wholly within the lag is provisional, and may vanish. In hindsight the newest segment
    is provisional; the others are as confirmed as a look back can be, which a look back from later may see otherwise.
    """

    symbol: str
    timeframe: Timeframe
    labels: tuple[str, ...]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    code: NDArray[np.int16]
    mean_probability: Floats
    least_probability: Floats
    next_probabilities: Floats
    age: NDArray[np.int64]
    expected_remaining: Floats
    confirmed: NDArray[np.bool_]
    waiting: NDArray[np.int64]
    known_at: NDArray[np.int64]
    mode: Mode
    model: str
    lag: int = 0

    def __len__(self) -> int:
        return len(self.start)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The label of each segment."""
        return tuple(self.labels[c] for c in self.code)

    def segmentation(self) -> Segmentation:
        """The same as labels, to judge or to learn from: confidence is the mean probability, 0 where nothing is known of it."""
        sure = np.clip(np.nan_to_num(self.mean_probability), 0, 1)
        return Segmentation.of(self.symbol, self.timeframe, self.labels, self.start, self.end, self.code, sure, self.known_at)

    def __repr__(self) -> str:
        return f"SegmentTable({self.symbol} {self.timeframe}, {len(self):,} segments, {self.mode})"


def segment_rows(reading: RegimeReading, decoder: Decoder) -> SegmentTable:
    """The segments of ``reading``, read with the decoder it was decoded by (or another's durations of the same labels).

    A gap in the candles ends a segment only where the label changes; bars of which nothing is said belong to none. UsageError for a decoder
    of other labels.
    """
    if decoder.labels != reading.labels:
        raise UsageError(
            f"{reading.symbol} {reading.timeframe}: a decoder of {', '.join(decoder.labels)} cannot say how long "
            f"{', '.join(reading.labels)} last: give the one of this timeframe"
        )
    first, stop, value = runs(reading.code)
    kept = value >= 0
    mean = least = np.zeros(0)
    if len(first):
        known = np.isfinite(reading.shown)
        count = np.add.reduceat(known.astype(np.int64), first)
        total = np.add.reduceat(np.where(known, reading.shown, 0.0), first)
        mean = np.divide(total, count, out=np.full(len(first), np.nan), where=count > 0)[kept]
        least = np.fmin.reduceat(reading.shown, first)[kept]
    first, stop, value = first[kept], stop[kept], value[kept]
    age, place = stop - first, value.astype(np.int64)
    remaining = np.full(len(first), np.nan)
    if len(first) and stop[-1] == len(reading):
        remaining[-1] = decoder.expected_remaining(int(value[-1]), int(age[-1]))
    return SegmentTable(
        reading.symbol,
        reading.timeframe,
        reading.labels,
        reading.open_time[first],
        reading.close_time[stop - 1],
        value,
        mean,
        least,
        decoder.durations.follows[place],
        age,
        remaining,
        first < reading.settled,
        np.minimum(np.maximum(stop - reading.settled, 0), age),
        reading.said_at[stop - 1],
        reading.mode,
        reading.model,
        reading.lag,
    )
