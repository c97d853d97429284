"""The beginning of a table: how its text is cut into cells, the names of its columns and a sample of its rows."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from candelabra.errors import DataError
from candelabra.sources.members import Member, stream, trouble

__all__ = ["Head", "head_of", "is_number"]

_BYTES: Final = 65_536
_LINES: Final = 200
_SEPARATORS: Final = (",", ";", "\t", "|")
_BANNER: Final = 20
_NUMBER: Final = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")


@dataclass(frozen=True)
class Head:
    """What is known of a member before it is read.

    ``names``: of its columns ("1", "2", … where nothing names them: then ``header`` is False). ``rows``: the first rows as text.
    For CSV, ``skip`` lines stand above the first row and ``above`` are those above the header; for JSON, ``lists`` says that rows are
    lists, not objects.
    """

    names: tuple[str, ...]
    header: bool
    rows: tuple[tuple[str, ...], ...] = ()
    separator: str = ","
    skip: int = 0
    above: tuple[str, ...] = ()
    encoding: str = "utf8"
    lists: bool = False
    facts: Any = None


def is_number(text: str) -> bool:
    """Whether a cell is a plain number.

    >>> is_number("1e-5"), is_number("1,5"), is_number("")
    (True, False, False)
    """
    return bool(_NUMBER.fullmatch(text))


def head_of(member: Member) -> Head:
    """Look at the beginning of a member; DataError when there is nothing to read, SourceError when it cannot be opened."""
    if member.kind == "csv":
        return _csv_head(member)
    if member.kind == "json":
        return _json_head(member)
    return _arrow_head(member)


def _start(member: Member) -> bytes:
    with stream(member) as raw:
        parts, size = [], 0
        while size < _BYTES and (part := raw.read(_BYTES - size)):
            parts.append(part)
            size += len(part)
    data = b"".join(parts)
    if not data.strip():
        raise DataError(f"{member.name} is not a table that can be read: it is empty: get it again")
    return data


def _csv_head(member: Member) -> Head:
    data = _start(member)
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf8"
    if encoding == "utf8" and b"\0" in data:
        raise DataError(f"{member.name} is not a table that can be read: it holds zero bytes, so it is no text")
    text = data[: len(data) // 2 * 2].decode(encoding, errors="replace").removeprefix("\ufeff")
    lines = re.split(r"\r\n|\n|\r", text)  # no other mark ends a line of CSV
    if len(data) >= _BYTES and len(lines) > 1:
        lines = lines[:-1]  # the last one may be cut
    lines = lines[:_LINES] or [""]
    separator, at = _table_begins(lines)
    cells = [_cells(line, separator) for line in lines[at:] if line.strip()]
    first = cells[0] if cells else []
    header = sum(is_number(c) for c in first) < max(2, len(first) // 2)
    names = tuple(c.strip() for c in first) if header else tuple(str(k + 1) for k in range(len(first)))
    rows = tuple(tuple(c) for c in cells[header:] if len(c) == len(first))
    return Head(names, header, rows, separator, at + header, tuple(line for line in lines[:at] if line.strip()), encoding)


def _table_begins(lines: Sequence[str]) -> tuple[str, int]:
    """The separator, and the first line that has as many cells as the line after it."""
    best = (",", 0)
    if not lines:
        return best
    for at in range(min(_BANNER, max(1, len(lines) - 1))):
        if not lines[at].strip() or lines[at].lstrip().startswith("#"):
            continue
        after = next((line for line in lines[at + 1 :] if line.strip()), "")
        counts = {s: (len(_cells(lines[at], s)), len(_cells(after, s))) for s in _SEPARATORS}
        separator = max(_SEPARATORS, key=lambda s: counts[s][0])
        here, there = counts[separator]
        if here >= 3 and (here == there or not after):
            return separator, at
        if at == 0 or not any(line.strip() for line in lines[: best[1]]):
            best = (separator, at)
    # No two lines agree: the first is taken for the header, and the reader will say what is wrong with the rows.
    return best


def _cells(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return line.split(separator)


def _json_head(member: Member) -> Head:
    from candelabra.sources.json_rows import json_rows

    rows: list[Any] = []
    for part in json_rows(member, first_bytes=_BYTES):
        rows += part
        if len(rows) >= _LINES:
            break
    rows = [r for r in rows[:_LINES] if r is not None]
    if not rows:
        raise DataError(f"{member.name} has no rows: fetch the candles again")
    if isinstance(rows[0], list):
        width = max(len(r) for r in rows if isinstance(r, list))
        text = tuple(tuple(_word(v) for v in r) for r in rows if isinstance(r, list) and len(r) == width)
        return Head(tuple(str(k + 1) for k in range(width)), False, text, lists=True)
    names = tuple(dict.fromkeys(str(k) for r in rows if isinstance(r, dict) for k in r))
    return Head(names, True, tuple(tuple(_word(r.get(n)) for n in names) for r in rows if isinstance(r, dict)))


def _word(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _arrow_head(member: Member) -> Head:
    import pyarrow as pa
    import pyarrow.feather
    import pyarrow.parquet as pq

    with trouble(member.name):
        if member.kind == "parquet":
            with pq.ParquetFile(member.path) as file:
                schema, count = file.schema_arrow, file.metadata.num_rows
        else:
            with pa.memory_map(str(member.path)) as source:
                try:
                    schema, count = pa.ipc.open_file(source).schema, -1
                except pa.ArrowInvalid:
                    schema, count = pyarrow.feather.read_table(io.BytesIO(member.path.read_bytes())).schema, -1
    if count == 0:
        raise DataError(f"{member.name} has no rows: fetch the candles again")
    return Head(tuple(schema.names), True, facts=dict(schema.metadata or {}))
