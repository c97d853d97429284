"""Two volume columns of which one should be price times the other: which is which is seen in the values, not in the header."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["base_volumes"]

_NEAR: Final = 0.35
_NO_PRICE: Final = 0.7
"""Between 0.5 and 2 a price is too near to 1 to tell units apart."""


def base_volumes(
    base: NDArray[np.float64], quote: NDArray[np.float64], close: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The volume in base units ``(n,)`` and where the two columns were swapped.

    A row is swapped when its ``base`` is near ``quote`` times the price and not the other way round; where prices are near 1, or a volume
    is 0, it stays as the header says.
    """
    # Far cheaper than logarithms, and enough for a file that is right: the usual case.
    with np.errstate(invalid="ignore", over="ignore"):
        straight = np.abs(base * close - quote) <= 0.4 * quote
    if straight.all():
        return base, np.zeros(len(base), np.bool_)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio, price = np.log(base / quote), np.log(close)
        swapped = (np.abs(ratio - price) < _NEAR) & ~(np.abs(ratio + price) < _NEAR) & (np.abs(price) > _NO_PRICE)
    if not swapped.any():
        return base, swapped
    return np.where(swapped, quote, base), swapped
