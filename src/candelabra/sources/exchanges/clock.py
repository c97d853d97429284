"""Clocks: the time of the world, and one that runs faster, for demonstrations and tests on an emulated exchange."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol, runtime_checkable

__all__ = ["Clock", "FastClock", "WallClock"]


@runtime_checkable
class Clock(Protocol):
    """A time and a way to wait for it; whoever waits for candles does so by a clock, so that tests need not wait for minutes.

    ``rate``: how many of its seconds pass in one second of the world; what bounds a request (a time-out) is in the world's seconds.
    """

    rate: float

    def now_ms(self) -> int:
        """Milliseconds UTC."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let this many of its seconds pass."""
        ...


class WallClock:
    """Time of this machine, which may be wrong: `Source.skew_ms` tells by how much."""

    rate = 1.0

    def now_ms(self) -> int:
        """Milliseconds UTC."""
        return int(time.time() * 1000)

    async def sleep(self, seconds: float) -> None:
        """Let this many seconds pass."""
        await asyncio.sleep(max(0.0, seconds))


class FastClock:
    """A time that begins at ``start_ms`` (UTC) and runs ``rate`` times as fast as the world's.

    >>> clock = FastClock(1_700_000_000_000, rate=60.0)
    >>> clock.now_ms() >= 1_700_000_000_000
    True
    """

    def __init__(self, start_ms: int, rate: float = 60.0) -> None:
        self.rate = rate
        self._start_ms, self._began = start_ms, time.monotonic()

    def now_ms(self) -> int:
        """Milliseconds UTC."""
        return self._start_ms + int((time.monotonic() - self._began) * 1000 * self.rate)

    async def sleep(self, seconds: float) -> None:
        """Let this many of its seconds pass."""
        await asyncio.sleep(max(0.0, seconds) / self.rate)
