"""What of a series is there, day by day, and why the rest is not: the numbers behind a coverage calendar."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.sources.provenance import Hole, HoleKind, runs
from candelabra.sources.series import Series

__all__ = ["ABSENCES", "Coverage", "coverage_of", "coverage_of_candles"]

ABSENCES: Final[tuple[HoleKind, ...]] = ("not fetched", "exchange gap", "no trade", "unknown")
"""Why a bar is not there, from what can be mended to what nobody knows."""

DAY_MS: Final = 86_400_000
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Coverage:
    """A series by days (UTC): ``present`` bars ``(days,)`` and ``absent`` ones by reason; a bar belongs to the day it opens in.

    ``days``: their beginnings in ms; ``holes``: every stretch without bars, and the repaired ones; ``revisions``: bars that were given
    other values later.
    """

    name: str
    symbol: str
    timeframe: Timeframe
    exchange: str
    days: Counts
    present: Counts
    absent: dict[HoleKind, Counts]
    holes: tuple[Hole, ...]
    revisions: int = 0
    simulated: bool = False

    @property
    def expected(self) -> Counts:
        """Bars of each day, there or not."""
        return np.asarray(self.present + sum(self.absent.values()))

    def bars(self, kind: HoleKind) -> int:
        """How many bars are absent for this reason; of ``repaired``: how many once were."""
        if kind == "repaired":
            return sum(_bars(hole, self.timeframe) for hole in self.holes if hole.kind == kind)
        return int(self.absent[kind].sum())

    def as_dict(self) -> dict[str, Any]:
        """Plain values: totals by reason, and the days that are not whole."""
        wanting = np.flatnonzero(self.present < self.expected)
        return {
            "series": self.name,
            "present": int(self.present.sum()),
            "expected": int(self.expected.sum()),
            "absent": {kind: self.bars(kind) for kind in ABSENCES},
            "repaired": self.bars("repaired"),
            "revisions": self.revisions,
            "incomplete_days": [
                {"day": str(np.datetime64(int(self.days[k]), "ms").astype("datetime64[D]")), "present": int(self.present[k])}
                | {kind: int(self.absent[kind][k]) for kind in ABSENCES if self.absent[kind][k]}
                for k in wanting
            ],
        }


def coverage_of(series: Series) -> Coverage:
    """The coverage of a stored series between the first and the last moment that was fetched; DataError when it is damaged."""
    seen = series.look()
    covered = seen.tail.ledger.covered()
    start, end = (covered[0][0], covered[-1][1]) if covered else (0, 0)
    snapshot = series.snapshot(start, end, seen)
    holes = snapshot.ledger.gaps(snapshot.bars.open_time, series.timeframe, start, end)
    told = (str(series), series.symbol, series.timeframe, series.exchange)
    return _counted(told, snapshot.bars.open_time, holes, (start, end), seen.tail.revisions, seen.manifest.simulated)


def coverage_of_candles(candles: Candles, name: str = "") -> Coverage:
    """The coverage of candles from files, which know of no reasons: every absent bar is ``unknown``."""
    present = runs(candles.open_time, candles.timeframe)
    holes = [Hole(a[1], b[0], "unknown") for a, b in pairwise(present)]
    span = (present[0][0], present[-1][1]) if present else (0, 0)
    told = (name or f"{candles.symbol} {candles.timeframe}", candles.symbol, candles.timeframe, "")
    return _counted(told, candles.open_time, holes, span, 0, candles.simulated)


def _counted(
    told: tuple[str, str, Timeframe, str], open_time: Counts, holes: Iterable[Hole], span: tuple[int, int], revisions: int, simulated: bool
) -> Coverage:
    frame, holes = told[2], tuple(holes)
    first, stop = span[0] // DAY_MS, -(-span[1] // DAY_MS)
    count = max(0, stop - first)
    days = (first + np.arange(count, dtype=np.int64)) * DAY_MS
    present = np.bincount(open_time // DAY_MS - first, minlength=count).astype(np.int64)
    absent = {kind: np.zeros(count, np.int64) for kind in ABSENCES}
    for hole in holes:
        if hole.kind != "repaired":
            k, last = hole.start_ms // DAY_MS - first, -(-hole.end_ms // DAY_MS) - first
            edges = np.clip(days[k] + np.arange(last - k + 1, dtype=np.int64) * DAY_MS, hole.start_ms, hole.end_ms)
            absent[hole.kind][k:last] += np.diff(frame.index(frame.ceil(edges)))
    return Coverage(*told, days, present, absent, holes, revisions, simulated)


def _bars(hole: Hole, frame: Timeframe) -> int:
    return int(frame.index(hole.end_ms) - frame.index(hole.start_ms))
