"""Tables read piece by piece: the wanted columns of any kind of file as Arrow arrays, with the number of every row and what was lost."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import DataError
from candelabra.sources.head import Head
from candelabra.sources.json_rows import json_rows
from candelabra.sources.layout import Layout
from candelabra.sources.members import Member, trouble, unguarded

__all__ = ["Part", "parts_of"]

_BLOCK: Final = 1 << 20
_ROWS: Final = 65_536


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows of a member: ``columns`` by name (Arrow arrays of equal length), ``row`` their numbers in the member from 0.

    ``lost`` are rows that cannot be cut into cells: number and reason. ``blank`` counts empty lines among the rows.
    """

    columns: dict[str, Any]
    row: NDArray[np.int64]
    lost: tuple[tuple[int, str], ...] = ()
    blank: int = 0


def parts_of(member: Member, head: Head, layout: Layout, *, lenient: bool = False) -> Iterator[Part]:
    """The rows of a member in order, in pieces of bounded size.

    ``lenient`` tells of rows with too few or too many cells as lost instead of raising DataError; SourceError when the disk or an archive
    fails.
    """
    if member.kind == "csv":
        with trouble(member.name):
            yield from _csv(member, head, layout, lenient)
    elif member.kind == "json":
        yield from _json(member, head, layout, lenient)
    else:
        yield from _arrow(member, layout)


def _csv(member: Member, head: Head, layout: Layout, lenient: bool) -> Iterator[Part]:
    import pyarrow as pa

    names = _unique(head.names)
    done, count = 0, LineCount()
    try:
        for batch in _csv_batches(member, head, names, _types(head, layout, names), None, count):
            number = np.arange(done, done + batch.num_rows, dtype=np.int64)
            done += batch.num_rows
            yield _without_blanks(batch, layout, number)
        _refuse_swallowed(member, count.lines - head.skip, done)
        return
    except pa.ArrowInvalid:
        pass  # some cell is not what the first rows promised: the rest is read as text, cell by cell
    strange: list[tuple[int, str]] = []

    def kept(row: Any) -> str:
        cells = f"has {row.actual_columns} cells where {row.expected_columns} are needed"
        strange.append((int(row.number) - 1 - head.skip, f"{cells}: {str(row.text)[:80]!r}"))
        return "skip"

    def refuse() -> None:
        if strange and not lenient:
            line, why = strange[0][0] + 1 + head.skip, strange[0][1]
            raise DataError(f"{member.name} is not a table that can be read: line {line} {why}: open it and check its header and rows")

    at, count = 0, LineCount()
    for batch in _csv_batches(member, head, names, dict.fromkeys(names, pa.string()), kept, count):
        refuse()
        # The numbers of good rows are what the strange ones between them leave over; strange rows of later pieces may be known already.
        taken = np.array(sorted({n for n, _ in strange if n >= at}), dtype=np.int64)
        number = np.arange(at, at + batch.num_rows + len(taken), dtype=np.int64)
        number = number[~np.isin(number, taken)][: batch.num_rows]
        end = int(number[-1]) + 1 if len(number) else at
        lost = tuple((n, why) for n, why in strange if done <= n < end)
        strange[:] = [one for one in strange if one[0] >= end]
        at = end
        fresh = number >= done
        if fresh.any() or lost:
            part = _without_blanks(batch.filter(pa.array(fresh)), layout, number[fresh])
            yield Part(part.columns, part.row, lost, part.blank)
    refuse()
    _refuse_swallowed(member, count.lines - head.skip, max([at, *(n + 1 for n, _ in strange)]))
    if strange:
        empty = {name: pa.array([], pa.string()) for name in layout.columns}
        yield Part(empty, np.zeros(0, np.int64), tuple(one for one in strange if one[0] >= done))


def _refuse_swallowed(member: Member, lines: int, rows: int) -> None:
    """DataError when lines are in no row: an open quote makes one cell of all that follows, and a reader says nothing."""
    if lines != rows:
        raise DataError(
            f"{member.name}: its {lines:,} lines hold {rows:,} rows: a quote that is not closed, or a line break in quotes, has swallowed "
            "lines; nothing is read: take the quotes out"
        )


