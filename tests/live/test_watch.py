"""The watch ends when it is told to, also where a cancellation comes just as a session has been closed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from candelabra.candles.timeframe import Timeframe
from candelabra.live.watch import Watch
from candelabra.sources.exchanges.clock import FastClock
from candelabra.sources.exchanges.contract import Notice
from candelabra.testing import example_candles
from candelabra.testing.exchanges import MemorySource


class Quiet:
    """Somebody who is told and does nothing."""

    def __getattr__(self, name: str) -> object:
        return lambda *_: None


class EndsAtOnce:
    """A stream whose every session ends at once; when its third is closed, whoever waits for that is cancelled in the same moment."""

    closed = 0
    watching: asyncio.Task[None]

    async def notices(self, symbols: Sequence[str], timeframe: Timeframe) -> AsyncIterator[Notice]:
        for symbol in symbols[:0]:
            yield Notice(symbol, 0, 0)

    async def close(self) -> None:
        self.closed += 1
        if self.closed == 3:
            asyncio.get_running_loop().call_soon(self.watching.cancel)


def test_a_cancellation_that_comes_as_a_session_is_closed_is_heeded() -> None:
    market = example_candles("15m", 400, seed=3)
    clock = FastClock(int(market.span[1]), 600.0)
    stream = EndsAtOnce()

    async def go() -> None:
        watch = Watch(MemorySource(market, clock), stream, (market.symbol,), Timeframe("15m"), clock, Quiet())  # type: ignore[arg-type]
        stream.watching = asyncio.create_task(watch.run())
        done, _ = await asyncio.wait({stream.watching}, timeout=8.0)
        assert done, f"it goes on after {stream.closed} sessions"

    asyncio.run(go())
    assert stream.closed == 3
