"""Bry and Boschan (1971), for prices as Pagan and Sossounov (2003): turns are extremes of a window that keep least phases and cycles.

The published procedure looks over the whole series again and again. Here turns are taken from left to right, each decided with the candles
up to the end of its window, so that every leg has a time at which it was settled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.regimes.labeller import Reach, at_least, segmented, short_of_bars
from candelabra.regimes.segmentation import Segmentation
from candelabra.regimes.short_runs import NEVER

__all__ = ["BryBoschan", "phases"]


@dataclass(frozen=True)
class BryBoschan:
    """Bullish from a trough to the next peak, bearish from a peak to the next trough, in closes.

    A peak is the highest close of ``window`` bars on both sides. A phase has ``least_phase`` bars or more, unless prices move by
    ``escape`` in it (a share); a cycle (peak to peak, trough to trough) ``least_cycle``. Pagan and Sossounov: 8, 4, 16 months and 0.2.
    """

    name: ClassVar[str] = "bry_boschan"
    labels: ClassVar[tuple[str, ...]] = ("bullish", "bearish")

    window: int = 24
    least_phase: int = 12
    least_cycle: int = 48
    escape: float = 0.2

    def __post_init__(self) -> None:
        at_least(self.name, window=(self.window, 1), least_phase=(self.least_phase, 1), least_cycle=(self.least_cycle, 1))
        at_least(self.name, escape=(self.escape, 0))

    @property
    def reach(self) -> Reach:
        """The market decides: a leg is settled when the leg after it has ended."""
        return Reach(None)

    def label(self, candles: Candles) -> Segmentation:
        """The segments of ``candles`` between settled turns; DataError when they are shorter than one window."""
        if len(candles) <= 2 * self.window:
            raise short_of_bars(self.name, candles, 2 * self.window + 1)
        code, known = phases(
            np.log(candles.close), candles.close_time, self.window, self.least_phase, self.least_cycle, float(np.log1p(self.escape))
        )
        return segmented(self.name, candles, self.labels, code, known, 1)


def phases(
    price: NDArray[np.float64], close_time: NDArray[np.int64], window: int, least_phase: int, least_cycle: int, escape: float
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """0 (to a peak) or 1 (to a trough) for each bar ``(n,)``, -1 where no settled leg holds it, and when it was settled (ms).

    ``price`` and ``escape`` in logs. Of turns of one kind the more extreme replaces the one before it until a turn of the other kind is
    taken; that settles the leg that ended there.
    """
    return _phases(price, close_time, window, least_phase, least_cycle, escape, NEVER)


@njit(cache=True)
def _phases(
    price: NDArray[np.float64],
    close_time: NDArray[np.int64],
    window: int,
    least_phase: int,
    least_cycle: int,
    escape: float,
    never: int,
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    n = len(price)
    code, known = np.full(n, -1, np.int16), np.full(n, never, np.int64)
    last, kind = -1, 0  # the newest turn: its row, 1 a peak, -1 a trough
    before = -1  # the turn before it, of the other kind
    for c in range(window, n - window):
        peak, trough = True, True
        k = 1
        while k <= window and (peak or trough):
            # of equal extremes the first is the turn
            peak = peak and price[c] > price[c - k] and price[c] >= price[c + k]
            trough = trough and price[c] < price[c - k] and price[c] <= price[c + k]
            k += 1
        if not (peak or trough):
            continue
        found = 1 if peak else -1
        if last < 0:
            last, kind = c, found
        elif found == kind:
            if (price[c] - price[last]) * kind > 0:
                last = c
        else:
            long_enough = c - last >= least_phase or abs(price[c] - price[last]) >= escape
            far_enough = before < 0 or c - before >= least_cycle
            beyond = (price[c] - price[last]) * found > 0
            if long_enough and far_enough and beyond:
                if before >= 0:
                    for row in range(before + 1, last + 1):
                        code[row], known[row] = (0 if kind == 1 else 1), close_time[c + window]
                before, last, kind = last, c, found
    return code, known
