"""`add_product`: a row times a matrix in compiled loops, for what runs bar by bar."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["add_product"]


@njit(cache=True, fastmath={"reassoc", "contract", "nsz"})
def add_product(row: NDArray[np.float32], matrix: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    """``out += row @ matrix``."""
    for c in range(len(row)):
        value = row[c]
        for j in range(len(out)):
            out[j] += value * matrix[c, j]
