"""`LearningSet`: labelled segments of several symbols, timeframes and annotators, as a user hands them in and gets them back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.hindsight import Hindsight
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.errors import DataError
from candelabra.regimes.segmentation import REGIME_LABELS, Segmentation
from candelabra.registry import did_you_mean

__all__ = ["COLUMNS", "CONSENSUS", "LearningSet", "Market", "vocabulary_of"]

Market = tuple[str, Timeframe]
"""A symbol at a timeframe."""

CONSENSUS: Final = "consensus"
"""Annotator of the segmentation that several agree on."""

COLUMNS: Final = ("symbol", "timeframe", "start", "end", "label", "confidence", "known_at", "annotator", "note")
"""The columns of a segments table as it is written."""


@dataclass(frozen=True, eq=False)
class LearningSet(Hindsight):
    """Segmentations of one vocabulary, sorted by symbol, timeframe and annotator, one of each.

    ``change_points``: int64 ms by (symbol, timeframe, annotator): boundaries between segments whose labels nobody gave; a model may learn
    where regimes end from them, and no label. ``notes``: what was said about the file when it was read. Build with :meth:`of`.
    """

    labels: tuple[str, ...]
    segmentations: tuple[Segmentation, ...]
    change_points: Mapping[tuple[str, Timeframe, str], NDArray[np.int64]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        segmentations: Iterable[Segmentation],
        change_points: Mapping[tuple[str, str | Timeframe, str], Any] | None = None,
        *,
        labels: Sequence[str] | None = None,
        notes: Sequence[str] = (),
    ) -> LearningSet:
        """One set of segmentations of any vocabularies; ``labels`` in the order they shall have (default: those in use, known ones first).

        DataError when two segmentations are of one symbol, timeframe and annotator, or a label is not among ``labels``.

        >>> up = Segmentation.of("BTC/USDT", "1h", ("up",), [0], [3_600_000], [0])
        >>> LearningSet.of([up], {("BTC/USDT", "1d", ""): [86_400_000]}).labels
        ('up',)
        """
        given = list(segmentations)
        words = vocabulary_of(name for one in given for name in one.names) if labels is None else tuple(labels)
        found: dict[tuple[str, Timeframe, str], Segmentation] = {}
        for one in given:
            key = (one.symbol, one.timeframe, one.annotator)
            if key in found:
                raise DataError(
                    f"{one.symbol} {one.timeframe} is labelled twice by {one.annotator or 'nobody named'}: give each annotator a name, or "
                    "keep one of them"
                )
            found[key] = _recoded(one, words)
        points: dict[tuple[str, Timeframe, str], NDArray[np.int64]] = {}
        for (symbol, frame, annotator), times in (change_points or {}).items():
            column = np.unique(np.array(times, np.int64))
            column.flags.writeable = False
            points[symbol, timeframe(frame), annotator] = column
        ordered = {key: points[key] for key in sorted(points, key=_order)}
        return cls(words, tuple(found[key] for key in sorted(found, key=_order)), ordered, tuple(notes))

    def __len__(self) -> int:
        return sum(len(one) for one in self.segmentations)

    @property
    def markets(self) -> tuple[Market, ...]:
        """Every symbol and timeframe that has segments or change points, finest timeframe first."""
        keys = {(one.symbol, one.timeframe) for one in self.segmentations} | {(symbol, frame) for symbol, frame, _ in self.change_points}
        return tuple(sorted(keys, key=lambda key: (key[0], key[1].milliseconds)))

    def annotators(self, symbol: str, timeframe_: str | Timeframe) -> dict[str, Segmentation]:
        """The segmentations of one symbol and timeframe by annotator; empty where there are none."""
        frame = timeframe(timeframe_)
        return {one.annotator: one for one in self.segmentations if (one.symbol, one.timeframe) == (symbol, frame)}

    def consensus(self, symbol: str, timeframe_: str | Timeframe) -> Segmentation:
        """What the annotators agree on (`consensus.agreed`); the segmentation itself where there is one. DataError where there is none."""
        from candelabra.regimes.consensus import agreed

        own = list(self.annotators(symbol, timeframe_).values())
        if not own:
            there = ", ".join(f"{s} {t}" for s, t in self.markets)
            raise DataError(f"nobody labelled {symbol} {timeframe_}: there are labels of {there or 'nothing'}")
        return own[0] if len(own) == 1 else agreed(own)

    def select(
        self, *, symbols: Sequence[str] = (), timeframes: Sequence[str | Timeframe] = (), annotators: Sequence[str] = ()
    ) -> LearningSet:
        """The part of some symbols, timeframes or annotators (empty: all of them), with the same vocabulary."""
        frames = {timeframe(one) for one in timeframes}

        def wanted(symbol: str, frame: Timeframe, annotator: str) -> bool:
            kept = (not symbols or symbol in symbols) and (not frames or frame in frames)
            return kept and (not annotators or annotator in annotators)

        points = {key: times for key, times in self.change_points.items() if wanted(*key)}
        chosen = (one for one in self.segmentations if wanted(one.symbol, one.timeframe, one.annotator))
        return LearningSet(self.labels, tuple(chosen), points, self.notes)

    def table(self) -> dict[str, list[Any]]:
        """A segments table: ``COLUMNS``, times int64 ms; a change point is a row with a start alone."""
        out: dict[str, list[Any]] = {name: [] for name in COLUMNS}
        for one in self.segmentations:
            n = len(one)
            out["symbol"] += [one.symbol] * n
            out["timeframe"] += [one.timeframe.name] * n
            out["start"] += one.start.tolist()
            out["end"] += one.end.tolist()
            out["label"] += list(one.names)
            out["confidence"] += list(one.confidence)
            out["known_at"] += one.known_at.tolist()
            out["annotator"] += [one.annotator] * n
            out["note"] += list(one.note) or [""] * n
        for (symbol, frame, annotator), times in self.change_points.items():
            n = len(times)
            row = (symbol, frame.name, None, None, None, None, None, annotator, "")
            for name, cell in zip(COLUMNS, row, strict=True):
                out[name] += times.tolist() if name == "start" else [cell] * n
        return out

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) over the vocabulary and every value: same fingerprint, same learning set."""
        digest = hashlib.sha256("\0".join(self.labels).encode())
        for name, cells in self.table().items():
            digest.update(f"\1{name}\1".encode())
            digest.update("\0".join(map(str, cells)).encode())
        return digest.hexdigest()

    def write(self, path: str | Path) -> Path:
        """Write the segments table as CSV, Parquet or JSON lines (by the file's ending); read back, it is the same set.

        Whole or not at all. UsageError for another ending, SourceError when the disk refuses.
        """
        from candelabra.regimes.label_writing import write_table

        return write_table(self.table(), Path(path))

    def __repr__(self) -> str:
        markets = ", ".join(f"{s} {t}" for s, t in self.markets)
        return f"LearningSet({len(self):,} segments of {', '.join(self.labels) or 'no label'}; {markets})"


def vocabulary_of(names: Iterable[str]) -> tuple[str, ...]:
    """The labels among ``names``: those of the default vocabulary in its order, then the others by name."""
    seen = set(names)
    return tuple(one for one in REGIME_LABELS if one in seen) + tuple(sorted(seen - set(REGIME_LABELS)))


def _recoded(one: Segmentation, words: tuple[str, ...]) -> Segmentation:
    if one.labels == words:
        return one
    unknown = sorted(set(one.names) - set(words))
    if unknown:
        row = one.names.index(unknown[0])
        raise DataError(
            f"{one.symbol} {one.timeframe}: segment {row} is labelled {unknown[0]!r}, which is not in the vocabulary: "
            f"{did_you_mean(unknown[0], list(words))}"
        )
    code = [words.index(name) for name in one.names]
    columns = (one.start, one.end, code, one.confidence, one.known_at)
    return Segmentation.of(one.symbol, one.timeframe, words, *columns, annotator=one.annotator, note=one.note)


def _order(key: tuple[str, Timeframe, str]) -> tuple[str, int, str]:
    return key[0], key[1].milliseconds, key[2]
