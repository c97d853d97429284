"""Regimes across timeframes: which label each coarser timeframe held at the close of each finest bar, and where they contradict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.hindsight import Hindsight
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import UsageError
from candelabra.regimes.nesting import OPPOSITES
from candelabra.regimes.reading import Mode, RegimeReading
from candelabra.regimes.segmentation import UNLABELLED

__all__ = ["Consistency", "LabelPair", "SmoothedConsistency", "consistency", "held"]


@dataclass(frozen=True)
class LabelPair:
    """How often one timeframe showed a label while a coarser one held another: ``bars`` of the finest timeframe, ``share`` of those at
    which both said something; ``conflict``: whether the two labels are opposites.
    """

    finer: str
    coarser: str
    finer_label: str
    coarser_label: str
    bars: int
    share: float
    conflict: bool


@dataclass(frozen=True, eq=False)
class Consistency:
    """At the close of each bar of the finest timeframe ``(n,)``, the label that each timeframe held, finest first.

    ``code`` int16 ``(n, T)``, each column a place in its own ``labels[t]``, -1 where nothing was said; ``opposites``: labels that
    contradict each other.
    """

    symbol: str
    timeframes: tuple[Timeframe, ...]
    labels: tuple[tuple[str, ...], ...]
    mode: Mode
    close_time: NDArray[np.int64]
    code: NDArray[np.int16]
    opposites: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        return len(self.close_time)

    @cached_property
    def conflict(self) -> NDArray[np.bool_]:
        """Where each timeframe contradicts the finest ``(n, T)``; its own column is False."""
        return np.stack([self._against(0, t) for t in range(len(self.timeframes))], axis=1)

    @cached_property
    def words(self) -> NDArray[np.str_]:
        """Each bar in words, as in ``1h bullish inside 1d bearish``; timeframes that say nothing are left out."""
        combinations, place = np.unique(self.code, axis=0, return_inverse=True)
        told = [
            " inside ".join(f"{t} {names[c]}" for t, names, c in zip(self.timeframes, self.labels, row, strict=True) if c >= 0)
            for row in combinations.tolist()
        ]
        return np.array(told or [""])[place.ravel()]

    @cached_property
    def pairs(self) -> tuple[LabelPair, ...]:
        """Every pair of labels of every two timeframes, with its share of time; conflicts of two timeframes before their other pairs."""
        found = []
        for fine in range(len(self.timeframes)):
            for coarse in range(fine + 1, len(self.timeframes)):
                found += self._pairs(fine, coarse)
        return tuple(found)

    def conflicts(self) -> dict[tuple[str, str], float]:
        """Share of time, of that at which both said something, in which two timeframes (finer, coarser) contradicted each other."""
        out: dict[tuple[str, str], float] = {}
        for one in self.pairs:
            out.setdefault((one.finer, one.coarser), 0.0)
            out[one.finer, one.coarser] += one.share if one.conflict else 0.0
        return out

    def _against(self, fine: int, coarse: int) -> NDArray[np.bool_]:
        """Bars at which two timeframes show opposite labels."""
        pairs = {*self.opposites, *((b, a) for a, b in self.opposites)}
        table = np.array([[(a, b) in pairs for b in (*self.labels[coarse], "")] for a in (*self.labels[fine], "")], bool)
        return np.asarray(table[self.code[:, fine], self.code[:, coarse]])  # code -1 is the last row or column: no label

    def _pairs(self, fine: int, coarse: int) -> list[LabelPair]:
        a, b = self.code[:, fine].astype(np.int64), self.code[:, coarse].astype(np.int64)
        both, across = (a >= 0) & (b >= 0), len(self.labels[coarse])
        against = self._against(fine, coarse)
        value, place, count = np.unique(a[both] * across + b[both], return_index=True, return_counts=True)
        rows = np.flatnonzero(both)[place]
        found = [
            LabelPair(
                self.timeframes[fine].name, self.timeframes[coarse].name, self.labels[fine][v // across], self.labels[coarse][v % across],
                bars, bars / int(both.sum()), bool(against[row]),
            )
            for v, bars, row in zip(value.tolist(), count.tolist(), rows.tolist(), strict=True)
        ]  # fmt: skip
        return sorted(found, key=lambda one: (not one.conflict, -one.bars))


@dataclass(frozen=True, eq=False)
class SmoothedConsistency(Consistency, Hindsight):
    """The same of smoothed readings, each bar beside the coarser bar that it lies in; known when the last of the labels is."""

    known_at: NDArray[np.int64]


def held(reading: RegimeReading, time_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """The row of ``reading`` whose label was the newest said by each time, -1 where there is none.

    A label is held until the next is due; where a bar never came, or the reading has ended, nothing is known from then on.
    """
    said = reading.said_at
    row = np.searchsorted(said, time_ms, "right") - 1
    there = row >= 0
    if there.any():
        due = reading.timeframe.next(said)
        there &= time_ms < due[row]
    return np.where(there, row, -1)


def consistency(readings: Sequence[RegimeReading], opposites: Sequence[tuple[str, str]] = OPPOSITES) -> Consistency:
    """Join readings of one symbol on the closes of the finest: the last coarser bar that had *closed*, never the one that is forming.

    With a lag a timeframe joins with the label that it had said by then. Smoothed readings are hindsight all the same and join by the
    coarser bar that each bar lies in. UsageError when there are none, of several symbols or modes, or two of one timeframe.
    """
    given = sorted(readings, key=lambda one: one.timeframe)
    if not given:
        raise UsageError("there is no reading to compare: give one for each timeframe")
    first, frames = given[0], tuple(one.timeframe for one in given)
    if len({one.symbol for one in given}) > 1 or len(set(frames)) < len(frames):
        listed = ", ".join(f"{one.symbol} {one.timeframe}" for one in given)
        raise UsageError(f"readings of {listed} cannot be compared bar by bar: give those of one symbol, one for each timeframe")
    if len({one.mode for one in given}) > 1:
        raise UsageError(f"{first.symbol}: filtered and smoothed readings cannot be compared with each other: the smoothed know the future")
    columns = []
    for one in given:
        if one.mode == "smoothed":
            row = np.searchsorted(one.open_time, first.open_time, "right") - 1
            if len(one):
                row = np.where((row >= 0) & (first.open_time < one.close_time[row]), row, -1)
        else:
            row = held(one, first.close_time)
        columns.append(np.where(row >= 0, one.code[row] if len(one) else UNLABELLED, UNLABELLED).astype(np.int16))
    values = (first.symbol, frames, tuple(one.labels for one in given), first.mode, first.close_time, np.stack(columns, axis=1))
    if first.mode == "smoothed":
        known = max(int(one.said_at.max(initial=0)) for one in given)
        return SmoothedConsistency(*values, tuple(opposites), np.full(len(first), known))
    return Consistency(*values, tuple(opposites))
