"""One member read: chunks of rows per symbol, every row of the file accounted for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.raw import NO_TIME
from candelabra.errors import DataError
from candelabra.sources.cells import numbers, refuse_thousands, texts
from candelabra.sources.forms import recognised
from candelabra.sources.head import Head, head_of
from candelabra.sources.layout import Layout, SeriesColumns, Told
from candelabra.sources.members import Member
from candelabra.sources.symbols import spelled
from candelabra.sources.tables import Part, parts_of
from candelabra.sources.times import TimeReader, is_text
from candelabra.sources.volumes import base_volumes

__all__ = ["Chunk", "Reading", "open_member"]

_MOST_SYMBOLS: Final = 20_000


@dataclass(frozen=True, eq=False)
class Chunk:
    """Rows of one symbol in the order of the file: ``time`` ms UTC (``NO_TIME`` where absent), values float64 (NaN where absent), ``row``.

    ``symbol`` is None where the file does not name it. ``unreadable`` says why, by place in the chunk. ``id`` tells trades apart.
    """

    symbol: str | None
    time: NDArray[np.int64]
    values: tuple[NDArray[np.float64], ...]
    row: NDArray[np.int64]
    missing: NDArray[np.int32] | None = None
    id: NDArray[np.int64] | None = None
    unreadable: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.time)


@dataclass
class Reading:
    """A member being read; the counters are final when :meth:`chunks` has ended.

    ``rows`` = those in chunks + ``lost`` (could not be cut into cells; ``tell_lost`` hears of each) + ``blank`` (empty lines) +
    ``unlisted`` (empty cells of a symbol beside others). A row of a table with several symbols side by side counts once for each.
    """

    member: Member
    head: Head
    layout: Layout
    told: Told
    lenient: bool = False
    rows: int = 0
    blank: int = 0
    unlisted: int = 0
    swapped: int = 0
    volumes: int = 0
    lost: int = 0
    tell_lost: Callable[[int, str], None] = lambda row, why: None

    @property
    def first_line(self) -> int:
        """The line of row 0 in the file; 0 where rows have no lines."""
        return self.head.skip + 1 if self.member.kind == "csv" else 0

    def chunks(self) -> Iterator[Chunk]:
        """The rows; DataError for what cannot be read, unless ``lenient`` (then told by ``unreadable`` and ``lost``)."""
        clock = TimeReader(self.layout.time, self.member.name, self.told, self.lenient)
        for part in self._parts(clock):
            width = len(self.layout.series)
            self.rows += width * (len(part.row) + len(part.lost) + part.blank)
            self.blank += width * part.blank
            self.lost += width * len(part.lost)
            for row, why in part.lost:
                for _ in range(width):
                    self.tell_lost(row, why)
            if len(part.row):
                yield from self._chunks(part, clock)

    def chunks_of(self, part: Part) -> Iterator[Chunk]:
        """The chunks of one part that is all there is."""
        clock = TimeReader(self.layout.time, self.member.name, self.told, self.lenient)
        yield from self._chunks(part, clock)

    def notes(self) -> list[str]:
        """What is worth saying about how it was read."""
        said = [f"{self.member.name}: {note}" for note in self.layout.notes]
        if self.head.above:
            shown = " / ".join(line[:60] for line in self.head.above)
            said.append(f"{self.member.name}: what stands above the header was passed over: {shown!r}")
        if self.swapped:
            said.append(
                f"{self.member.name}: the two volume columns are swapped in {self.swapped:,} of {self.volumes:,} rows (seen by price x "
                "volume); they were put right"
            )
        return said

    def _parts(self, clock: TimeReader) -> Iterator[Part]:
        """The parts; where the first dates can be read in two ways, the whole file is looked through before anything is read."""
        first = True
        for part in parts_of(self.member, self.head, self.layout, lenient=self.lenient):
            column = part.columns[self.layout.time]
            if first and len(part.row) and is_text(column.type) and self.told.time_format is None:
                clock.look(column)
                if clock.undecided:
                    for again in parts_of(self.member, self.head, self.layout, lenient=True):
                        if len(again.row) and again.row[0] > part.row[0]:
                            clock.look(again.columns[self.layout.time])
                first = False
            yield part

    def _chunks(self, part: Part, clock: TimeReader) -> Iterator[Chunk]:
        where, columns = self.member.name, part.columns
        unreadable: dict[int, str] | None = {} if self.lenient else None
        offset = int(part.row[0]) if len(part.row) else 0
        read: dict[str, NDArray[np.float64]] = {}
        for one in self.layout.series:
            for name in one.values:
                read[name] = numbers(columns[name], name, where, unreadable, offset)
        time = clock.read(columns[self.layout.time])
        if unreadable is not None:
            self._say_times(columns[self.layout.time], time, unreadable)
        missing = None
        if self.layout.missing is not None:
            missing = np.nan_to_num(numbers(columns[self.layout.missing], "missing", where, unreadable, offset)).astype(np.int32)
        identity = None if self.layout.id is None else _identity(columns[self.layout.id])
        for one in self.layout.series:
            values = tuple(read[name] for name in one.values)
            if self.layout.quote_volume is not None and self.layout.holds == "candles":
                quote = _numbers_or_nan(columns[self.layout.quote_volume])
                volume, swapped = base_volumes(values[4], quote, values[3])
                self.swapped += int(swapped.sum())
                self.volumes += len(volume)
                values = (*values[:4], volume)
            whole = Chunk(None, time, values, part.row, missing, identity, unreadable or {})
            if one.symbol is not None:
                yield self._listed(whole, one)
            elif self.layout.symbol is not None:
                yield from self._by_symbol(whole, columns[self.layout.symbol])
            else:
                yield whole

    def _say_times(self, column: Any, time: NDArray[np.int64], unreadable: dict[int, str]) -> None:
        for at in np.flatnonzero(time == NO_TIME):
            cell = _shown(column[int(at)])
            if cell:
                unreadable.setdefault(int(at), f"column {self.layout.time!r} holds {cell[:60]!r}, which is no time of this file's form")

    def _listed(self, whole: Chunk, one: SeriesColumns) -> Chunk:
        """The rows of a symbol beside others, without those where all its cells are empty."""
        symbol = spelled(one.symbol or "", self.layout.quote)
        empty = np.logical_and.reduce([np.isnan(v) for v in whole.values])
        if whole.unreadable:
            empty[list(whole.unreadable)] = False
        self.unlisted += int(empty.sum())
        return _picked(whole, ~empty, symbol) if empty.any() else Chunk(symbol, *_fields(whole))

    def _by_symbol(self, whole: Chunk, column: Any) -> Iterator[Chunk]:
        words = texts(column)
        code = np.asarray(words.indices.fill_null(-1).to_numpy(zero_copy_only=False)).astype(np.int64)
        names = words.dictionary.to_pylist()
        if len(names) > _MOST_SYMBOLS:
            raise DataError(
                f"{self.member.name}: column {self.layout.symbol!r} names {len(names):,} symbols in {len(whole):,} rows: is it one?"
            )
        for k in np.unique(code):
            symbol = spelled(str(names[int(k)]), self.layout.quote) if k >= 0 else ""
            mask = code == k
            yield Chunk(symbol, *_fields(whole)) if mask.all() else _picked(whole, mask, symbol)


def open_member(member: Member, told: Told, base: str | None = None, *, lenient: bool = False) -> Reading:
    """Look at a member and find its form; ``base`` (as BTC) helps to choose between volume columns."""
    head = head_of(member)
    layout = recognised(member, head, told, base)
    if member.kind == "csv" and not head.rows:
        _refuse_empty(member, head, layout)
    return Reading(member, head, layout, told, lenient)


def _refuse_empty(member: Member, head: Head, layout: Layout) -> None:
    for _ in (part for part in parts_of(member, head, layout, lenient=True) if len(part.row) or part.lost):
        return
    raise DataError(f"{member.name} has no rows: fetch the candles again")


def _fields(chunk: Chunk) -> tuple[Any, ...]:
    return chunk.time, chunk.values, chunk.row, chunk.missing, chunk.id, chunk.unreadable


def _picked(chunk: Chunk, mask: NDArray[np.bool_], symbol: str) -> Chunk:
    at = np.cumsum(mask) - 1
    unreadable = {int(at[k]): why for k, why in chunk.unreadable.items() if mask[k]}
    missing = None if chunk.missing is None else chunk.missing[mask]
    identity = None if chunk.id is None else chunk.id[mask]
    return Chunk(symbol, chunk.time[mask], tuple(v[mask] for v in chunk.values), chunk.row[mask], missing, identity, unreadable)


def _identity(column: Any) -> NDArray[np.int64]:
    """Numbers that are equal where the cells are: whole numbers as they are, other text below -1, -1 where there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(flat.type):
        flat = flat.dictionary_decode()
    try:
        return np.asarray(pc.fill_null(pc.cast(flat, pa.int64()), -1).to_numpy(zero_copy_only=False), dtype=np.int64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return np.fromiter((-1 if v in (None, "") else min(-2, -abs(hash(str(v)))) for v in flat.to_pylist()), np.int64, len(flat))


def _numbers_or_nan(column: Any) -> NDArray[np.float64]:
    """The second volume only checks the first: cells of it that are no numbers do no harm."""
    return numbers(column, "", "", {}) if not is_text(column.type) or not _has_thousands(column) else np.full(len(column), np.nan)


def _has_thousands(column: Any) -> bool:
    try:
        refuse_thousands(column, "", "")
    except DataError:
        return True
    return False


def _shown(cell: Any) -> str:
    """A cell for people; a stamp that no calendar has, as a damaged file may hold, by its number."""
    try:
        value = cell.as_py()
    except (OverflowError, ValueError):
        value = cell.value
    return "" if value is None else str(value)
