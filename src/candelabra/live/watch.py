"""`Watch`: when to ask for candles: as a socket says, under a watchdog; or as the clock says, where there is no socket or it is silent.

A socket is believed about one thing: that the bar before the one it speaks of has ended. What it says of prices is not looked at. Silence,
frames that repeat an old bar, and sessions that end are all the same to the watchdog: no new bar in time, so a new session is dialled, and
meanwhile the clock takes over.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Sequence
from typing import Final, Protocol

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import CandelabraError
from candelabra.sources.exchanges.clock import Clock
from candelabra.sources.exchanges.contract import Source, Stream

__all__ = ["Told", "Watch", "heed_cancellation", "patience_s"]

GRACE_S: Final = 2.0
"""How long after its close a bar is asked for by the clock (the clock's seconds)."""
_LEAST_PATIENCE_S: Final = 28.0
_BARS: Final = 2.3
_LONGEST: Final = 16.0
_NAP_S: Final = 60.0
_FREEING_S: Final = 6.0
_DIAL_S: Final = 10.0
"""How long a session may take until it says anything (seconds of the world): in a market that runs fast a bar is shorter than that."""
_BACK_OFF_S: Final = (0.25, 30.0)


def patience_s(frame: Timeframe) -> float:
    """How old the newest bar that was heard of may get (seconds), so that silence is noticed within 2.5 bars, or 30 s if that is longer.

    >>> round(patience_s(Timeframe("1m"))), patience_s(Timeframe("5s"))
    (138, 28.0)
    """
    return max(_BARS * frame.milliseconds / 1000.0, _LEAST_PATIENCE_S)


class Told(Protocol):
    """Who is told."""

    def closed(self, symbol: str, until_ms: int) -> None:
        """Every bar of the symbol that opens before ``until_ms`` has closed."""
        ...

    def silent(self, symbol: str, age_s: float) -> None:
        """No new bar was heard of for so long (the clock's seconds)."""
        ...

    def speaks(self) -> None:
        """A session speaks."""
        ...

    def lost(self, why: str) -> None:
        """A session, or the exchange's time, could not be had; another will be dialled."""
        ...

    def skewed(self, skew_ms: int) -> None:
        """The exchange's time is so far ahead of this machine's."""
        ...


class Watch:
    """The watch over one exchange's symbols; ``stream`` None: by the clock alone."""

    def __init__(self, source: Source, stream: Stream | None, symbols: Sequence[str], frame: Timeframe, clock: Clock, told: Told) -> None:
        self._source, self._stream, self._symbols, self._frame = source, stream, tuple(symbols), frame
        self._clock, self._told = clock, told
        self._newest: dict[str, int] = {}
        self._advanced = dict.fromkeys(self._symbols, time.monotonic())
        self._stretch = dict.fromkeys(self._symbols, 1.0)
        self._fresh: set[str] = set()
        self._watched = set(self._symbols)
        self._warned_ms: int | None = None

    def leave(self, symbol: str) -> None:
        """Watch over it no longer."""
        self._watched.discard(symbol)

    async def run(self) -> None:
        """Until cancelled."""
        tasks = [asyncio.create_task(self._tick())]
        if self._stream is not None:
            tasks.append(asyncio.create_task(self._sessions(self._stream)))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                if not task.cancelling():  # a second time would cut its own tidying short
                    task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def age_s(self, symbol: str) -> float:
        """How long ago (the clock's seconds) a new bar was heard of; counted by what no setting of the clock moves."""
        return (time.monotonic() - self._advanced[symbol]) * self._clock.rate

    async def _tick(self) -> None:
        """The candle clock: after each close, ask for the symbols that no socket speaks of in time."""
        asked = -1
        failures = 0
        while True:
            heed_cancellation()
            try:
                now = await self._source.now_ms()
                failures = 0
            except CandelabraError as error:
                self._told.lost(f"the exchange's time cannot be had: {error}")
                failures += 1
                await asyncio.sleep(_back_off(failures))
                continue
            self.look_at_clock()
            until = int(self._frame.floor(now - int(GRACE_S * 1000)))
            if until > asked:
                asked = until
                for symbol in self._watched - self._fresh:
                    self._told.closed(symbol, until)
            due = (int(self._frame.next(until)) - now) / 1000.0 + GRACE_S
            await self._clock.sleep(min(max(due, 0.0) + 0.001 * self._clock.rate, _NAP_S * max(1.0, self._clock.rate / 60.0)))

    def look_at_clock(self) -> None:
        """Tell of a clock that is off, and again when it is off by something else."""
        skew = self._source.skew_ms
        large = 2000 * self._clock.rate
        if abs(skew - (self._warned_ms or 0)) > large:
            self._warned_ms = skew if abs(skew) > large else None
            self._told.skewed(skew)

    async def _sessions(self, stream: Stream) -> None:
        failures = 0
        while True:
            heed_cancellation()
            for symbol in self._symbols:
                self._advanced[symbol] = time.monotonic()
            heard, why = await self._session(stream)
            self._fresh.clear()
            self._told.lost(why)
            failures = 0 if heard else failures + 1
            await asyncio.sleep(_back_off(failures) if failures else 0.0)

    async def _session(self, stream: Stream) -> tuple[bool, str]:
        """One session to its end: whether anything new was said in it, and why it ended."""
        before = dict(self._newest)
        reader = asyncio.create_task(self._read(stream))
        nap = min(patience_s(self._frame) / 40.0 / self._clock.rate, 1.0)
        why = ""
        try:
            while not reader.done() and not why:
                await asyncio.wait({reader}, timeout=nap)
                for symbol in sorted(self._watched):
                    age, allowed = self.age_s(symbol), patience_s(self._frame) * self._stretch[symbol]
                    if not self._fresh and self._newest == before:
                        allowed = max(allowed, _DIAL_S * self._clock.rate)
                    if age > allowed:
                        # a market in which nothing trades is silent too: it is waited for longer each time
                        self._stretch[symbol] = min(self._stretch[symbol] * 2.0, _LONGEST)
                        self._fresh.discard(symbol)
                        self._told.silent(symbol, age)
                        why = f"nothing new of {symbol} for {age:.0f} s"
            if reader.done() and not reader.cancelled():
                error = reader.exception()
                why = str(error) or type(error).__name__ if error is not None else "the socket ended the session"
        finally:
            reader.cancel()
            await asyncio.wait({reader}, timeout=_FREEING_S)
            with contextlib.suppress(Exception):  # a client that hangs is left to its own devices
                await asyncio.wait_for(stream.close(), _FREEING_S)
        return self._newest != before, why

    async def _read(self, stream: Stream) -> None:
        async for notice in stream.notices(self._symbols, self._frame):
            heed_cancellation()
            symbol, opened = notice.symbol, notice.open_ms
            if symbol not in self._watched or int(self._frame.floor(opened)) != opened or opened <= self._newest.get(symbol, -1):
                continue
            if opened > await self._source.now_ms() + self._frame.milliseconds:  # no exchange speaks of bars to come
                continue
            if not self._fresh:
                self._told.speaks()
            self._newest[symbol] = opened
            self._advanced[symbol], self._stretch[symbol] = time.monotonic(), 1.0
            self._fresh.add(symbol)
            self._told.closed(symbol, opened)


def heed_cancellation() -> None:
    """End a task that was cancelled and does not know it.

    Before Python 3.12 `asyncio.wait_for` loses a cancellation that comes just as what it waits for ends, and the loop around it would go
    on for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _back_off(failures: int) -> float:
    """Seconds of the world before another attempt: longer each time, by chance, so that many do not come at once."""
    low, high = _BACK_OFF_S
    return min(high, low * 2.0 ** min(failures - 1, 10)) * (0.5 + random.random() / 2)
