"""Splits in time: chronological, walk-forward and combinatorial, with purge and embargo; the same dates for every symbol.

A row belongs to the part in which its bar *closes*. Purge drops the rows at the end of a part whose targets are known only after the next
part begins; the embargo moves the beginning of the next part. Look-back is purged only where training follows testing
(combinatorial), for there alone could a training window read what a test row had to foretell (Lopez de Prado 2018, chapters 7 and 12).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import format_time
from candelabra.errors import DataError, UsageError

__all__ = ["PARTS", "CombinatorialFold", "Split", "chronological", "combinatorial_purged", "walk_forward"]

PARTS: Final = ("train", "validation", "calibration", "test")
Rows = tuple[NDArray[np.int64], ...]
CloseTimes = Sequence[NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers (int64, rising) of every part for each symbol, in the order the symbols were given.

    ``cuts_ms`` ``(5,)``: part *k* spans ``[cuts_ms[k], cuts_ms[k + 1])`` of decision (close) times before purge and embargo.
    """

    train: Rows
    validation: Rows
    calibration: Rows
    test: Rows
    cuts_ms: tuple[int, ...]
    purge_ms: int
    embargo_ms: int

    def part(self, name: str) -> Rows:
        """The rows of one of `PARTS`."""
        if name not in PARTS:
            raise UsageError(f"a split has no part {name!r}: choose one of {', '.join(PARTS)}")
        rows: Rows = getattr(self, name)
        return rows

    def describe(self) -> list[dict[str, str | int]]:
        """One row a part for people: its dates (of its cuts) and its bars over all symbols."""
        return [
            {
                "part": name,
                "from": format_time(self.cuts_ms[k]),
                "to": format_time(self.cuts_ms[k + 1]),
                "bars": sum(len(r) for r in self.part(name)),
            }
            for k, name in enumerate(PARTS)
        ]


def chronological(
    close_times: CloseTimes,
    shares: Sequence[float] = (0.6, 0.1, 0.1, 0.2),
    *,
    purge_ms: int,
    embargo_ms: int = 0,
) -> Split:
    """Train, validation, calibration and test, one after another, cut at the same dates for all symbols.

    ``close_times``: int64 ms, rising, one array a symbol; ``shares`` of the time between the first and the last close of any of them.
    ``purge_ms`` is the longest span of a target: every target used in a part is known when the next part begins.
    Raises UsageError for shares that cannot be, DataError with the figures when a part is left empty.

    >>> hours = np.arange(1, 101) * 3_600_000
    >>> split = chronological([hours], purge_ms=2 * 3_600_000)
    >>> [len(split.part(name)[0]) for name in PARTS]
    [58, 8, 8, 20]
    """
    if len(shares) != len(PARTS) or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise UsageError(f"shares {tuple(shares)} must be {len(PARTS)} positive numbers ({', '.join(PARTS)}) that sum to 1")
    _check_spans(purge_ms, embargo_ms)
    start, end = _range(close_times)
    span = end - start
    inner = (start + round(float(share) * span) for share in np.cumsum(shares)[:-1])
    return _split(close_times, (start, *inner, end), purge_ms, embargo_ms)


def walk_forward(
    close_times: CloseTimes,
    folds: int = 5,
    *,
    test_share: float = 0.5,
    fit_shares: Sequence[float] = (0.75, 0.125, 0.125),
    window: Literal["expanding", "rolling"] = "expanding",
    purge_ms: int,
    embargo_ms: int = 0,
) -> tuple[Split, ...]:
    """Folds whose test blocks tile the last ``test_share`` of the time; each is fitted on what came before it.

    ``fit_shares`` cuts the time before a test block into train, validation and calibration. ``expanding`` fits on everything before the
    block; ``rolling`` on a window as long as the time before the first block. Raises like `chronological`.
    """
    if folds < 1 or not 0 < test_share < 1:
        raise UsageError(f"walk-forward with {folds} folds over a test share of {test_share} cannot be: folds >= 1, 0 < share < 1")
    if len(fit_shares) != len(PARTS) - 1 or min(fit_shares) <= 0 or abs(sum(fit_shares) - 1) > 1e-6:
        raise UsageError(f"fit shares {tuple(fit_shares)} must be three positive numbers (train, validation, calibration) that sum to 1")
    if window not in ("expanding", "rolling"):
        raise UsageError(f"unknown window {window!r}: choose expanding or rolling")
    _check_spans(purge_ms, embargo_ms)
    start, end = _range(close_times)
    edges = [end - round(test_share * (end - start) * (folds - k) / folds) for k in range(folds + 1)]
    splits = []
    for test_start, test_end in pairwise(edges):
        first = start if window == "expanding" else test_start - (edges[0] - start)
        inner = (first + round(float(share) * (test_start - first)) for share in np.cumsum(fit_shares)[:-1])
        splits.append(_split(close_times, (first, *inner, test_start, test_end), purge_ms, embargo_ms))
    return tuple(splits)


