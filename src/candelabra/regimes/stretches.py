"""Stretches of bars to show a person: whole regimes of a least and a most length, and a choice among them that is spread over time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from candelabra.regimes.segmentation import runs

__all__ = ["spread_choice", "whole_stretches"]

Whole = NDArray[np.int64]


def whole_stretches(code: NDArray[np.int16], wanted: NDArray[np.bool_], least: int, most: int) -> tuple[Whole, Whole]:
    """First rows, and rows after the last, of stretches of wanted bars, in order, that between them hold each wanted bar at most once.

    Each is a run of one code; neighbours are joined until they have ``least`` bars, and one of more than ``most`` is cut into equal parts.
    What stays shorter than ``least``, because unwanted bars lie on both sides, is left out.

    >>> code = np.array([0] * 5 + [1, 0, 1] + [1] * 9, np.int16)
    >>> [rows.tolist() for rows in whole_stretches(code, np.ones(17, bool), 3, 6)]
    [[0, 5, 11], [5, 11, 17]]
    """
    first, stop, value = runs(np.where(wanted, code, -1).astype(np.int16))
    begin: list[int] = []
    end: list[int] = []
    at = -1  # where the stretch that still grows began
    for a, b, label in zip(first.tolist(), stop.tolist(), value.tolist(), strict=True):
        if label < 0:
            if at >= 0 and begin and end[-1] == at:  # what is left over belongs to the stretch before it
                end[-1] = a
            at = -1
            continue
        at = a if at < 0 else at
        if b - at >= least:
            begin.append(at)
            end.append(b)
            at = b if b < len(code) and wanted[b] and code[b] >= 0 else -1
    if at >= 0 and begin and end[-1] == at:
        end[-1] = len(code)
    starts, stops = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for a, b in zip(begin, end, strict=True):
        edges = np.linspace(a, b, -(-(b - a) // most) + 1).round().astype(np.int64)
        starts.append(edges[:-1])
        stops.append(edges[1:])
    return np.concatenate(starts), np.concatenate(stops)


def spread_choice(score: NDArray[np.float64], start: Whole, end: Whole, count: int) -> Whole:
    """Rows of at most ``count`` of the stretches, the best first; one near to one that was chosen counts for less, down to half.

    Near: closer than a part of the whole time, cut into ``count`` parts. Of equals the earlier is taken, and none that scores 0.

    >>> spread_choice(np.array([0.9, 0.8, 0.7]), np.array([0, 10, 90]), np.array([10, 20, 100]), 2).tolist()
    [0, 2]
    """
    if not len(score):
        return np.zeros(0, np.int64)
    middle = (start + end) / 2.0
    part = max(1.0, (end[-1] - start[0]) / count)
    factor = np.ones(len(score))
    left = score.copy()
    chosen: list[int] = []
    for _ in range(min(count, len(score))):
        row = int(np.argmax(left))
        if not left[row] > 0:
            break
        chosen.append(row)
        factor = np.minimum(factor, 0.5 + 0.5 * np.clip(np.abs(middle - middle[row]) / part, 0, 1))
        left = score * factor
        left[chosen] = 0
    return np.array(chosen, np.int64)
