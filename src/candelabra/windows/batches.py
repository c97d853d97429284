"""Batches gathered by index: windows are never materialised, memory stays O(bars).

A table of shape ``(rows, channels)`` is viewed as all its windows at once (overlapping strides, no copy) and a batch is one
``index_select`` into a reused buffer: it runs at the speed of memory, so no worker processes are needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from candelabra.errors import DataError

__all__ = ["Batch", "RowWindows", "SequenceBatches", "SequencePart"]


class RowWindows:
    """All windows of ``length`` consecutive rows of a float32 table ``(rows, channels)``, gathered by first row.

    >>> windows = RowWindows(np.arange(10, dtype=np.float32)[:, None], 3)
    >>> windows.take(torch.tensor([0, 6]))[:, :, 0].tolist()
    [[0.0, 1.0, 2.0], [6.0, 7.0, 8.0]]
    """

    def __init__(self, table: NDArray[np.float32], length: int) -> None:
        flat = torch.from_numpy(np.ascontiguousarray(table, dtype=np.float32))
        rows, self.channels = flat.shape
        if rows < length:
            raise DataError(f"a window of {length} bars does not fit into {rows} bars: give more candles or a shorter context length")
        self.length, self.count = length, rows - length + 1
        self._view = flat.as_strided((self.count, length * self.channels), (self.channels, 1))
        self._buffer: Tensor | None = None

    def take(self, starts: Tensor) -> Tensor:
        """Windows that begin at rows ``starts`` int64 ``(batch,)``: ``(batch, length, channels)``; the next call reuses the memory."""
        if self._buffer is None or self._buffer.shape[0] != len(starts):
            self._buffer = torch.empty(len(starts), self.length * self.channels)
        torch.index_select(self._view, 0, starts, out=self._buffer)
        return self._buffer.view(len(starts), self.length, self.channels)


@dataclass(frozen=True, eq=False)
class SequencePart:
    """One symbol's scaled inputs and targets: what sequences are cut from.

    ``x[tf]`` float32 ``(rows of tf, channels)``; ``asof[link]`` int32 (rows of the finer timeframe); ``targets`` float32
    ``(base rows, values)``, NaN where nothing may be learned (unknown future, other parts of the split); sequences lie inside ``rows``.
    """

    x: Mapping[str, NDArray[np.float32]]
    asof: Mapping[str, NDArray[np.int32]]
    targets: NDArray[np.float32]
    rows: tuple[int, int]


@dataclass(frozen=True)
class Batch:
    """``x[tf]`` ``(batch, bars, channels)``; ``asof[link]`` rows of the coarser window (-1: none); ``targets`` ``(batch, bars, n)``."""

    x: Mapping[str, Tensor]
    asof: Mapping[str, Tensor]
    targets: Tensor


class SequenceBatches:
    """Sequences of ``length`` base bars of any symbol with the windows of coarser bars that belong to them.

    ``base``: name of the base timeframe; ``aligned``: other tables on the base grid (patches); ``coarse[tf]``: window length of each
    coarser arm; ``links``: (finer, coarser) pairs the network reads.
    The coarse window of a sequence ends at the bar known at its last base bar; where history is too short, rows of zeros come first.
    """

    def __init__(
        self,
        parts: Sequence[SequencePart],
        *,
        base: str,
        aligned: Sequence[str],
        coarse: Mapping[str, int],
        links: Sequence[tuple[str, str]],
        length: int,
    ) -> None:
        self.base, self.length, self.links = base, length, tuple(links)
        self._spans = [part.rows for part in parts]
        longest = max(stop - start for start, stop in self._spans)
        if longest < length:
            raise DataError(
                f"the longest run of training bars is {longest}, shorter than a sequence of {length}: give more candles or set "
                f"training.sequence_length <= {longest}"
            )
        self._offsets = np.cumsum([0, *(len(p.targets) for p in parts)])[:-1]
        self._base = {tf: RowWindows(np.concatenate([p.x[tf] for p in parts]), length) for tf in (base, *aligned)}
        self._targets = RowWindows(np.concatenate([p.targets for p in parts]), length)
        self._coarse: dict[str, RowWindows] = {}
        self._ends: dict[str, NDArray[np.int64]] = {}
        for tf, window in coarse.items():
            padded = [np.concatenate([np.zeros((window, p.x[tf].shape[1]), np.float32), p.x[tf]]) for p in parts]
            self._coarse[tf] = RowWindows(np.concatenate(padded), window)
            firsts = np.cumsum([0, *(len(p) for p in padded)])[:-1] + window
            self._ends[tf] = firsts
        self._parts = parts

    def starts(self, stride: int, generator: np.random.Generator | None = None) -> NDArray[np.int64]:
        """First rows ``(sequences, 2)``: (symbol, row), tiling every symbol with a random offset; shuffled when ``generator`` is given."""
        found = []
        for symbol, (start, stop) in enumerate(self._spans):
            room = stop - start - self.length
            if room < 0:
                continue
            shift = int(generator.integers(0, min(stride, room + 1))) if generator is not None else 0
            rows = np.arange(start + shift, start + room + 1, stride)
            # both edges are visited in every pass, else the newest training bars would rarely be learned from
            rows = np.unique(np.concatenate([[start], rows, [start + room]]))
            found.append(np.column_stack([np.full(len(rows), symbol), rows]))
        order = np.concatenate(found).astype(np.int64)
        return generator.permutation(order) if generator is not None else order

    def gather(self, starts: NDArray[np.int64]) -> Batch:
        """The sequences that begin at ``starts`` ``(batch, 2)``; memory is reused by the next call."""
        rows = torch.from_numpy(self._offsets[starts[:, 0]] + starts[:, 1])
        x = {tf: windows.take(rows) for tf, windows in self._base.items()}
        ends: dict[str, NDArray[np.int64]] = {}
        for tf, windows in self._coarse.items():
            known = self._last_known(tf, starts)
            ends[tf] = known
            first = self._ends[tf][starts[:, 0]] + known + 1 - windows.length
            x[tf] = windows.take(torch.from_numpy(first))
        return Batch(x, {f"{f}>{c}": self._local(f, c, starts, ends) for f, c in self.links}, self._targets.take(rows))

    def batches(self, order: NDArray[np.int64], size: int) -> Iterator[Batch]:
        """Batches of ``size`` sequences in the given order."""
        for first in range(0, len(order), size):
            yield self.gather(order[first : first + size])

    def _last_known(self, tf: str, starts: NDArray[np.int64]) -> NDArray[np.int64]:
        """The bar of ``tf`` known at the last base bar of each sequence, by way of the links there are."""
        path, finer = [], tf
        while finer != self.base:
            coarser, finer = finer, next(f for f, c in self.links if c == finer)
            path.append(f"{finer}>{coarser}")
        rows = starts[:, 1] + self.length - 1
        for i, symbol in enumerate(starts[:, 0]):
            for link in reversed(path):
                rows[i] = self._parts[symbol].asof[link][rows[i]] if rows[i] >= 0 else -1
        return rows

    def _local(self, finer: str, coarser: str, starts: NDArray[np.int64], ends: Mapping[str, NDArray[np.int64]]) -> Tensor:
        window = self._coarse[coarser].length
        shape = self.length if finer == self.base else self._coarse[finer].length
        index = np.full((len(starts), shape), -1, np.int64)
        for i, (symbol, row) in enumerate(starts):
            whole = self._parts[symbol].asof[f"{finer}>{coarser}"]
            first = int(row) if finer == self.base else int(ends[finer][i]) + 1 - shape
            have = max(0, -first)  # rows before the history are padding: they know no coarse bar
            index[i, have:] = whole[first + have : first + shape]
            local = index[i] - (ends[coarser][i] + 1 - window)
            index[i] = np.where((index[i] >= 0) & (local >= 0), local, -1)
        return torch.from_numpy(index)
