"""`replay`: a journal told again from its own candles, from each recorded start, and compared with what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from candelabra.bundles.predictor import Predictor
from candelabra.candles.frame import format_time
from candelabra.errors import BundleError
from candelabra.live.follow import Follower
from candelabra.live.journal import Journal, body_of

__all__ = ["Replayed", "replay"]


@dataclass(frozen=True)
class Replayed:
    """``bars`` told again in ``starts`` stretches, and in words every bar of which something else was said."""

    starts: int
    bars: int
    unlike: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether every prediction has the same bits."""
        return not self.unlike


def replay(journal: Journal, bundles: Mapping[str, Path] | None = None) -> Replayed:
    """Follow the journal's candles from each of its starts and compare every prediction, to the bit.

    ``bundles``: where a bundle lies now, by id, when it is no longer where it was.
    """
    places = journal.paths() | dict(bundles or {})
    opened: dict[str, Predictor] = {}
    unlike: list[str] = []
    bars, told = 0, 0
    starts = journal.starts()
    for start in starts:
        rows = [row for row in journal.predictions(start.symbol) if row[1] == start.number]
        if not rows:
            continue
        if start.bundle not in opened:
            opened[start.bundle] = Predictor.open(places[start.bundle])
            if opened[start.bundle].manifest.id != start.bundle:
                raise BundleError(f"{places[start.bundle]} now holds another bundle than {start.bundle}: say where that one lies")
        history = journal.candles(start, start.from_ms, start.as_of_ms)
        follower = Follower(opened[start.bundle], history, start.keep)
        said = {row[0]: row[2] for row in rows}
        candles = journal.candles(start, start.as_of_ms, rows[-1][0])
        told += 1
        for step in follower.advance(candles):
            if len(step.candles) and step.as_of_ms in said:
                bars += 1
                if body_of(step.prediction) != said.pop(step.as_of_ms):
                    unlike.append(f"{start.symbol} {format_time(step.as_of_ms)}: another prediction than the journal's")
        unlike += [f"{start.symbol} {format_time(at)}: the journal has a bar that its candles do not make" for at in said]
    return Replayed(told, bars, tuple(unlike))
