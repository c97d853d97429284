"""Labels of a timeframe inside those of a coarser one: how much of each lies in which, and where they contradict each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from candelabra.candles.frame import format_time
from candelabra.regimes.consensus import placed
from candelabra.regimes.segmentation import Segmentation

__all__ = ["OPPOSITES", "Nesting", "nested"]

OPPOSITES: Final = (("bullish", "bearish"),)
"""Pairs of labels that contradict each other when one lies inside the other."""


@dataclass(frozen=True)
class Nesting:
    """A finer segmentation inside a coarser one of the same symbol.

    ``time_ms``: time by (finer label, coarser label). ``conflicts``: finer segments that lie wholly inside a coarser one of the opposite
    label, ``conflict_ms`` their time, ``common_ms`` the time that both labelled; ``worst``: the longest of them in words.
    """

    symbol: str
    finer: str
    coarser: str
    time_ms: dict[tuple[str, str], int]
    conflicts: int
    conflict_ms: int
    common_ms: int
    worst: str

    @property
    def share(self) -> float:
        """Conflicting share of the time in common."""
        return self.conflict_ms / self.common_ms if self.common_ms else 0.0


def nested(finer: Segmentation, coarser: Segmentation, opposites: Sequence[tuple[str, str]] = OPPOSITES) -> Nesting:
    """How ``finer`` lies inside ``coarser``; a finer regime against a coarser one is common in markets, a conflict of words alone."""
    edges, (fine, coarse) = placed([finer, coarser])
    both = (fine >= 0) & (coarse >= 0)
    length = np.diff(edges)[both]
    fine, coarse = fine[both], coarse[both]
    pairs = finer.code[fine].astype(np.int64) * len(coarser.labels) + coarser.code[coarse]
    time: dict[tuple[str, str], int] = {}
    for pair in np.unique(pairs):
        names = (finer.labels[int(pair) // len(coarser.labels)], coarser.labels[int(pair) % len(coarser.labels)])
        time[names] = int(length[pairs == pair].sum())
    against = {tuple(p) for p in opposites} | {(b, a) for a, b in opposites}
    holder = np.searchsorted(coarser.start, finer.start, "right") - 1
    inside = holder >= 0
    inside[inside] = finer.end[inside] <= coarser.end[holder[inside]]
    conflict = np.array([bool(held) and (finer.names[k], coarser.names[int(holder[k])]) in against for k, held in enumerate(inside)], bool)
    spans = finer.end - finer.start
    worst = ""
    if conflict.any():
        k = int(np.argmax(np.where(conflict, spans, -1)))
        h = int(holder[k])
        worst = (
            f"{finer.timeframe} {finer.names[k]} {format_time(int(finer.start[k]))} .. {format_time(int(finer.end[k]))} inside "
            f"{coarser.timeframe} {coarser.names[h]} {format_time(int(coarser.start[h]))} .. {format_time(int(coarser.end[h]))}"
        )
    return Nesting(
        finer.symbol, finer.timeframe.name, coarser.timeframe.name, time, int(conflict.sum()), int(spans[conflict].sum()),
        int(length.sum()), worst,
    )  # fmt: skip
