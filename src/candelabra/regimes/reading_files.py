"""Readings as tables for people and programs: segments, bars and pairs of labels, written as CSV, Parquet or JSON lines.

A segments table is a learning set as it is: `learning_files.read_learning_set` reads its rows as labels and passes over the columns that
it does not know, so that a user can edit what a model said and hand it back.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.disk import write_atomically
from candelabra.errors import UsageError
from candelabra.regimes.consistency import Consistency
from candelabra.regimes.reading import RegimeReading
from candelabra.regimes.segment_table import SegmentTable

__all__ = ["TIME_COLUMNS", "bar_columns", "pair_columns", "segment_columns", "write_columns"]

TIME_COLUMNS: Final = ("start", "end", "open_time", "close_time", "known_at")
"""Columns that hold times, int64 ms UTC."""

_ENDINGS: Final = (".parquet", ".pq", ".csv", ".jsonl", ".ndjson")
_DIGITS: Final = 6  # of numbers in text; Parquet keeps all

Columns = dict[str, NDArray[Any]]


def segment_columns(tables: Sequence[SegmentTable]) -> Columns:
    """Segments tables of several symbols and timeframes as one; UsageError when filtered and smoothed ones are mixed.

    ``status`` is ``confirmed`` or ``provisional`` (see `SegmentTable`); ``next_<label>``: chance of each label to come after it; ``lag``:
    bars that labels are said late, as ``known_at`` tells.
    """
    words = _one_mode(tables)
    parts: list[Columns] = []
    for one in tables:
        n = len(one)
        part: Columns = {
            "symbol": np.full(n, one.symbol),
            "timeframe": np.full(n, one.timeframe.name),
            "start": one.start,
            "end": one.end,
            "label": np.array(one.names, dtype=np.str_),
            "known_at": one.known_at,
            "mean_probability": one.mean_probability,
            "least_probability": one.least_probability,
            "age": one.age,
            "expected_remaining": one.expected_remaining,
            "status": np.where(one.confirmed, "confirmed", "provisional"),
            "provisional_bars": one.waiting,
        }
        part |= _by_label("next", one.labels, one.next_probabilities, words)
        parts.append(part | {"model": np.full(n, one.model), "mode": np.full(n, one.mode), "lag": np.full(n, one.lag)})
    return _stacked(parts)


def bar_columns(readings: Sequence[RegimeReading], across: Consistency | None = None) -> Columns:
    """Readings bar by bar as one table: label, age, status, ``p_<label>``; ``across`` adds its words to the bars of the finest timeframe.

    UsageError when filtered and smoothed readings are mixed.
    """
    words = _one_mode(readings)
    parts: list[Columns] = []
    for one in readings:
        n = len(one)
        part: Columns = {
            "symbol": np.full(n, one.symbol),
            "timeframe": np.full(n, one.timeframe.name),
            "open_time": one.open_time,
            "close_time": one.close_time,
            "label": one.names,
            "known_at": one.said_at,
            "age": one.age,
            "status": np.where(one.code < 0, "", np.where(np.arange(n) < one.settled, "confirmed", "provisional")),
        }
        part |= _by_label("p", one.labels, one.probabilities, words)
        if across is not None:
            own = (across.symbol, across.timeframes[0], len(across)) == (one.symbol, one.timeframe, n)
            part["across"] = across.words if own else np.full(n, "")
        parts.append(part | {"model": np.full(n, one.model), "mode": np.full(n, one.mode), "lag": np.full(n, one.lag)})
    return _stacked(parts)


def pair_columns(across: Consistency) -> Columns:
    """Pairs of labels of two timeframes with their share of time, conflicts among them."""
    rows = [asdict(one) for one in across.pairs]
    n, names = len(rows), ("finer", "coarser", "finer_label", "coarser_label", "bars", "share", "conflict")
    return {"symbol": np.full(n, across.symbol)} | {name: np.array([row[name] for row in rows]) for name in names}


def write_columns(columns: Mapping[str, NDArray[Any]], path: str | Path) -> Path:
    """Write a table whole or not at all, by the file's ending; UsageError for another ending, SourceError when the disk refuses.

    Times are written in UTC; what is not finite, or an empty word, is an empty cell. Text keeps six significant digits, Parquet all.
    """
    target = Path(path)
    ending = target.suffix.lower()
    if ending not in _ENDINGS:
        raise UsageError(f"tables are written as CSV, Parquet or JSON lines: call the file {target.stem}.csv, not {target.name}")
    if ending in (".parquet", ".pq"):
        data: bytes | memoryview = _parquet(columns)
    else:
        cells = {name: _cells(name, column) for name, column in columns.items()}
        data = (_csv(cells) if ending == ".csv" else _lines(cells)).encode()
    write_atomically(target, data)
    return target


def _one_mode(given: Sequence[SegmentTable] | Sequence[RegimeReading]) -> tuple[str, ...]:
    """Every label among them, in order; UsageError when there are none or their modes differ."""
    if not given:
        raise UsageError("there is no reading to write: give at least one")
    if len({one.mode for one in given}) > 1:
        raise UsageError(
            "filtered and smoothed readings never share a file, since one of them knows the future: write one file for each mode"
        )
    return tuple(dict.fromkeys(name for one in given for name in one.labels))


def _by_label(prefix: str, labels: tuple[str, ...], values: NDArray[np.float64], words: tuple[str, ...]) -> Columns:
    nothing = np.full(len(values), np.nan)
    return {f"{prefix}_{word}": values[:, labels.index(word)] if word in labels else nothing for word in words}


def _stacked(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _cells(name: str, column: NDArray[Any]) -> list[Any]:
    """Values as they stand in text; None where there is nothing."""
    if name in TIME_COLUMNS:
        stamps = np.asarray(column, np.int64).astype("datetime64[ms]")
        whole = not (column % 1000).any()
        return [f"{text}Z" for text in np.datetime_as_string(stamps, "s" if whole else "ms").tolist()]
    if column.dtype.kind == "f":
        return [float(f"{v:.{_DIGITS}g}") if np.isfinite(v) else None for v in column.tolist()]
    return [None if value == "" else value for value in column.tolist()]


def _csv(cells: Mapping[str, list[Any]]) -> str:
    import csv

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(cells)
    writer.writerows(zip(*cells.values(), strict=True))
    return out.getvalue()


def _lines(cells: Mapping[str, list[Any]]) -> str:
    rows = (dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True))
    return "".join(json.dumps({k: v for k, v in row.items() if v is not None}, ensure_ascii=False) + "\n" for row in rows)


def _parquet(columns: Mapping[str, NDArray[Any]]) -> memoryview:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = {}
    for name, column in columns.items():
        if name in TIME_COLUMNS:
            made[name] = pa.array(column.astype(np.int64), pa.timestamp("ms", "UTC"))
        elif column.dtype.kind == "U":
            made[name] = pa.array([None if value == "" else value for value in column.tolist()], pa.string())
        else:
            made[name] = pa.array(column, from_pandas=True)  # NaN is an empty cell
    out = pa.BufferOutputStream()
    pq.write_table(pa.table(made), out, compression="zstd", write_page_checksum=True)
    return memoryview(out.getvalue())
