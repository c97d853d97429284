"""How fast an exchange is asked: one pace for all symbols, Retry-After obeyed, patience with jitter, a breaker when it has had enough."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from candelabra.candles.frame import format_time
from candelabra.errors import SourceError

__all__ = ["GaveUp", "Pace", "Patience", "persist"]

_Result = TypeVar("_Result")
_BAN_S: Final = 120.0
"""The shortest ban Binance tells of, for a ban that does not say how long."""
_LONGEST_S: Final = 3 * 86_400.0


class GaveUp(SourceError):
    """Asking again and again did not help for now."""


@dataclass(frozen=True)
class Patience:
    """How often a question is asked before giving up, and how long to wait between: anywhere from 0 to ``first_s`` seconds, then to twice
    that, and so on up to ``most_s``. Where all wait alike they come back alike; hence the chance.
    """

    attempts: int = 12
    first_s: float = 0.5
    most_s: float = 60.0

    def wait_s(self, failures: int, chance: float) -> float:
        """Seconds to wait after so many failures; ``chance`` in 0 .. 1.

        >>> Patience(first_s=1.0, most_s=60.0).wait_s(4, 0.5)
        4.0
        """
        return float(chance * min(self.most_s, self.first_s * 2 ** min(32, failures - 1)))


async def persist(
    ask: Callable[[], Awaitable[_Result]], patience: Patience, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> _Result:
    """The answer, asked for until it comes; GaveUp with the last reason after ``patience.attempts``, other errors at once."""
    for attempt in range(1, patience.attempts + 1):
        try:
            return await ask()
        except GaveUp:
            raise
        except SourceError as error:
            if not error.retryable:
                raise
            if attempt == patience.attempts:
                text = f"asked {attempt} times without a usable answer; the last reason: {error}"
                raise GaveUp(f"{text}; try again later, what is stored stays", retryable=True) from error
            await sleep(patience.wait_s(attempt, random.random()))
    raise AssertionError("unreachable")


@dataclass
class Pace:
    """When the next request to one exchange may go out, for everybody who asks it. Seconds of the world, by a clock that never steps.

    ``spacing_s``: at least so long from one request to the next; up to ``burst`` late ones may follow at once, so that a delay is made up.
    ``longest_wait_s``: an exchange that wants to be left alone for longer is an error, not a wait.
    """

    exchange: str
    spacing_s: float
    burst: int = 3
    longest_wait_s: float = 900.0
    requests: int = 0
    waited_s: float = 0.0
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    tell: Callable[[str], None] = field(default=lambda text: None)
    _line: asyncio.Lock = field(default_factory=asyncio.Lock)
    _next: float = 0.0
    _quiet_until: float = 0.0
    _why: str = ""
    _strikes: int = 0
    _closed: SourceError | None = None

    async def turn(self, weight: float = 1.0) -> None:
        """Wait until a request (of ``weight`` spacings) may go out; SourceError when the exchange refuses, or for a long time.

        Whoever came first goes first, and only the first in line looks at the clock: hundreds may wait.
        """
        async with self._line:
            while (wait := self._wait_s()) > 0:
                self.waited_s += wait
                await self.sleep(wait)
            # Late ones are made up for, a few at a time.
            self._next = max(self._next, self.monotonic() - self.burst * self.spacing_s) + weight * self.spacing_s
            self.requests += 1

    def _wait_s(self) -> float:
        if self._closed is not None:
            raise SourceError(str(self._closed))
        now = self.monotonic()
        quiet = self._quiet_until - now
        if quiet > self.longest_wait_s:
            raise self._not_for_long(quiet)
        return max(quiet, self._next - now)

    def answered(self) -> None:
        """An answer came that was no complaint about the pace."""
        self._strikes = 0

    def too_fast(self, retry_after_s: float | None, *, banned: bool = False) -> None:
        """The exchange wants no request for ``retry_after_s`` seconds (None: it does not say). A ban opens the breaker for longer."""
        quiet = self.monotonic() < self._quiet_until
        self._strikes += not quiet  # several requests were on their way: one complaint
        wait = retry_after_s if retry_after_s is not None else (_BAN_S if banned else 1.0) * 2 ** min(16, self._strikes - 1)
        # A little more than was asked for: clocks and roads differ, and not all should come back at once.
        wait = min(wait, _LONGEST_S) * (1.0 + 0.05 * random.random()) + 0.02
        until = self.monotonic() + wait
        if until <= self._quiet_until:
            return
        self._quiet_until = until
        self._why = "has banned this address for a while (418)" if banned else "wants to be left alone for a while (429)"
        if wait > 2.0:
            self.tell(f"{self.exchange} {self._why}: no request for {wait:.0f} s")

    def refused(self, error: SourceError) -> None:
        """The exchange will not answer this address at all: nothing is asked any more."""
        self._closed = error

    def _not_for_long(self, wait: float) -> SourceError:
        until = format_time(int(time.time() + wait) * 1000)
        return GaveUp(f"{self.exchange} {self._why}, until {until} UTC: fetch again after that; what was fetched is stored", retryable=True)
