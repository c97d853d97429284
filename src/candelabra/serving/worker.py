"""One forecast at a time, away from the event loop; a queue of bounded length, and a plain no beyond it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from candelabra.serving.refusals import Refusal

__all__ = ["Worker"]

T = TypeVar("T")


class Worker:
    """Runs work in one thread, in the order it came; while ``queue`` pieces wait behind the running one, more are refused with 503."""

    def __init__(self, queue: int) -> None:
        self._queue, self._thread = queue, ThreadPoolExecutor(1, "forecast")
        self._inside, self._seconds = 0, 0.1

    @property
    def waiting(self) -> int:
        """How much work is running or waits."""
        return self._inside

    async def run(self, work: Callable[[], T]) -> T:
        """The result of ``work``; Refusal 503 with Retry-After when too much waits."""
        if self._inside > self._queue:
            seconds = max(1, math.ceil(self._inside * self._seconds))
            raise Refusal(
                503,
                "busy",
                f"{self._inside} forecasts are asked for already and run one at a time: ask again in {seconds} s",
                headers={"retry-after": str(seconds)},
            )
        self._inside += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._timed, work)
        finally:
            self._inside -= 1

    def close(self) -> None:
        """Let the running work end and take no more."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _timed(self, work: Callable[[], T]) -> T:
        start = time.perf_counter()
        try:
            return work()
        finally:
            self._seconds = time.perf_counter() - start
