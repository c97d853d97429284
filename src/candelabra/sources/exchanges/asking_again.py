"""Holes asked for again, exactly those: what an exchange has meanwhile is stored, what it has not is recorded anew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from candelabra.candles.frame import format_time
from candelabra.candles.timeframe import Timeframe
from candelabra.progress import Silent
from candelabra.sources.exchanges.contract import Source
from candelabra.sources.exchanges.fetching import Journey, fill, sole_collector
from candelabra.sources.exchanges.keeping import Keeper
from candelabra.sources.exchanges.pace import Patience, persist
from candelabra.sources.exchanges.rules import oldest_ms
from candelabra.sources.provenance import Hole, HoleKind, Span, union
from candelabra.sources.store import Store

__all__ = ["DOUBTFUL", "AskedAgain", "ask_again", "stretches"]

DOUBTFUL: Final[tuple[HoleKind, ...]] = ("not fetched", "unknown", "exchange gap")
"""What asking again may mend; that nobody traded is seldom taken back."""


@dataclass(frozen=True)
class AskedAgain:
    """What asking for the holes of one series again gave: bars that were absent, are stored now, and are still absent, by reason."""

    exchange: str
    symbol: str
    timeframe: Timeframe
    absent: int
    found: int
    left: dict[HoleKind, int] = field(default_factory=dict)
    revised: int = 0
    notes: tuple[str, ...] = ()


def stretches(holes: Iterable[Hole], kinds: Sequence[HoleKind], frame: Timeframe, page: int) -> list[Span]:
    """What to ask for: each hole with a bar to either side, near ones in one question, none longer than a page.

    >>> holes = [Hole(120_000, 180_000, "unknown"), Hole(300_000, 360_000, "unknown"), Hole(9_000_000, 9_060_000, "no trade")]
    >>> stretches(holes, ("unknown",), Timeframe("1m"), 100)
    [(60000, 420000)]
    """
    wide = union((int(frame.after(h.start_ms, -1)), int(frame.next(h.end_ms))) for h in holes if h.kind in kinds)
    made: list[Span] = []
    for start, end in wide:
        if made and int(frame.index(end) - frame.index(made[-1][0])) <= page:
            made[-1] = (made[-1][0], end)
            continue
        while int(frame.index(end) - frame.index(start)) > page:
            edge = int(frame.after(start, page))
            made.append((start, edge))
            start = edge
        made.append((start, end))
    return made


async def ask_again(
    source: Source,
    store: Store,
    symbol: str,
    timeframe: Timeframe,
    kinds: Sequence[HoleKind] = DOUBTFUL,
    *,
    lost: Sequence[Span] = (),
    patience: Patience | None = None,
) -> AskedAgain:
    """Ask for the holes of a stored series between its first and its last fetched moment, and for nothing else.

    ``lost``: stretches outside of these that were damaged. Raises as `fill` does; what had come before is stored.
    """
    watch, patience = Silent(), patience or Patience()
    with sole_collector(store, source.name, symbol, timeframe):
        covered = store.one(symbol, timeframe, source.name).look().tail.ledger.covered()
        known = union([*covered, *lost])
        if not known:
            return AskedAgain(source.name, symbol, timeframe, 0, 0)
        span, notes = (known[0][0], known[-1][1]), list[str]()
        before = _absent(store, source.name, symbol, timeframe, span)
        if "not fetched" in kinds:
            done = await fill(source, store, symbol, timeframe, *span, patience=patience)
            notes += done.notes
        now = await persist(source.now_ms, patience)
        oldest = oldest_ms(source.rules, timeframe, now)
        wanted = [h for h in before if h.kind in kinds and h.kind != "not fetched"]
        if oldest is not None and any(h.start_ms < oldest for h in wanted):
            notes.append(f"{symbol} {timeframe} before {format_time(oldest)} cannot be had: {source.rules.advice}")
            wanted = [replace(h, start_ms=max(h.start_ms, oldest)) for h in wanted if h.end_ms > oldest]
        journey = Journey(source, symbol, timeframe, patience)
        async with Keeper(store, source, symbol, timeframe) as keeper:
            for start, end in stretches(wanted, kinds, timeframe, source.rules.page):
                await keeper.keep(await journey.piece(start, end), watch)
        kept = keeper.filled(timeframe, (0, 0), 0, None, ())
    after = _absent(store, source.name, symbol, timeframe, span)
    lacked, left = _bars(before, timeframe), _bars(after, timeframe)
    absent, still = sum(lacked.values()), sum(left.values())
    told = tuple(dict.fromkeys([*notes, *journey.noted()]))
    return AskedAgain(source.name, symbol, timeframe, absent, absent - still, left, kept.revised, told)


def _absent(store: Store, exchange: str, symbol: str, frame: Timeframe, span: Span) -> list[Hole]:
    return [h for h in store.gaps(symbol, frame, *span, exchange=exchange) if h.kind != "repaired"]


def _bars(holes: Iterable[Hole], frame: Timeframe) -> dict[HoleKind, int]:
    counts: dict[HoleKind, int] = {}
    for hole in holes:
        counts[hole.kind] = counts.get(hole.kind, 0) + int(frame.index(hole.end_ms) - frame.index(hole.start_ms))
    return counts
