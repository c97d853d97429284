"""`JudgedBars`: two labellings of the same bars, brought to the bars both have; what every figure about segments is computed from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.errors import DataError

__all__ = ["JudgedBars", "Pieces", "judged_bars"]

Codes = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pieces:
    """Stretches of one label: ``first`` and ``stop`` (half-open) rows, ``code``, each ``(segments,)``; ``of`` ``(bars,)``: a bar's segment.

    ``begins`` says whether another label came right before, so that its start is a boundary.
    """

    first: Codes
    stop: Codes
    code: Codes
    of: Codes
    begins: NDArray[np.bool_]

    @cached_property
    def length(self) -> Codes:
        """Bars of each."""
        return self.stop - self.first

    @cached_property
    def boundaries(self) -> Codes:
        """First rows of those that follow another label."""
        return self.first[self.begins]


@dataclass(frozen=True, eq=False)
class JudgedBars:
    """``truth`` and ``shown`` int64 ``(bars,)`` where both are labelled; ``row`` ``(bars,)``: their places among all bars.

    ``stretch`` ``(bars,)``: number of the run of neighbouring bars; segments, boundaries and errors never reach over what is masked.
    ``labelled``: bars the truth has, judged or not.
    """

    truth: Codes
    shown: Codes
    row: Codes
    stretch: Codes
    labelled: int

    def __len__(self) -> int:
        return len(self.truth)

    @cached_property
    def true_pieces(self) -> Pieces:
        """The segments of the truth."""
        return _pieces(self.truth, self.stretch)

    @cached_property
    def shown_pieces(self) -> Pieces:
        """The segments shown."""
        return _pieces(self.shown, self.stretch)

    def pieces_of(self, code: Codes) -> Pieces:
        """Stretches of equal values of any column ``(bars,)``."""
        return _pieces(code, self.stretch)


def judged_bars(truth: ArrayLike, shown: ArrayLike) -> JudgedBars:
    """The bars that both label (codes from 0; below 0: none); DataError where they are not the same bars.

    >>> j = judged_bars([0, 0, -1, 1, 1], [0, 1, 1, 1, -1])
    >>> j.row.tolist(), j.stretch.tolist(), j.labelled
    ([0, 1, 3], [0, 0, 1], 4)
    """
    t, s = np.asarray(truth).astype(np.int64), np.asarray(shown).astype(np.int64)
    if t.ndim != 1 or t.shape != s.shape:
        raise DataError(f"labels of {t.shape} true and {s.shape} shown bars cannot be compared: give one of each for every bar")
    row = np.flatnonzero((t >= 0) & (s >= 0))
    stretch = np.cumsum((np.diff(row, prepend=row[:1]) > 1).astype(np.int64))
    return JudgedBars(t[row], s[row], row, stretch, int((t >= 0).sum()))


def _pieces(code: Codes, stretch: Codes) -> Pieces:
    n = len(code)
    if not n:
        empty = np.zeros(0, np.int64)
        return Pieces(empty, empty, empty, empty, np.zeros(0, np.bool_))
    torn, turned = np.diff(stretch) != 0, np.diff(code) != 0
    first = np.concatenate([[0], np.flatnonzero(torn | turned) + 1])
    begins = np.concatenate([[False], ~torn[first[1:] - 1]])
    of = np.zeros(n, np.int64)
    of[first[1:]] = 1
    return Pieces(first, np.append(first[1:], n), code[first], np.cumsum(of), begins)
