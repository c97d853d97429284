"""An exchange in memory, with faults, for tests of what follows markets: a `Source`, a `Stream`, and the least that a fill must do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import SourceError
from candelabra.live.feed import spanning
from candelabra.sources.exchanges.clock import Clock
from candelabra.sources.exchanges.contract import Notice, Page, Rules
from candelabra.sources.provenance import Hole
from candelabra.sources.store import Store

__all__ = ["MemorySource", "MemoryStream", "keep", "plain_fill"]


@dataclass(eq=False)
class MemorySource:
    """An exchange in memory: `Source` over known candles, by a clock; ``fault(number)`` may raise what a call meets."""

    candles: Candles
    clock: Clock
    fault: Callable[[int], None] = lambda number: None
    name: str = "memory"
    rules: Rules = field(default_factory=lambda: Rules(page=1000))
    skew_ms: int = 0
    calls: int = 0

    async def now_ms(self) -> int:
        """The exchange's time."""
        return self.clock.now_ms() + self.skew_ms

    async def symbols(self) -> Sequence[str]:
        """One."""
        return [self.candles.symbol]

    async def page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
        """Whatever closed, unless ``fault`` raises."""
        self.calls += 1
        await asyncio.sleep(0)
        self.fault(self.calls)
        end = int(timeframe.floor(min(end_ms, await self.now_ms(), start_ms + self.rules.page * timeframe.milliseconds)))
        return Page(spanning(self.candles, start_ms, max(start_ms, end)), (start_ms, max(start_ms, end)), await self.now_ms())

    async def first_ms(self, symbol: str, timeframe: Timeframe, after_ms: int) -> int | None:
        """The first candle there is."""
        later = self.candles.between(start_ms=after_ms)
        return int(later.open_time[0]) if len(later) else None

    async def close(self) -> None:
        """Nothing to let go of."""


@dataclass(eq=False)
class MemoryStream:
    """A socket in memory; ``plan(session)`` says how many notices a session gives, and how it ends: ends, raises, falls silent, freezes."""

    source: MemorySource
    plan: Callable[[int], tuple[int, str]] = lambda session: (1 << 30, "ends")
    sessions: int = 0
    closed: int = 0

    async def notices(self, symbols: Sequence[str], timeframe: Timeframe) -> AsyncIterator[Notice]:
        """One session, as planned."""
        self.sessions += 1
        count, end = self.plan(self.sessions)
        if end == "refused":
            raise SourceError("the dial was refused", retryable=True)
        for _ in range(count):
            now = await self.source.now_ms()
            for symbol in symbols:
                yield Notice(symbol, int(timeframe.floor(now)), self.source.clock.now_ms())
            await self.source.clock.sleep((int(timeframe.next(timeframe.floor(now))) - now) / 1000 + 1)
        if end == "raises":
            raise RuntimeError("a raw error of the line")
        if end == "frozen":
            old = int(timeframe.floor(await self.source.now_ms()))
            while True:
                yield Notice(symbols[0], old, self.source.clock.now_ms())
                await asyncio.sleep(0.005)
        if end == "silent":
            await asyncio.sleep(3600)

    async def close(self) -> None:
        """Count it."""
        self.closed += 1


async def plain_fill(source: MemorySource, store: Store, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> None:
    """The least that a fill must do, for tests of what comes after it."""
    for a, b in store.spans_not_fetched(symbol, timeframe, start_ms, end_ms, exchange=source.name):
        at = a
        while at < b:
            page = await source.page(symbol, timeframe, at, b)
            if page.answered[1] <= at:
                return
            keep(store, page.candles, source.name)
            at = page.answered[1]


def keep(store: Store, candles: Candles, exchange: str = "memory") -> None:
    """Candles into a store, what is absent in their span being the exchange's."""
    if len(candles) or store.series(candles.symbol, candles.timeframe, exchange):
        hole = Hole(*candles.span, "exchange gap")
        store.write(candles, exchange=exchange, source="memory", holes=[hole])
