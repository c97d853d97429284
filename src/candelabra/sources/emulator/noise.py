"""Numbers by address: what is random is a pure function of seed, subject and index, so that any stretch can be had by itself.

Only integers and the four operations are used: no answer depends on how long the stretch is that was asked for.
"""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw", "level", "salted", "share"]

_MASK: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15
_OCTAVES: Final = tuple((2 * k, 0.0005 * 2.0**k) for k in range(11))
"""Steps of 1, 4, 16 .. 4^10 minutes (as shifts), each as tall as a random walk would be over it."""


def salted(seed: int, *subject: str) -> int:
    """A key for :func:`draw` from a seed and words."""
    mixed = (seed * _GOLDEN) & _MASK
    for word in subject:
        mixed = _mix((mixed + zlib.crc32(word.encode()) + _GOLDEN) & _MASK)
    return mixed


def _mix(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def draw(key: int, index: NDArray[np.int64]) -> NDArray[np.uint64]:
    """64 random bits for each index (splitmix64)."""
    z = index.astype(np.uint64) * np.uint64(_GOLDEN) + np.uint64(key)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def share(key: int, index: NDArray[np.int64]) -> NDArray[np.float64]:
    """A number in [0, 1) for each index."""
    return (draw(key, index) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def level(key: int, first: int, count: int) -> NDArray[np.float64]:
    """How far a wandering price is from its middle, as a factor (about 0.4 .. 2.5), for ``count`` indices from ``first`` on."""
    index = np.arange(first, first + count, dtype=np.int64)
    total = np.zeros(count)
    for shift, height in _OCTAVES:
        node = index >> shift
        low, high = first >> shift, (first + count - 1) >> shift
        knots = 2.0 * share((key + shift) & _MASK, np.arange(low, high + 2, dtype=np.int64)) - 1.0
        part = (index - (node << shift)).astype(np.float64) * 2.0**-shift
        before = knots[node - low]
        total += height * (before + (knots[node - low + 1] - before) * part)
    factor = 1.0 + total * 0.125
    factor *= factor
    factor *= factor
    factor *= factor
    return factor