def _csv_batches(member: Member, head: Head, names: list[str], types: dict[str, Any], handler: Any, count: LineCount) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.csv

    options = {
        "read_options": pyarrow.csv.ReadOptions(use_threads=False, skip_rows=head.skip, column_names=names, block_size=_BLOCK),
        "parse_options": pyarrow.csv.ParseOptions(delimiter=head.separator, ignore_empty_lines=False, invalid_row_handler=handler),
        "convert_options": pyarrow.csv.ConvertOptions(
            column_types=types, include_columns=list(types), strings_can_be_null=handler is None, null_values=[""]
        ),
    }
    with unguarded(member) as raw:
        source: Any
        if handler is not None or head.encoding != "utf8":
            source = pa.PythonFile(_Utf8(raw, head.encoding, count), mode="r")
        elif member.inner or member.packed:
            source = pa.PythonFile(_Counted(raw, count), mode="r")
        else:
            source = pa.OSFile(str(member.path))  # saves a copy of every byte; the lines are counted afterwards
        try:
            reader = pyarrow.csv.open_csv(source, **options)
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return
            raise
        with reader:
            yield from reader
        if isinstance(source, pa.OSFile):
            while data := raw.read(_BLOCK):
                count.add(data)


class LineCount:
    r"""How many lines there are in text that comes in pieces: as many as line ends, and one more when the last line has none.

    >>> count = LineCount()
    >>> for piece in (b"a\r", b"\nb\n", b"c"):
    ...     count.add(piece)
    >>> count.lines
    3
    """

    def __init__(self) -> None:
        self._ends, self._last = 0, b"\n"

    def add(self, data: bytes) -> None:
        """The next piece."""
        if not data:
            return
        self._ends += int(np.count_nonzero(np.frombuffer(data, np.uint8) == 10))  # five times as fast as bytes.count
        if b"\r" in data:
            self._ends += data.count(b"\r") - data.count(b"\r\n")
        if self._last == b"\r" and data[:1] == b"\n":
            self._ends -= 1
        self._last = data[-1:]

    @property
    def lines(self) -> int:
        """The lines so far."""
        return self._ends + (self._last not in (b"\n", b"\r"))


class _Counted(io.RawIOBase):
    """Bytes passed on, their lines counted."""

    def __init__(self, raw: IO[bytes], count: LineCount) -> None:
        self._raw, self._count = raw, count

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        data = self._raw.read(size)
        self._count.add(data)
        return data


