"""Learning sets from files: rows grouped by symbol, timeframe and annotator, and made into segments; nothing is dropped in silence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.raw import NO_TIME
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.errors import DataError
from candelabra.regimes.bar_rows import common_step, segments_of_bars
from candelabra.regimes.label_checks import endless, overlapping, repeated, reversed_, unknown_labels
from candelabra.regimes.label_files import LabelTable, read_table
from candelabra.regimes.label_grid import off_grid, snapped
from candelabra.regimes.label_rows import Flaw, LabelRows, label_rows
from candelabra.regimes.learning_set import LearningSet, vocabulary_of
from candelabra.regimes.segmentation import Segmentation
from candelabra.sources.members import named_by
from candelabra.sources.symbols import spelled

__all__ = ["Examined", "examine_labels", "read_learning_set"]

_SHOWN: Final = 5
Key = tuple[str, Timeframe, str]


@dataclass(frozen=True, eq=False)
class Examined:
    """A file of labels with what is wrong in it: ``learning_set`` holds the rows without a flaw."""

    learning_set: LearningSet
    flaws: tuple[Flaw, ...]
    form: str
    rows: int


def read_learning_set(
    path: str | Path,
    *,
    symbol: str | None = None,
    timeframe: str | Timeframe | None = None,
    labels: Sequence[str] | None = None,
    form: str | None = None,
    time_zone: str | None = None,
    candles: Sequence[Candles] = (),
) -> LearningSet:
    """A learning set from CSV, Parquet, JSON lines or JSON: segments, labels bar by bar, change points, or a Label Studio export.

    Recognised by its columns, or told as ``form`` (`label_files.FORMS`). ``symbol`` and ``timeframe`` say what no column, no file name and
    none of ``candles`` does. ``labels``: the vocabulary, when no other label may stand in the file. ``time_zone``: of times without one
    (default UTC). ``candles``: bars they do not have do not break labels given bar by bar.
    Raises DataError with row number and remedy for what cannot be (every kind of it), SourceError when the file cannot be opened.
    """
    found = examine_labels(path, symbol=symbol, timeframe=timeframe, labels=labels, form=form, time_zone=time_zone, candles=candles)
    if found.flaws:
        more = f"; and {len(found.flaws) - _SHOWN} more" if len(found.flaws) > _SHOWN else ""
        raise DataError("; ".join(str(flaw) for flaw in found.flaws[:_SHOWN]) + more)
    return found.learning_set


def examine_labels(
    path: str | Path,
    *,
    symbol: str | None = None,
    timeframe: str | Timeframe | None = None,
    labels: Sequence[str] | None = None,
    form: str | None = None,
    time_zone: str | None = None,
    candles: Sequence[Candles] = (),
) -> Examined:
    """As `read_learning_set`, going on past flawed rows: what they are, and the set of all others."""
    table = read_table(path, form)
    rows, flaws = label_rows(table, time_zone)
    frames = _timeframes(table, rows, _frame(timeframe), candles, flaws)
    symbols = _symbols(table, rows, symbol, candles, flaws)
    flaws += unknown_labels(rows, labels)
    groups: dict[Key, list[int]] = {}
    for place in np.flatnonzero(rows.good):
        k = int(place)
        groups.setdefault((symbols[k], frames[k], rows.annotator[k]), []).append(k)
    notes = list(table.notes)
    segmentations: list[Segmentation] = []
    points: dict[tuple[str, str | Timeframe, str], NDArray[np.int64]] = {}
    words = vocabulary_of(name for name in rows.label if name is not None) if labels is None else tuple(labels)
    for key, members in groups.items():
        group = np.array(members, np.int64)
        own = next((c for c in candles if (c.symbol, c.timeframe) == key[:2]), None)
        segments, edges = _built(table, rows, group, key, words, own, flaws)
        if segments is not None and len(segments):
            segmentations.append(segments)
        if len(edges):
            points[key] = edges
    made = LearningSet.of(segmentations, points, labels=labels, notes=notes)
    ordered = sorted(flaws, key=lambda flaw: flaw.row)
    return Examined(made, tuple(ordered), table.form, len(table))


def _built(
    table: LabelTable,
    rows: LabelRows,
    group: NDArray[np.int64],
    key: Key,
    words: tuple[str, ...],
    candles: Candles | None,
    flaws: list[Flaw],
) -> tuple[Segmentation | None, NDArray[np.int64]]:
    """Segments and change points of one symbol, timeframe and annotator."""
    symbol, frame, annotator = key
    market = f"{symbol} {frame}"
    flaws += reversed_(rows, group)
    group = group[rows.good[group]]
    if table.form == "label-studio":
        flaws += snapped(rows, group, frame)
    else:
        flaws += off_grid(rows, group, frame, market)
    group = group[rows.good[group]]
    group = group[np.argsort(rows.start[group], kind="stable")]
    named = np.array([rows.label[int(k)] is not None for k in group], bool)
    if table.form == "bars":
        flaws += repeated(rows, group, market, annotator)
        group = group[rows.good[group]]
        return segments_of_bars(rows, group, key, words, candles), np.zeros(0, np.int64)
    flaws += endless(rows, group[named])
    flaws += overlapping(rows, group[named & rows.good[group]], market, annotator)
    bare = group[~named]
    edges = np.unique(np.concatenate([rows.start[bare], rows.end[bare][rows.end[bare] != NO_TIME]]))
    group = group[named & rows.good[group]]
    if not len(group):
        return None, edges
    end = rows.end[group]
    known = np.where(rows.known_at[group] == NO_TIME, end, rows.known_at[group])
    note = tuple(rows.note[int(k)] for k in group)
    code = [words.index(rows.label[int(k)] or "") for k in group]
    made = Segmentation.of(
        symbol, frame, words, rows.start[group], end, code, rows.confidence[group], known, annotator=annotator,
        note=note if any(note) else (),
    )  # fmt: skip
    return made, edges


def _timeframes(
    table: LabelTable, rows: LabelRows, told: Timeframe | None, candles: Sequence[Candles], flaws: list[Flaw]
) -> list[Timeframe]:
    """The timeframe of each row: its own, told, the file's name's, that of the candles, or the step of labels bar by bar."""
    if rows.frame.size and (rows.frame >= 0).all():
        return [rows.frames[int(k)] for k in rows.frame]
    _, _, named = named_by(Path(table.where).name)
    fallback = told or named
    if fallback is None and table.form == "bars":
        fallback = common_step(rows)
    if fallback is None and len({c.timeframe for c in candles}) == 1:
        fallback = candles[0].timeframe
    lacking = rows.good & (rows.frame < 0)
    if fallback is None and lacking.any() and "timeframe" in table.columns:
        k = int(np.argmax(lacking))
        rows.good[lacking] = False
        text = f"{rows.name(k)}: no timeframe is given ({int(lacking.sum())} such rows)"
        flaws.append(Flaw("market", int(rows.row[k]), text, "write the timeframe the labels were drawn at", int(lacking.sum())))
        fallback = rows.frames[0] if rows.frames else Timeframe("1h")
    elif fallback is None and len(rows) and "timeframe" not in table.columns:
        raise DataError(
            f"{table.where} does not say the timeframe its labels were drawn at: add a column timeframe, or tell it (--timeframe 1h)"
        )
    last = fallback or Timeframe("1h")
    return [rows.frames[int(k)] if k >= 0 else last for k in rows.frame]


def _symbols(table: LabelTable, rows: LabelRows, told: str | None, candles: Sequence[Candles], flaws: list[Flaw]) -> list[str]:
    """The symbol of each row: its own, told, the file's name's, or that of the candles."""
    _, named, _ = named_by(Path(table.where).name)
    fallback = spelled(told) if told else named
    if fallback is None and len({c.symbol for c in candles}) == 1:
        fallback = candles[0].symbol
    lacking = np.array([one is None for one in rows.symbol], bool)
    if fallback is None and lacking.any() and "symbol" not in table.columns:
        raise DataError(f"{table.where} does not say which market its labels are of: add a column symbol, or tell it (--symbol BTC/USDT)")
    if fallback is None and (lacking & rows.good).any():
        k = int(np.argmax(lacking & rows.good))
        text = f"{rows.name(k)}: no symbol is given ({int(lacking.sum())} such rows)"
        flaws.append(Flaw("market", int(rows.row[k]), text, "write the market, as in BTC/USDT", int(lacking.sum())))
        rows.good[lacking] = False
    return [one or fallback or "" for one in rows.symbol]


def _frame(value: Any) -> Timeframe | None:
    return None if value is None else timeframe(value)
