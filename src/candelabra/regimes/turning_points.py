"""Legs between turns that prices confirm by going back far enough: zigzag (directional change), Lunde-Timmermann bulls and bears."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.errors import UsageError
from candelabra.regimes.labeller import Reach, at_least, segmented
from candelabra.regimes.segmentation import Segmentation
from candelabra.regimes.short_runs import NEVER
from candelabra.regimes.volatility import true_range, weighted_volatility

__all__ = ["LundeTimmermann", "Zigzag", "legs"]


@dataclass(frozen=True)
class Zigzag:
    """Bullish from a low to the next high, bearish from a high to the next low.

    A turn is confirmed when log closes have gone back from the extreme by ``threshold`` times a causal scale: the exponentially weighted
    ``volatility`` of ``span`` bars over ``unit_bars`` bars, or the average true range (``atr``) of ``span`` bars, or 1 (``log``).
    """

    name: ClassVar[str] = "zigzag"
    labels: ClassVar[tuple[str, ...]] = ("bullish", "bearish")

    threshold: float = 2.0
    unit: Literal["volatility", "atr", "log"] = "volatility"
    span: int = 200
    unit_bars: int = 24

    def __post_init__(self) -> None:
        at_least(self.name, span=(self.span, 1), unit_bars=(self.unit_bars, 1))
        if not self.threshold > 0:
            raise UsageError(f"the labeller {self.name} cannot have threshold = {self.threshold:g}: give a number above 0")

    @property
    def reach(self) -> Reach:
        """The market decides when an extreme is one."""
        return Reach(None)

    def label(self, candles: Candles) -> Segmentation:
        """The segments of ``candles``, up to the last extreme reached."""
        if self.unit == "atr":
            scale = true_range(candles, self.span)
        elif self.unit == "volatility":
            scale = weighted_volatility(candles, self.span) * np.sqrt(self.unit_bars)
        else:
            scale = np.ones(len(candles))
        turn = self.threshold * scale
        code, known = legs(np.log(candles.close), turn, turn, candles.close_time)
        return segmented(self.name, candles, self.labels, code, known, 1)


@dataclass(frozen=True)
class LundeTimmermann:
    """Bull markets end at a high from which prices fall by ``fall`` (a share), bear markets at a low from which they rise by ``rise``.

    Lunde and Timmermann (2004) use 0.2 and 0.15 on daily stock indices.
    """

    name: ClassVar[str] = "lunde_timmermann"
    labels: ClassVar[tuple[str, ...]] = ("bullish", "bearish")

    rise: float = 0.2
    fall: float = 0.15

    def __post_init__(self) -> None:
        if not (self.rise > 0 and 0 < self.fall < 1):
            raise UsageError(
                f"the labeller {self.name} cannot have rise = {self.rise:g}, fall = {self.fall:g}: give shares above 0, the fall below 1"
            )

    @property
    def reach(self) -> Reach:
        """The market decides when an extreme is one."""
        return Reach(None)

    def label(self, candles: Candles) -> Segmentation:
        """The segments of ``candles``, up to the last extreme reached."""
        flat = np.ones(len(candles))
        code, known = legs(np.log(candles.close), np.log1p(self.rise) * flat, -np.log1p(-self.fall) * flat, candles.close_time)
        return segmented(self.name, candles, self.labels, code, known, 1)


def legs(
    price: NDArray[np.float64], rise: NDArray[np.float64], fall: NDArray[np.float64], close_time: NDArray[np.int64]
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """0 (rising) or 1 (falling) for each bar ``(n,)``, -1 where not known, and when it was known (ms, `NEVER` where it was not).

    ``price`` in logs; ``rise``, ``fall`` ``(n,)``: how far back prices must go, as known at each bar, to end a fall or a rise (NaN: none
    ends there). A bar's leg is known when a later price goes further the same way, or when the turn before it is confirmed; the bars
    after the last extreme are not known, nor those before the first.

    >>> price = np.array([0.0, 3, 2, 4, 1, 2, 0, 3])
    >>> code, known = legs(price, np.full(8, 2.0), np.full(8, 2.0), np.arange(8))
    >>> code.tolist(), known[1:].tolist()
    ([-1, 0, 0, 0, 1, 1, 1, 0], [1, 3, 3, 4, 6, 6, 7])
    """
    return _legs(price, rise, fall, close_time, NEVER)


@njit(cache=True)
def _legs(
    price: NDArray[np.float64], rise: NDArray[np.float64], fall: NDArray[np.float64], close_time: NDArray[np.int64], never: int
) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    n = len(price)
    code, known = np.full(n, -1, np.int16), np.full(n, never, np.int64)
    way, extreme = -1, 0  # 0 rising, 1 falling; the row of the furthest price of this leg
    high, low = 0, 0
    for t in range(1, n):
        confirmed = -1
        if way < 0:
            high = t if price[t] > price[high] else high
            low = t if price[t] < price[low] else low
            if price[t] - price[low] >= rise[t]:
                confirmed, extreme = 0, low
            elif price[high] - price[t] >= fall[t]:
                confirmed, extreme = 1, high
        elif (way == 0 and price[t] > price[extreme]) or (way == 1 and price[t] < price[extreme]):
            confirmed = way
        elif way == 0 and price[extreme] - price[t] >= fall[t]:
            confirmed = 1
        elif way == 1 and price[t] - price[extreme] >= rise[t]:
            confirmed = 0
        if confirmed >= 0:
            for row in range(extreme + 1, t + 1):
                code[row], known[row] = confirmed, close_time[t]
            way, extreme = confirmed, t
    return code, known
