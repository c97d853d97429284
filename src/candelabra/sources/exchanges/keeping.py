"""Pieces of a series on their way into the store: joined in order, written off the event loop so that fetching does not wait."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Final

import numpy as np

from candelabra.candles.frame import Candles, format_time
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import SourceError
from candelabra.progress import Reporter
from candelabra.sources.bars import Bars
from candelabra.sources.exchanges.contract import Source
from candelabra.sources.provenance import Hole, Span
from candelabra.sources.series import WriteReport
from candelabra.sources.store import Store

if TYPE_CHECKING:
    from candelabra.sources.exchanges.fetching import Filled

__all__ = ["Keeper", "Piece"]

_AT_ONCE: Final = 50_000
"""Bars a write: more than a month of minutes, so that a month's file is rewritten twice and not forty times."""
_EVERY_S: Final = 5.0
"""How much a journey that is killed may have to fetch again, in seconds of it."""

_TRIES: Final = 10


@dataclass(frozen=True, eq=False)
class Piece:
    """Bars of a stretch, and the stretches of it without any; the latest answer about it came at ``received_ms`` (the exchange's time).

    ``pending``: more was asked for, and may still come.
    """

    bars: Bars
    span: Span
    absent: list[Span]
    received_ms: int = 0
    simulated: bool = False
    pending: bool = False


class Keeper:
    """Takes pieces that follow one another and writes them in batches, one at a time, in a thread; what waits is written when it is left,
    also by an error or an interruption.
    """

    def __init__(self, store: Store, source: Source, symbol: str, frame: Timeframe) -> None:
        self._store, self._source, self._symbol, self._frame = store, source, symbol, frame
        self._waiting: list[Piece] = []
        self._writing: asyncio.Task[WriteReport] | None = None
        self._reports: list[WriteReport] = []
        self._wrote_at = time.monotonic()
        self._absent = self._received_ms = 0
        self._simulated = False

    async def __aenter__(self) -> Keeper:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            await self._flush()
            await self._written()
            return
        # Whatever ended the journey, what had come is kept; a second trouble must not hide the first.
        with contextlib.suppress(Exception):
            await asyncio.shield(self._end())

    async def keep(self, piece: Piece, progress: Reporter) -> None:
        """Take the next piece; waits for the disk only when that is far behind."""
        if piece.span[0] >= piece.span[1]:
            return
        if self._waiting and self._waiting[-1].span[1] != piece.span[0]:
            await self._flush()
        self._waiting.append(piece)
        count = int(self._frame.index(piece.span[1]) - self._frame.index(piece.span[0]))
        self._absent += count - len(piece.bars)
        progress.advance(count, candles=len(piece.bars))
        bars = sum(len(p.bars) for p in self._waiting)
        if bars >= _AT_ONCE or time.monotonic() - self._wrote_at > _EVERY_S:
            await self._flush()

    def filled(self, frame: Timeframe, asked: Span, complete_ms: int, first_ms: int | None, notes: tuple[str, ...]) -> Filled:
        """What came of it."""
        from candelabra.sources.exchanges.fetching import Filled

        added, unchanged, revised = (sum(getattr(r, name) for r in self._reports) for name in ("added", "unchanged", "revised"))
        return Filled(self._source.name, self._symbol, frame, asked, added, unchanged, revised, self._absent, complete_ms, first_ms, notes)

    async def _flush(self) -> None:
        if not self._waiting:
            return
        await self._written()
        pieces, self._waiting = self._waiting, []
        self._received_ms = max(self._received_ms, *(p.received_ms for p in pieces))
        self._simulated |= any(p.simulated for p in pieces)
        self._writing = asyncio.create_task(asyncio.to_thread(self._write, pieces))

    async def _written(self) -> None:
        task = self._writing
        if task is None:
            return
        try:
            self._reports.append(await asyncio.shield(task))
        finally:
            if task.done():  # else whoever waited was interrupted, and the next write must wait for this one
                self._writing = None
        self._wrote_at = time.monotonic()

    async def _end(self) -> None:
        await self._flush()
        await self._written()

    def _write(self, pieces: list[Piece]) -> WriteReport:
        bars = Bars.joined([p.bars for p in pieces if len(p.bars)])
        span = (pieces[0].span[0], pieces[-1].span[1])
        times = np.array(bars.open_time)
        if len(times) and ((np.diff(times) <= 0).any() or times[0] < span[0] or times[-1] >= span[1]):
            where = f"{self._symbol} {self._frame}: pages from {format_time(span[0])} on"
            raise SourceError(f"{where} do not follow one another: nothing is stored of them; fetch again")
        values = [np.ascontiguousarray(column) for column in bars.values]
        missing = np.zeros(len(times), np.int32)
        candles = Candles.sealed(self._symbol, self._frame, times, values, missing, self._frame, span, self._simulated)
        label = str(getattr(self._source, "label", f"{self._source.name} REST candles"))
        holes = [Hole(a, b, self._source.rules.absent) for p in pieces for a, b in p.absent]
        for attempt in range(_TRIES):
            try:
                return self._store.write(candles, exchange=self._source.name, source=label, fetched_ms=self._received_ms, holes=holes)
            except SourceError as error:
                if not error.retryable or attempt == _TRIES - 1:
                    raise
                time.sleep(0.5)  # somebody folds or repairs the series
        raise AssertionError("unreachable")