@dataclass(frozen=True, eq=False)
class CombinatorialFold:
    """Row numbers a symbol of one choice of test groups; ``train`` lies on both sides of them, purged."""

    train: Rows
    test: Rows
    test_groups: tuple[int, ...]


def combinatorial_purged(
    close_times: CloseTimes,
    groups: int = 6,
    test_groups: int = 2,
    *,
    purge_ms: int,
    look_back_ms: int,
    embargo_ms: int = 0,
) -> Iterator[CombinatorialFold]:
    """Every choice of ``test_groups`` out of ``groups`` equal spans of time as test, the rest as training.

    Before a test group, training rows whose targets reach into it are dropped; after it, those whose input window
    (``look_back_ms``) or embargo reaches back to the last moment a target of the group needed (its end + ``purge_ms``).
    Raises UsageError for impossible numbers of groups, DataError when a fold is left without rows.
    """
    if not 1 <= test_groups < groups:
        raise UsageError(f"{test_groups} test groups out of {groups} cannot be: choose 1 <= test groups < groups")
    _check_spans(purge_ms, embargo_ms, look_back_ms)
    start, end = _range(close_times)
    cuts = [start + round(k * (end - start) / groups) for k in range(groups)] + [end]
    for chosen in combinations(range(groups), test_groups):
        train, test = [], []
        for times in close_times:
            keep, tested = np.ones(len(times), bool), np.zeros(len(times), bool)
            for group in chosen:
                low, high = cuts[group], cuts[group + 1]
                tested |= (times >= low) & (times < high)
                keep &= (times + purge_ms <= low) | (times >= high + purge_ms + look_back_ms + embargo_ms)
            train.append(np.flatnonzero(keep & ~tested))
            test.append(np.flatnonzero(tested))
        for name, rows in (("train", train), ("test", test)):
            if not any(len(r) for r in rows):
                raise DataError(
                    f"the fold with test groups {chosen} has no {name} rows ({groups} groups of {_days((end - start) / groups)}, purge "
                    f"{_days(purge_ms)}, look-back {_days(look_back_ms)}, embargo {_days(embargo_ms)}): use fewer groups or more candles"
                )
        yield CombinatorialFold(tuple(train), tuple(test), chosen)


def _split(close_times: CloseTimes, cuts: tuple[int, ...], purge_ms: int, embargo_ms: int) -> Split:
    parts: list[Rows] = []
    for k, name in enumerate(PARTS):
        low = cuts[k] + (embargo_ms if k else 0)
        high = cuts[k + 1] if name == "test" else cuts[k + 1] - purge_ms + 1
        rows = []
        for times in close_times:
            first, last = np.searchsorted(times, [low, max(low, high)])
            rows.append(np.arange(first, last, dtype=np.int64))
        if not any(len(r) for r in rows):
            before = sum(int(np.diff(np.searchsorted(t, [cuts[k], cuts[k + 1]]))[0]) for t in close_times)
            raise DataError(
                f"the {name} part ({format_time(cuts[k])} to {format_time(cuts[k + 1])}, {before} bars over {len(close_times)} "
                f"symbol(s)) is empty after a purge of {_days(purge_ms)} and an embargo of {_days(embargo_ms)}: give more "
                f"candles, a larger share for {name}, or shorter horizons"
            )
        parts.append(tuple(rows))
    train, validation, calibration, test = parts
    return Split(train, validation, calibration, test, cuts, purge_ms, embargo_ms)


def _range(close_times: CloseTimes) -> tuple[int, int]:
    filled = [t for t in close_times if len(t)]
    if not filled:
        raise DataError("there are no bars to split: every symbol is empty")
    return min(int(t[0]) for t in filled), max(int(t[-1]) for t in filled) + 1


def _check_spans(*spans_ms: int) -> None:
    if min(spans_ms) < 0:
        raise UsageError(f"purge, look-back and embargo are lengths of time, got {min(spans_ms)} ms: give 0 or more")


def _days(span_ms: float) -> str:
    return f"{span_ms / 86_400_000:.2f} days"
