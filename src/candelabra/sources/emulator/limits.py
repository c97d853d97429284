"""How many calls an exchange allows, and what it does to those who call more: told to wait, then banned."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Final

__all__ = ["Limiter", "Refusal"]

GRACE_S: Final = 0.02
"""Seconds of the world in which calls that were under way when the exchange shut its door are told 429 without being banned for it."""


@dataclass(frozen=True)
class Refusal:
    """No answer now: ``status``, and after how many of the exchange's seconds to ask again; ``early``: asked before that was over."""

    status: int
    retry_after_s: int
    early: bool


class Limiter:
    """A bucket of ``burst`` calls that fills by ``per_second``: who finds it empty gets 429, who calls before Retry-After is over
    ``ban_status``, for ``ban_s`` from then on.
    """

    def __init__(self, per_second: float, burst: int, ban_status: int, ban_s: int) -> None:
        self._rate, self._burst, self._ban_status, self._ban_s = per_second, burst, ban_status, ban_s
        self._left, self._at_ms = float(burst), 0
        self._closed_until_ms, self._closed_at = 0, -math.inf

    def refusal(self, now_ms: int) -> Refusal | None:
        """What the call that comes at ``now_ms`` is told; None: it is answered."""
        if now_ms < self._closed_until_ms:
            if time.monotonic() - self._closed_at < GRACE_S:
                return Refusal(429, self._seconds_left(now_ms), early=False)
            self._closed_until_ms = max(self._closed_until_ms, now_ms + 1000 * self._ban_s)
            return Refusal(self._ban_status, self._seconds_left(now_ms), early=True)
        if not math.isfinite(self._rate):
            return None
        passed, self._at_ms = max(0, now_ms - self._at_ms), now_ms
        self._left = min(float(self._burst), self._left + passed / 1000 * self._rate)
        if self._left >= 1:
            self._left -= 1
            return None
        self.shut(now_ms, max(1, math.ceil((1 - self._left) / self._rate)))
        return Refusal(429, self._seconds_left(now_ms), early=False)

    def shut(self, now_ms: int, seconds: int) -> None:
        """Answer nobody for this long."""
        self._closed_until_ms, self._closed_at = max(self._closed_until_ms, now_ms + 1000 * seconds), time.monotonic()

    def _seconds_left(self, now_ms: int) -> int:
        return math.ceil((self._closed_until_ms - now_ms) / 1000)
