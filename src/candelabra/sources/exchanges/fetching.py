"""What is not yet fetched, page by page into the store: order, holes and the tip checked, whatever the exchange answers meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from candelabra.candles.frame import format_time
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.progress import Reporter, Silent
from candelabra.sources.bars import Bars, over
from candelabra.sources.exchanges.contract import Page, Source
from candelabra.sources.exchanges.keeping import Keeper, Piece
from candelabra.sources.exchanges.listing import VOTES
from candelabra.sources.exchanges.pace import Patience, persist
from candelabra.sources.exchanges.pages import BadPage
from candelabra.sources.exchanges.rules import oldest_ms
from candelabra.sources.lock import writing
from candelabra.sources.provenance import Span, difference, runs
from candelabra.sources.store import Store

__all__ = ["Filled", "fill", "sole_collector"]

_AHEAD: Final = 12
"""Pages on their way at once: an answer takes longer to come than the pace between requests."""
_SETTLED_MS: Final = 300_000
"""An absence at the tip is believed when a later candle is there, or so long after the close: candles may come late."""
_PAUSE_S: Final = 0.25
"""Between two questions for the same absent bars, lest one cached answer be counted twice."""


@dataclass(frozen=True)
class Filled:
    """What a journey stored of one series: bars by what the store made of them, ``absent`` bars told with their reason.

    ``complete_ms``: what was asked for is settled up to here (ms, a close time); ``first_ms``: the first candle that could be had, where it
    was looked for. ``notes``: what people should know.
    """

    exchange: str
    symbol: str
    timeframe: Timeframe
    asked: Span
    added: int
    unchanged: int
    revised: int
    absent: int
    complete_ms: int
    first_ms: int | None
    notes: tuple[str, ...] = ()


@contextlib.contextmanager
def sole_collector(store: Store, exchange: str, symbol: str, timeframe_: Timeframe | str) -> Iterator[None]:
    """Be the only process that collects a series, for as long as a journey or a live loop takes; SourceError names who else does."""
    folder = store.root / ".fetching" / exchange / f"{quote(symbol, safe='')}-{timeframe_}"
    folder.mkdir(parents=True, exist_ok=True)
    with writing(folder, f"{symbol} {timeframe_} of {exchange}"):
        yield


async def fill(
    source: Source,
    store: Store,
    symbol: str,
    timeframe_: str | Timeframe,
    start_ms: int,
    end_ms: int,
    *,
    progress: Reporter | None = None,
    patience: Patience | None = None,
    ahead: int = _AHEAD,
    settled_ms: int = _SETTLED_MS,
    pause_s: float = _PAUSE_S,
) -> Filled:
    """Fetch what the store has not yet of the bars that open in ``[start_ms, end_ms)`` and have closed by the exchange's time.

    What is stored is settled: every bar of it is there or is told absent with a reason, after ``VOTES`` separate clean answers without it;
    bars at the tip that may still come are left for the next call. One row before is asked for again, so that a revision is noticed. A
    journey that was stopped by whatever means goes on from what is stored. ``progress`` is advanced by bars; open a stage around the call.

    Raises GaveUp when an exchange did not answer for long, SourceError when it will not, UsageError for what it does not have; what had
    come before is stored.
    """
    frame = timeframe(timeframe_)
    journey = _Journey(source, symbol, frame, patience or Patience(), settled_ms, pause_s, ahead, progress or Silent())
    now = await persist(source.now_ms, journey.patience)
    start, end = int(frame.ceil(start_ms)), int(frame.floor(min(end_ms, now)))
    spans = store.spans_not_fetched(symbol, frame, start, max(start, end), exchange=source.name) if start < end else []
    end_of_it = end
    async with Keeper(store, source, symbol, frame) as keeper:
        for span in spans:
            before = not store.spans_not_fetched(symbol, frame, int(frame.after(span[0], -1)), span[0], exchange=source.name)
            begin = await journey.begin(span, before, now)
            reached = await journey.stretch(begin, span[1], keeper)
            if reached < span[1]:
                end_of_it = reached
                break
    return keeper.filled(frame, (start, max(start, end)), max(start, end_of_it), journey.first_ms, journey.noted())


@dataclass
class _Look:
    """What answers about one stretch gave so far."""

    received_ms: int
    bars: Bars = field(default_factory=Bars.none)
    simulated: bool = False


@dataclass
class _Journey:
    source: Source
    symbol: str
    frame: Timeframe
    patience: Patience
    settled_ms: int
    pause_s: float
    ahead: int
    progress: Reporter
    first_ms: int | None = None
    notes: list[str] = field(default_factory=list)
    unlawful: set[int] = field(default_factory=set)

    async def begin(self, span: Span, known_before: bool, now_ms: int) -> int:
        """Where to begin: a bar early after what is stored, at the first candle there is otherwise, or the oldest that can be had."""
        start, end = span
        oldest = oldest_ms(self.source.rules, self.frame, now_ms)
        if oldest is not None and start < oldest:
            lost = f"{self.symbol} {self.frame} from {format_time(start)} to {format_time(min(end, oldest))} cannot be had"
            self.notes.append(f"{lost}: {self.source.rules.advice}")
            self._skipped(start, min(end, oldest))
            start, known_before = min(end, oldest), False
        if known_before:
            early = int(self.frame.after(start, -1))
            return start if oldest is not None and early < oldest else early
        if start >= end:
            return end
        first = await persist(lambda: self.source.first_ms(self.symbol, self.frame, start), self.patience)
        if first is None:
            self.notes.append(f"{self.source.name} has no candle of {self.symbol} {self.frame} from {format_time(start)} on")
            return end
        self.first_ms = first
        if first > start:
            self.notes.append(f"{self.symbol} {self.frame} begins at {format_time(first)} on {self.source.name}")
            self._skipped(start, min(first, end))
        return min(first, end)

    async def stretch(self, begin: int, end: int, keeper: Keeper) -> int:
        """Everything from ``begin`` to ``end``, several pages on their way at once, kept in their order; gives how far it is settled."""
        on_their_way: deque[asyncio.Task[Piece]] = deque()
        at = begin
        try:
            while at < end or on_their_way:
                while at < end and len(on_their_way) < self.ahead:
                    edge = min(end, int(self.frame.after(at, self.source.rules.page)))
                    on_their_way.append(asyncio.create_task(self.piece(at, edge)))
                    at = edge
                piece = await on_their_way.popleft()
                await keeper.keep(piece, self.progress)
                if piece.pending:
                    return piece.span[1]
                if not len(piece.bars) and piece.span[1] < end:
                    later = await self._beyond(piece.span[1], end)
                    if later > piece.span[1]:
                        _drop(on_their_way)
                        await keeper.keep(Piece(Bars.none(), (piece.span[1], later), [(piece.span[1], later)]), self.progress)
                        at = later
        finally:
            _drop(on_their_way)
        return end

    async def piece(self, start: int, end: int) -> Piece:
        """The bars of a stretch of at most a page, and what of it is absent by several separate answers."""
        look = _Look(start)
        await self._look(look, start, end)
        absent = difference([(start, end)], runs(look.bars.open_time, self.frame))
        votes = 1
        while absent and votes < VOTES:
            await asyncio.sleep(self.pause_s)
            # Neighbours are asked for too: an answer with them in it is an answer about the hole.
            low, high = max(start, int(self.frame.after(absent[0][0], -1))), min(end, int(self.frame.next(absent[-1][1])))
            before = len(look.bars)
            await self._look(look, low, high)
            absent = difference([(start, end)], runs(look.bars.open_time, self.frame))
            votes = votes + 1 if len(look.bars) == before else 1
        settled = end
        if absent and absent[-1][1] == end:
            # Nothing later is known: the newest of these bars may still come.
            certain = int(self.frame.floor(look.received_ms - self.settled_ms))
            settled = min(end, max(absent[-1][0], certain))
            absent = difference(absent, [(settled, end)])
        return Piece(look.bars, (start, settled), absent, look.received_ms, look.simulated, settled < end)

    def noted(self) -> tuple[str, ...]:
        """The notes, with what is not as one would think."""
        notes = list(self.notes)
        if not self.source.rules.volume:
            notes.append(f"{self.source.name} gives no volume: {self.symbol} {self.frame} is stored with 0, and its source says so")
        if self.unlawful:
            first = format_time(min(self.unlawful))
            text = f"{self.symbol} {self.frame}: {len(self.unlawful)} rows of {self.source.name} are no candles (the first is {first})"
            notes.append(f"{text}: they are recorded as absent")
        return tuple(notes)

    async def _look(self, look: _Look, start: int, end: int) -> None:
        """Ask page by page for ``[start, end)``; newer answers over older ones."""
        at = start
        while at < end:
            page = await self._page(at, end)
            look.bars = over(Bars.of(page.candles), look.bars)
            look.received_ms = max(look.received_ms, page.received_ms)
            look.simulated |= page.candles.simulated
            if page.answered[1] <= at:
                return
            at = page.answered[1]

    async def _page(self, start: int, end: int) -> Page:
        same: Counter[tuple[int, ...]] = Counter()

        async def once() -> Page:
            try:
                return await self.source.page(self.symbol, self.frame, start, end)
            except BadPage as bad:
                same[bad.unlawful] += 1
                if bad.without is None or same[bad.unlawful] < VOTES:
                    raise
                self.unlawful.update(bad.unlawful)  # what is the same each time is the exchange's word, and no candle
                return bad.without

        return await persist(once, self.patience)

    async def _beyond(self, after: int, end: int) -> int:
        """A whole page is empty: where the next candle is, so that years of nothing are not paged through."""
        first = await persist(lambda: self.source.first_ms(self.symbol, self.frame, after), self.patience)
        if first is not None:
            return min(first, end)
        certain = int(self.frame.floor(await persist(self.source.now_ms, self.patience) - self.settled_ms))
        return max(after, min(end, certain))

    def _skipped(self, start: int, end: int) -> None:
        self.progress.advance(int(self.frame.index(end) - self.frame.index(start)))


def _drop(tasks: deque[asyncio.Task[Piece]]) -> None:
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # seen: nobody waits for it any more
        task.cancel()
    tasks.clear()
