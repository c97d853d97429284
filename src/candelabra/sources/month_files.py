"""One month of a stored series as a Parquet file: zstd, page checksums, and a digest of the values in its own header."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import VALUE_COLUMNS
from candelabra.errors import DataError
from candelabra.sources.bars import Bars

__all__ = ["MonthFile", "decode", "encode", "month_names", "month_of", "month_span"]

_METADATA: Final = b"candelabra"
_GROUP: Final = 10_080
"""Bars in a row group (a week of minutes): a read of some days decodes no more than it needs."""


@dataclass(frozen=True)
class MonthFile:
    """What the manifest says of a month's file: bars, open time of the first and last (ms), size in bytes and sha256 (hex)."""

    rows: int
    first_ms: int
    last_ms: int
    size: int
    sha256: str


def month_of(open_time: NDArray[np.int64]) -> NDArray[np.int64]:
    """The calendar month (since 1970-01) that each time (ms UTC) lies in."""
    return np.asarray(open_time.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64))


def month_names(months: NDArray[np.int64]) -> list[str]:
    """Months as ``YYYY-MM``.

    >>> month_names(np.array([0, 647]))
    ['1970-01', '2023-12']
    """
    return [str(m) for m in months.astype("datetime64[M]")]


def month_span(name: str) -> tuple[int, int]:
    """From/to (ms UTC) of the month ``YYYY-MM``; ValueError when it is none.

    >>> month_span("1970-02")
    (2678400000, 5097600000)
    """
    month = np.datetime64(name, "M")
    if str(month) != name:
        raise ValueError(f"{name!r} is no month")
    first, last = np.array([month, month + 1]).astype("datetime64[ms]").astype(np.int64)
    return int(first), int(last)


def encode(bars: Bars, facts: Mapping[str, Any]) -> tuple[memoryview, MonthFile]:
    """The bytes of a month's file and what the manifest will say of it; ``facts`` (symbol, timeframe, …) go into its header.

    Delta-coded times and plain values: prices hardly ever repeat exactly, so a dictionary only costs (measured on minutes of
    BTC/USDT: 64 % of raw with one, 39 % without).
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    told = {**facts, "digest": digest(bars)}
    columns = {"open_time": pa.array(bars.open_time, pa.timestamp("ms", "UTC"))}
    columns |= {name: pa.array(values) for name, values in zip(VALUE_COLUMNS, bars.values, strict=True)}
    table = pa.table(columns).replace_schema_metadata({_METADATA: json.dumps(told)})
    out = pa.BufferOutputStream()
    pq.write_table(
        table,
        out,
        compression="zstd",
        compression_level=3,
        use_dictionary=False,
        column_encoding={"open_time": "DELTA_BINARY_PACKED"},
        write_page_checksum=True,
        write_statistics=["open_time"],
        row_group_size=_GROUP,
    )
    data = memoryview(out.getvalue())
    seal = hashlib.sha256(data).hexdigest()
    return data, MonthFile(len(bars), int(bars.open_time[0]), int(bars.open_time[-1]), len(data), seal)


def decode(data: bytes, path: Path, start_ms: int | None = None, end_ms: int | None = None) -> tuple[Bars, dict[str, Any]]:
    """The rows of a month's file that open in ``[start_ms, end_ms)`` and the facts of its header; DataError when it is damaged.

    Page checksums are verified; whether the whole file is the one meant, the manifest tells.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        facts: dict[str, Any] = json.loads((file.schema_arrow.metadata or {})[_METADATA])
        groups = list(range(file.metadata.num_row_groups))
        if start_ms is not None and end_ms is not None:
            groups = [g for g in groups if _touches(file.metadata.row_group(g).column(0).statistics, start_ms, end_ms)]
        names = ["open_time", *VALUE_COLUMNS]
        table = file.read_row_groups(groups, columns=names, use_threads=False)
        times = np.array(table.column("open_time").cast(pa.int64()).to_numpy(), dtype=np.int64)
        values = np.empty((len(VALUE_COLUMNS), len(times)))
        for row, name in zip(values, VALUE_COLUMNS, strict=True):
            row[:] = table.column(name).to_numpy()
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise DataError(f"{path} is damaged ({str(error).splitlines()[0] if str(error) else error!r})") from error
    bars = Bars(times, values)
    return (bars if start_ms is None or end_ms is None else bars.between(start_ms, end_ms)), facts


def digest(bars: Bars) -> str:
    """A hash (hex) of all values, by which a file proves itself without its manifest."""
    seal = hashlib.sha256(np.ascontiguousarray(bars.open_time).data)
    seal.update(np.ascontiguousarray(bars.values).data)
    return seal.hexdigest()


def _touches(statistics: Any, start_ms: int, end_ms: int) -> bool:
    """Whether a row group may hold rows of ``[start_ms, end_ms)``."""
    if statistics is None or not statistics.has_min_max:
        return True
    first, last = (int(np.datetime64(t.replace(tzinfo=None), "ms").astype(np.int64)) for t in (statistics.min, statistics.max))
    return first < end_ms and last >= start_ms
