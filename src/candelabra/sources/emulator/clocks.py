"""The exchange's own time: a clock that may be off from the one its clients have, and may jump."""

from __future__ import annotations

from collections.abc import Sequence

from candelabra.sources.exchanges.clock import Clock

__all__ = ["SkewedClock"]


class SkewedClock:
    """``clock`` plus ``skew_ms``; ``steps``: from a time of ``clock`` (ms) on, another skew."""

    def __init__(self, clock: Clock, skew_ms: int = 0, steps: Sequence[tuple[int, int]] = ()) -> None:
        self._clock, self._skew_ms, self._steps = clock, skew_ms, sorted(steps)

    @property
    def rate(self) -> float:
        """Seconds of it in a second of the world."""
        return self._clock.rate

    def now_ms(self) -> int:
        """Milliseconds UTC, as the exchange believes."""
        now = self._clock.now_ms()
        skew = self._skew_ms
        for since, other in self._steps:
            if now >= since:
                skew = other
        return now + skew

    async def until(self, time_ms: int) -> bool:
        """Wait for a time of the exchange, looking at its clock every quarter of a second, since it may jump; False when it went back."""
        last = self.now_ms()
        while (left := time_ms - last) > 0:
            await self._clock.sleep(min(left / 1000, 0.25 * self._clock.rate))
            if self.now_ms() < last:
                return False
            last = self.now_ms()
        return True