class _Utf8(io.RawIOBase):
    """Bytes of any encoding as UTF-8; what is no text of that encoding becomes a mark, so that its row is rejected and not lost."""

    def __init__(self, raw: IO[bytes], encoding: str, count: LineCount) -> None:
        self._raw, self._count = raw, count
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        self._begun = False

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At least a byte unless there are no more."""
        while True:
            data = self._raw.read(max(4, size // 3) if size > 0 else -1)
            text = self._decoder.decode(data, final=not data)
            if not self._begun and text:
                text, self._begun = text.removeprefix("\ufeff"), True
            if text or not data:
                out = text.encode()
                self._count.add(out)
                return out


def _types(head: Head, layout: Layout, names: list[str]) -> dict[str, Any]:
    """Arrow types of the wanted columns, as the first rows suggest them."""
    import pyarrow as pa

    types: dict[str, Any] = {}
    words = {layout.symbol}
    for name in layout.columns:
        cells = [row[names.index(name)].strip() for row in head.rows]
        if name in words:
            types[name] = pa.dictionary(pa.int32(), pa.string())
        elif name in (layout.time, layout.id):
            whole = bool(cells) and all(c.isdecimal() and c.isascii() and len(c) < 19 for c in cells)
            real = bool(cells) and all(_is_decimal(c) for c in cells)
            types[name] = pa.int64() if whole else pa.float64() if real and name == layout.time else pa.string()
        else:
            types[name] = pa.float64()
    return types


def _is_decimal(cell: str) -> bool:
    whole, point, rest = cell.partition(".")
    return bool(point) and (whole + rest).isdecimal() and cell.isascii()


def _without_blanks(batch: Any, layout: Layout, number: NDArray[np.int64]) -> Part:
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {name: batch.column(name) for name in layout.columns}
    time = columns[layout.time]
    text = pa.types.is_string(time.type)
    if not text and not time.null_count:
        return Part(columns, number)
    blank = np.ones(len(number), np.bool_)
    for column in columns.values():
        empty = pc.is_null(column)
        if pa.types.is_string(column.type):
            empty = pc.or_(empty, pc.equal(pc.fill_null(column, ""), ""))
        blank &= np.asarray(empty.to_numpy(zero_copy_only=False), dtype=np.bool_)
    if not blank.any():
        return Part(columns, number)
    keep = pa.array(~blank)
    return Part({n: c.filter(keep) for n, c in columns.items()}, number[~blank], (), int(blank.sum()))


def _unique(names: tuple[str, ...]) -> list[str]:
    """Column names made unique: the first of a name keeps it."""
    out: list[str] = []
    for name in names:
        new, k = name, 2
        while new in out:
            new, k = f"{name} ({k})", k + 1
        out.append(new)
    return out


def _json(member: Member, head: Head, layout: Layout, lenient: bool) -> Iterator[Part]:
    import pyarrow as pa

    at = 0
    with trouble(member.name):
        for rows in json_rows(member):
            lost: list[tuple[int, str]] = []
            good: list[Any] = []
            number: list[int] = []
            blank = 0
            for k, row in enumerate(rows, at):
                if row is None:
                    blank += 1
                elif isinstance(row, list) != head.lists or (head.lists and len(row) != len(head.names)):
                    needed = f"lists of {len(head.names)}" if head.lists else "objects"
                    why = f"is a {type(row).__name__} of {len(row)} where {needed} are needed"
                    if not lenient:
                        raise DataError(f"{member.name} is not a table that can be read: row {k} {why}")
                    lost.append((k, why))
                else:
                    good.append(row)
                    number.append(k)
            at += len(rows)
            columns = {}
            for name in layout.columns:
                key: Any = int(name) - 1 if head.lists else name
                values = [row[key] for row in good] if head.lists else [row.get(key) for row in good]
                columns[name] = _array(values, pa)
            yield Part(columns, np.array(number, np.int64), tuple(lost), blank)


def _array(values: list[Any], pa: Any) -> Any:
    """JSON values as an Arrow array: whole numbers, numbers, or else text."""
    kinds = {type(v) for v in values if v is not None}
    try:
        if kinds == {int}:
            return pa.array(values, pa.int64())
        if kinds and kinds <= {int, float}:
            return pa.array([None if v is None else float(v) for v in values], pa.float64())
    except (OverflowError, pa.ArrowInvalid):
        pass
    return pa.array([v if v is None or isinstance(v, str) else repr(v) for v in values], pa.string())


def _arrow(member: Member, layout: Layout) -> Iterator[Part]:
    """Parquet by row groups with its page checksums verified, Feather by record batches."""
    import pyarrow as pa
    import pyarrow.feather
    import pyarrow.parquet as pq

    names = list(layout.columns)
    at = 0
    with trouble(member.name), _closed_after() as closing:
        if member.kind == "parquet":
            file = closing.enter_context(pq.ParquetFile(member.path, page_checksum_verification=True))
            batches: Any = file.iter_batches(batch_size=_ROWS, columns=names, use_threads=False)
        else:
            source = closing.enter_context(pa.memory_map(str(member.path)))
            try:
                opened = pa.ipc.open_file(source)
                batches = (opened.get_batch(k).select(names) for k in range(opened.num_record_batches))
            except pa.ArrowInvalid:  # the first version of the format
                batches = pyarrow.feather.read_table(io.BytesIO(member.path.read_bytes()), columns=names).to_batches()
        for batch in batches:
            for start in range(0, batch.num_rows, _ROWS):
                piece = batch.slice(start, _ROWS)
                yield Part({name: piece.column(name) for name in names}, np.arange(at, at + piece.num_rows, dtype=np.int64))
                at += piece.num_rows


def _closed_after() -> Any:
    import contextlib

    return contextlib.ExitStack()
