"""Segments tables written as CSV, Parquet or JSON lines, so that reading gives the same back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from candelabra.disk import write_atomically
from candelabra.errors import UsageError

__all__ = ["write_table"]

_TIMES: Final = ("start", "end", "known_at")


def write_table(table: Mapping[str, list[Any]], path: Path) -> Path:
    """Write columns (times int64 ms or None, confidence float32 or None, text) by the ending of ``path``; UsageError for another ending."""
    ending = path.suffix.lower()
    if ending in (".parquet", ".pq"):
        data: bytes | memoryview = _parquet(table)
    elif ending in (".csv", ".jsonl", ".ndjson"):
        cells = {name: [_shown(name, value) for value in values] for name, values in table.items()}
        data = (_csv(cells) if ending == ".csv" else _lines(cells)).encode()
    else:
        raise UsageError(f"labels are written as CSV, Parquet or JSON lines: call the file {path.stem}.csv, not {path.name}")
    write_atomically(path, data)
    return path


def _shown(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _TIMES:
        stamp = np.datetime64(int(value), "ms")
        whole = int(value) % 1000 == 0
        return f"{np.datetime_as_string(stamp, 's' if whole else 'ms')}Z"
    # the shortest decimal that is this float32: it reads back to the bit
    return float(str(value)) if name == "confidence" else value


def _csv(cells: Mapping[str, list[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(cells)
    writer.writerows(["" if value is None else value for value in row] for row in zip(*cells.values(), strict=True))
    return out.getvalue()


def _lines(cells: Mapping[str, list[Any]]) -> str:
    rows = (dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True))
    # an object with few keys: what is empty is left out
    kept = ({k: v for k, v in row.items() if v not in (None, "")} for row in rows)
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)


def _parquet(table: Mapping[str, list[Any]]) -> memoryview:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds: dict[str, Any] = dict.fromkeys(_TIMES, pa.timestamp("ms", "UTC")) | {"confidence": pa.float32()}
    columns = {name: pa.array(values, kinds.get(name, pa.string())) for name, values in table.items()}
    out = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), out, compression="zstd", write_page_checksum=True)
    return memoryview(out.getvalue())
