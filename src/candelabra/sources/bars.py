"""Rows of a stored series as two arrays, and how two lots of rows become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles

__all__ = ["Bars", "mixed", "over"]


@dataclass(frozen=True, eq=False)
class Bars:
    """``open_time`` int64 ms UTC ``(n,)``, rising; ``values`` float64 ``(5, n)``: open, high, low, close, volume."""

    open_time: NDArray[np.int64]
    values: NDArray[np.float64]

    @classmethod
    def none(cls) -> Bars:
        """No rows."""
        return cls(np.zeros(0, np.int64), np.zeros((5, 0)))

    @classmethod
    def of(cls, candles: Candles) -> Bars:
        """The rows of candles."""
        return cls(candles.open_time, np.stack(candles.values()))

    @classmethod
    def joined(cls, parts: Sequence[Bars]) -> Bars:
        """Parts one after another; each begins after the one before has ended."""
        if len(parts) == 1:
            return parts[0]
        if not parts:
            return cls.none()
        return cls(np.concatenate([p.open_time for p in parts]), np.concatenate([p.values for p in parts], axis=1))

    def __len__(self) -> int:
        return len(self.open_time)

    def rows(self, index: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Bars:
        """The rows at an index."""
        return Bars(self.open_time[index], self.values[:, index])

    def row(self, at: int) -> tuple[float, float, float, float, float]:
        """Open, high, low, close and volume of one row."""
        open_, high, low, close, volume = self.values[:, at].tolist()
        return open_, high, low, close, volume

    def between(self, start_ms: int, end_ms: int) -> Bars:
        """The rows that open from ``start_ms`` on and before ``end_ms``."""
        first, last = np.searchsorted(self.open_time, [start_ms, end_ms])
        return self.rows(slice(int(first), int(last)))

    def same_values(self, other: Bars) -> NDArray[np.bool_]:
        """Where the rows of both (equally many) hold the same values to the bit."""
        return np.asarray((self.values.view(np.int64) == other.values.view(np.int64)).all(axis=0))

    def checks(self) -> NDArray[np.uint64]:
        """A 64-bit number for each row that any changed bit of it changes."""
        return mixed([self.open_time.view(np.uint64), *np.ascontiguousarray(self.values).view(np.uint64)])


def over(newer: Bars, older: Bars) -> Bars:
    """Both, by open time; where both have a row, the newer one's."""
    if not len(newer) or not len(older):
        return newer if len(newer) else older
    if newer.open_time[0] > older.open_time[-1]:
        return Bars.joined([older, newer])
    kept = older.rows(~np.isin(older.open_time, newer.open_time))
    times = np.concatenate([kept.open_time, newer.open_time])
    order = np.argsort(times, kind="stable")
    return Bars(times[order], np.concatenate([kept.values, newer.values], axis=1)[:, order])


def mixed(columns: Sequence[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    """Columns of 64-bit words ``(n,)`` as one word a row, every bit of the input in every bit of the output (splitmix64's finish)."""
    state = np.full(len(columns[0]), 0x9E3779B97F4A7C15, np.uint64)
    for column in columns:
        state = (state ^ column) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return state
