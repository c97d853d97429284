"""What is known about a stretch of time: who was asked and when, and why a bar that is not there is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import format_time
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import UsageError

__all__ = ["Fetched", "Hole", "HoleKind", "Ledger", "Span", "difference", "runs", "union", "widened"]

HoleKind = Literal["exchange gap", "no trade", "unknown", "repaired", "not fetched"]
Span = tuple[int, int]
"""From/to in ms UTC, the end not included."""

TOLD: Final = ("exchange gap", "no trade", "unknown")
"""What a source can say of an absent bar; the store itself finds what is repaired and what was never fetched."""

_SAME_FETCH_MS: Final = 7 * 86_400_000  # a live feed would otherwise keep a record for each bar


@dataclass(frozen=True, order=True)
class Fetched:
    """The bars of this stretch (ms UTC) came from ``source``, asked between ``first_ms`` and ``last_ms`` (at most a week apart)."""

    start_ms: int
    end_ms: int
    source: str
    first_ms: int
    last_ms: int


@dataclass(frozen=True, order=True)
class Hole:
    """A stretch (ms UTC) without bars, and why: an outage of the exchange, no trade, unknown (plain files), or not fetched.

    Told to a store, a stretch may hold bars: it tells of those absent in it.

    ``repaired`` is a stretch that once was a hole in what had been fetched and has its bars now; ``source`` and ``noted_ms``: who
    said so, when.
    """

    start_ms: int
    end_ms: int
    kind: HoleKind
    source: str = ""
    noted_ms: int = 0


_Record = TypeVar("_Record", Fetched, Hole)


def union(spans: Iterable[Span]) -> list[Span]:
    """Sorted spans that neither overlap nor touch.

    >>> union([(5, 7), (0, 2), (2, 3), (6, 9), (4, 4)])
    [(0, 3), (5, 9)]
    """
    made: list[Span] = []
    for start, end in sorted(s for s in spans if s[0] < s[1]):
        if made and start <= made[-1][1]:
            made[-1] = (made[-1][0], max(made[-1][1], end))
        else:
            made.append((start, end))
    return made


def difference(spans: Iterable[Span], taken: Iterable[Span]) -> list[Span]:
    """What of ``spans`` lies outside all of ``taken``.

    >>> difference([(0, 10)], [(2, 3), (5, 20)])
    [(0, 2), (3, 5)]
    """
    left, cuts, at = [], union(taken), 0
    for start, end in union(spans):
        while at < len(cuts) and cuts[at][1] <= start:
            at += 1
        k = at
        while k < len(cuts) and cuts[k][0] < end:
            if cuts[k][0] > start:
                left.append((start, cuts[k][0]))
            start = max(start, cuts[k][1])
            k += 1
        if start < end:
            left.append((start, end))
    return left


def runs(open_time: NDArray[np.int64], frame: Timeframe) -> list[Span]:
    """The stretches that bars fill without a gap, from their open times (ms, rising).

    >>> runs(np.array([0, 60_000, 180_000]), Timeframe("1m"))
    [(0, 120000), (180000, 240000)]
    """
    if len(open_time) == 0:
        return []
    breaks = np.flatnonzero(np.diff(frame.index(open_time)) != 1) + 1
    firsts = open_time[np.concatenate([[0], breaks])]
    ends = frame.next(open_time[np.concatenate([breaks, [len(open_time)]]) - 1])
    return list(zip(firsts.tolist(), ends.tolist(), strict=True))


@dataclass(frozen=True)
class Ledger:
    """Records of what was fetched and of holes, each sorted and without overlap."""

    fetched: tuple[Fetched, ...] = ()
    holes: tuple[Hole, ...] = ()

    def covered(self) -> list[Span]:
        """The stretches that were fetched, whoever was asked."""
        return union((f.start_ms, f.end_ms) for f in self.fetched)

    def not_fetched(self, start_ms: int, end_ms: int) -> list[Span]:
        """What of a stretch nobody was asked for."""
        return difference([(start_ms, end_ms)], self.covered())

    def after(
        self,
        span: Span,
        source: str,
        fetched_ms: int,
        *,
        added: Iterable[Span] = (),
        revised: Iterable[Span] = (),
        holes: Iterable[Hole] = (),
    ) -> Ledger:
        """The ledger once ``source`` was asked for ``span``: bars ``added`` and ``revised`` (stretches) and new ground are its own.

        A bar keeps the source its value came from: that another source says the same changes nothing. Added bars on ground
        that was fetched before are a hole repaired.
        """
        before, added = self.covered(), union(added)
        own = union([*difference([span], before), *added, *revised])
        mine = [Fetched(a, b, source, fetched_ms, fetched_ms) for a, b in own]
        once_absent = difference(added, difference(added, before))
        told = [replace(h, source=h.source or source, noted_ms=h.noted_ms or fetched_ms) for h in holes]
        told += [Hole(a, b, "repaired", source, fetched_ms) for a, b in once_absent]
        return Ledger(_merged(_overlaid(self.fetched, mine), _one_fetch), _merged(_overlaid(self.holes, told), _one_hole))

    def only(self, present: Iterable[Span], source: str, noted_ms: int, within: Span | None = None) -> Ledger:
        """The ledger when no absence can be trusted any more (``within`` a span, or anywhere): just what bars prove stays fetched.

        Bars that no record covers get one from ``source``.
        """
        doubtful = [within] if within is not None else union([*self.covered(), *present])
        proven = union(present)
        lost = difference(doubtful, proven)
        kept = _carved(self.fetched, lost)
        fresh = difference(proven, ((f.start_ms, f.end_ms) for f in kept))
        told = [Fetched(a, b, source, noted_ms, noted_ms) for a, b in fresh]
        return Ledger(_merged(sorted([*kept, *told]), _one_fetch), _merged(_carved(self.holes, lost), _one_hole))

    def gaps(self, open_time: NDArray[np.int64], frame: Timeframe, start_ms: int, end_ms: int) -> list[Hole]:
        """Every stretch between two times that has no bar, and why, with what was repaired; ``open_time``: the bars that are there."""
        present = runs(open_time, frame)
        absent = difference([(start_ms, end_ms)], present)
        found = [Hole(a, b, "not fetched") for a, b in difference(absent, self.covered())]
        fetched = difference(absent, [(h.start_ms, h.end_ms) for h in found])
        for hole in self.holes:
            here = [(max(hole.start_ms, start_ms), min(hole.end_ms, end_ms))]
            ground = difference(here, fetched) if hole.kind == "repaired" else _common(here, fetched)
            found += [replace(hole, start_ms=a, end_ms=b) for a, b in ground]
        told = [(h.start_ms, h.end_ms) for h in self.holes if h.kind != "repaired"]
        found += [Hole(a, b, "unknown") for a, b in difference(fetched, told)]
        return list(_merged(sorted(found), _one_hole))


def check_holes(holes: Iterable[Hole], span: Span, where: str) -> tuple[Hole, ...]:
    """The holes a source told of; UsageError for one that is no stretch, lies outside the span fetched, or is of a kind nobody can tell."""
    told = tuple(holes)
    for hole in told:
        stretch = f"{where}: the hole {format_time(hole.start_ms)} .. {format_time(hole.end_ms)}"
        if hole.kind not in TOLD:
            raise UsageError(f"{stretch} is told as {hole.kind!r}: a source can tell {', '.join(TOLD)}; the store finds the others itself")
        if not span[0] <= hole.start_ms < hole.end_ms <= span[1]:
            raise UsageError(
                f"{stretch} does not lie inside what was fetched, {format_time(span[0])} .. {format_time(span[1])}: give holes of that span"
            )
    return told


def widened(holes: Iterable[Hole], absent: Iterable[Span]) -> list[Hole]:
    """Holes of one kind and teller as one record where nothing else is absent between them; ``absent``: every stretch without bars.

    A record tells of the absent bars in it only. A thin market that skips every other minute needs one, not one a minute.
    """
    told = sorted(holes)
    untold = np.array(difference(absent, ((h.start_ms, h.end_ms) for h in told)), np.int64).reshape(-1, 2)
    made: list[Hole] = []
    for hole in told:
        last = made[-1] if made else None
        if (
            last is not None
            and (last.kind, last.source, last.noted_ms) == (hole.kind, hole.source, hole.noted_ms)
            and last.end_ms <= hole.start_ms
        ):
            first = int(np.searchsorted(untold[:, 1], last.end_ms, "right"))
            if first == len(untold) or untold[first, 0] >= hole.start_ms:
                made[-1] = replace(last, end_ms=hole.end_ms)
                continue
        made.append(hole)
    return made


def _common(spans: Iterable[Span], others: Iterable[Span]) -> list[Span]:
    whole = union(spans)
    return difference(whole, difference(whole, others))


def _carved(records: Iterable[_Record], cuts: Iterable[Span]) -> list[_Record]:
    """Records without the stretches cut out of them."""
    taken = union(cuts)
    if not taken:
        return list(records)
    return [replace(r, start_ms=a, end_ms=b) for r in records for a, b in difference([(r.start_ms, r.end_ms)], taken)]


def _overlaid(records: Iterable[_Record], newer: Iterable[_Record]) -> list[_Record]:
    """Newer records over older ones, sorted; among the newer, the later in order wins."""
    given = list(newer)
    disjoint = len(union((r.start_ms, r.end_ms) for r in given)) == len(given)
    batches = [given] if disjoint else [[one] for one in given]
    made: list[_Record] = list(records)
    for batch in batches:
        made = _carved(made, [(r.start_ms, r.end_ms) for r in batch]) + batch
    return sorted(made)


def _merged(records: Iterable[_Record], as_one: Callable[[_Record, _Record], _Record | None]) -> tuple[_Record, ...]:
    """Neighbours that say the same as one record."""
    made: list[_Record] = []
    for record in records:
        last = made[-1] if made else None
        if last is not None and last.end_ms == record.start_ms and (one := as_one(last, record)) is not None:
            made[-1] = one
        else:
            made.append(record)
    return tuple(made)


def _one_fetch(a: Fetched, b: Fetched) -> Fetched | None:
    first, last = min(a.first_ms, b.first_ms), max(a.last_ms, b.last_ms)
    if a.source != b.source or last - first > _SAME_FETCH_MS:
        return None
    return Fetched(a.start_ms, b.end_ms, a.source, first, last)


def _one_hole(a: Hole, b: Hole) -> Hole | None:
    same = (a.kind, a.source) == (b.kind, b.source) and abs(a.noted_ms - b.noted_ms) <= _SAME_FETCH_MS
    return Hole(a.start_ms, b.end_ms, a.kind, a.source, max(a.noted_ms, b.noted_ms)) if same else None
