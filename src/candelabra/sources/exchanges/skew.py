"""The exchange's time, by which candles close, whatever the clock of this machine says or does meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Final

from candelabra.sources.exchanges.clock import Clock
from candelabra.sources.exchanges.pace import Patience, persist

__all__ = ["ExchangeTime", "date_ms"]

_OLD_S: Final = 600.0
_JUMP_MS: Final = 5_000


@dataclass
class ExchangeTime:
    """Counted on from what the exchange said last, by a counter that no setting of clocks moves; never ahead of the exchange.

    An answer's time is older than its arrival, so that counting from the arrival gives a time that the exchange has already reached: a
    candle closed by it has closed. ``clock`` tells its ``rate`` (emulated exchanges may run faster) and what to compare with.
    """

    clock: Clock
    monotonic: Callable[[], float] = time.monotonic
    _anchor: tuple[float, int] | None = None
    _date_ahead_ms: int | None = None
    _doubtful: bool = False
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def stale(self) -> bool:
        """Whether the exchange should be asked (again): never asked, long ago, or its answers' dates say that something jumped."""
        return self._anchor is None or self._doubtful or self.monotonic() - self._anchor[0] > _OLD_S

    async def current(self, ask: Callable[[], Awaitable[None]], patience: Patience) -> int:
        """The exchange's time; ``ask``, which ends in `heard`, is called where it is stale, by one of those who wait for it."""
        if self.stale:
            async with self._asking:
                if self.stale:
                    await persist(ask, patience)
        return self.now_ms()

    def heard(self, server_ms: int, date_ms_: int | None = None) -> None:
        """The exchange just told its time; ``date_ms_``: the date of the same answer."""
        before = None if self._anchor is None or self.stale else self.now_ms()
        # Two lower bounds: the later one is nearer. A stale one counts for nothing.
        self._anchor = (self.monotonic(), server_ms if before is None else max(server_ms, before))
        self._date_ahead_ms = None if date_ms_ is None else date_ms_ - server_ms
        self._doubtful = False

    def dated(self, date_ms_: int | None) -> None:
        """An answer with a date came: does it fit?"""
        if date_ms_ is None or self._anchor is None or self._date_ahead_ms is None or self.clock.rate != 1.0:
            return
        self._doubtful |= abs(date_ms_ - self.now_ms() - self._date_ahead_ms) > _JUMP_MS

    def now_ms(self) -> int:
        """The exchange's time (ms UTC); the clock's before it was heard of."""
        if self._anchor is None:
            return self.clock.now_ms()
        since, server_ms = self._anchor
        return server_ms + int((self.monotonic() - since) * 1000 * self.clock.rate)

    @property
    def skew_ms(self) -> int:
        """How far the exchange is ahead of the clock; 0 before it was heard of."""
        return 0 if self._anchor is None else self.now_ms() - self.clock.now_ms()


def date_ms(header: str | None) -> int | None:
    """The time of an HTTP date (ms UTC); None when it is none.

    >>> date_ms("Tue, 14 Nov 2023 22:13:20 GMT")
    1700000000000
    """
    if not header:
        return None
    try:
        return int(parsedate_to_datetime(header).timestamp() * 1000)
    except (ValueError, TypeError, OverflowError):
        return None
