"""One month of a stored series as a Parquet file: zstd, page checksums, and a digest of the values in its own header."""

from __future__ import annotations

import bisect
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
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
_PLACES: Final = 12
_EXACT: Final = 2.0**53
"""Whole numbers below this are exact as floats, and so are powers of ten up to 22."""


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


@cache
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

    Prices and volumes of exchanges are decimals of few places: columns whose every value is one, to the bit, are kept as such and
    delta-coded. Measured on minutes of BTC/USDT: 21 % of raw and 1.7 ms a month to read, against 39 % and 4 ms as floats with
    zstd, 64 % with dictionaries. Other columns stay floats.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"open_time": pa.array(bars.open_time, pa.timestamp("ms", "UTC"))}
    packed = ["open_time"]
    for name, values in zip(VALUE_COLUMNS, bars.values, strict=True):
        decimals = _as_decimals(values)
        columns[name] = pa.array(values) if decimals is None else decimals
        packed += [] if decimals is None else [name]
    told = {**facts, "digest": digest(bars)}
    out = pa.BufferOutputStream()
    pq.write_table(
        pa.table(columns).replace_schema_metadata({_METADATA: json.dumps(told)}),
        out,
        compression="zstd",
        compression_level=3,
        use_dictionary=False,
        column_encoding=dict.fromkeys(packed, "DELTA_BINARY_PACKED"),
        store_decimal_as_integer=True,
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
            firsts = [file.metadata.row_group(g).column(0).statistics.min_raw for g in groups]
            groups = groups[max(0, bisect.bisect_right(firsts, start_ms) - 1) : bisect.bisect_left(firsts, end_ms)]
        table = file.read_row_groups(groups, columns=["open_time", *VALUE_COLUMNS], use_threads=False)
        times = np.array(table.column("open_time").cast(pa.int64()).to_numpy(), dtype=np.int64)
        values = np.empty((len(VALUE_COLUMNS), len(times)))
        for row, name in zip(values, VALUE_COLUMNS, strict=True):
            _fill(row, table.column(name))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(f"{path} is damaged ({str(error).splitlines()[0] if str(error) else error!r})") from error
    bars = Bars(times, values)
    return (bars if start_ms is None or end_ms is None else bars.between(start_ms, end_ms)), facts


def _as_decimals(values: NDArray[np.float64]) -> Any:
    """The values as an Arrow column of decimals, where dividing gives each back to the bit; None where it does not."""
    import pyarrow as pa

    for places in range(_PLACES + 1):
        power = 10.0**places
        for some in (values[:64], values):  # most scales fail on the first rows already
            with np.errstate(over="ignore"):
                rounded = np.rint(some * power)
            if not (np.abs(rounded) < _EXACT).all():
                return None
            whole = rounded.astype(np.int64)  # a zero of negative sign has none as a decimal, and stays a float
            if not ((whole / power).view(np.int64) == some.view(np.int64)).all():
                break
        else:
            wide = np.zeros((len(values), 2), np.int64)  # 128-bit decimals, the low word first
            wide[:, 0] = whole
            wide[:, 1] = wide[:, 0] >> 63
            return pa.Array.from_buffers(pa.decimal128(18, places), len(values), [None, pa.py_buffer(wide)])
    return None


def _fill(row: NDArray[np.float64], column: Any) -> None:
    """The values of an Arrow column, floats or decimals, into ``row``."""
    import pyarrow as pa

    if column.null_count:
        raise ValueError("a value is absent")
    if not pa.types.is_decimal128(column.type):
        row[:] = column.to_numpy()
        return
    at = 0
    for chunk in column.chunks:
        words = np.frombuffer(chunk.buffers()[1], "<i8")[2 * chunk.offset : 2 * (chunk.offset + len(chunk)) : 2]
        # Both are exact, so the quotient is the float nearest to the decimal: what parsing its text gives.
        np.divide(words, 10.0**column.type.scale, out=row[at : at + len(chunk)])
        at += len(chunk)


def digest(bars: Bars) -> str:
    """A hash (hex) of all values, by which a file proves itself without its manifest."""
    seal = hashlib.sha256(np.ascontiguousarray(bars.open_time).data)
    seal.update(np.ascontiguousarray(bars.values).data)
    return seal.hexdigest()
