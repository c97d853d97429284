"""What an import did with every row: the books, and the list of what was rejected and why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import IO, Any, Final

from candelabra.disk import write_atomically

__all__ = ["Books", "ImportReport", "Rejected", "Rejections", "SeriesReport"]

_SHOWN: Final = 20


@dataclass(frozen=True)
class Rejected:
    """A row that did not become (part of) a bar: where it stands, its time when it has one, and why. ``rows`` above 1: a whole series."""

    file: str
    row: int
    line: int
    time: str
    reason: str
    symbol: str = ""
    values: str = ""
    rows: int = 1


class Rejections:
    """Counts every rejected row, remembers the first ones, and writes all of them as JSON lines where a file is given."""

    def __init__(self, out: IO[bytes] | None = None) -> None:
        self._out = out
        self.count = 0
        self.kinds: dict[str, int] = {}
        self.first: list[Rejected] = []

    def add(self, one: Rejected, kind: str) -> None:
        """Note a row; ``kind`` is its reason without particulars."""
        self.count += one.rows
        self.kinds[kind] = self.kinds.get(kind, 0) + one.rows
        if len(self.first) < _SHOWN:
            self.first.append(one)
        if self._out is not None:
            told = {k: v for k, v in asdict(one).items() if v not in ("", None) and (k, v) not in (("rows", 1), ("line", 0))}
            self._out.write(json.dumps(told | {"kind": kind}, ensure_ascii=False).encode(errors="replace") + b"\n")

    def mark(self) -> tuple[int, dict[str, int], int, int]:
        """Where the list is now, for :meth:`back_to`."""
        return self.count, dict(self.kinds), len(self.first), 0 if self._out is None else self._out.tell()

    def back_to(self, mark: tuple[int, dict[str, int], int, int]) -> None:
        """Forget what was added since a mark: a file that is refused as a whole has no rejected rows."""
        self.count, self.kinds, first, place = mark
        del self.first[first:]
        if self._out is not None:
            self._out.seek(place)
            self._out.truncate()

    @classmethod
    @contextmanager
    def written_to(cls, path: Path | None) -> Iterator[Rejections]:
        """Rejections whose JSON lines are in ``path`` when the context is left without an error and there are any."""
        import tempfile

        with tempfile.TemporaryFile() as out:
            rejections = cls(out)
            yield rejections
            if path is not None and rejections.count:
                out.seek(0)
                write_atomically(path, out.read())


@dataclass
class Books:
    """Where the rows of files went. ``rows`` must be the sum of the others: kept, rejected, and left out by kind."""

    rows: int = 0
    kept: int = 0
    rejected: int = 0
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Whether every row is accounted for."""
        return self.rows == self.kept + self.rejected + sum(self.left_out.values())

    def leave_out(self, kind: str, count: int) -> None:
        """Note rows that repeat others, or are no closed bars, or no rows at all."""
        if count:
            self.left_out[kind] = self.left_out.get(kind, 0) + count

    def add(self, other: Books) -> None:
        """Add the rows of other books."""
        self.rows += other.rows
        self.kept += other.kept
        self.rejected += other.rejected
        for kind, count in other.left_out.items():
            self.leave_out(kind, count)


@dataclass
class SeriesReport:
    """One series of an import: its books, and what the store said. For candles ``kept`` rows are ``bars``; trades are many to a bar.

    ``added + unchanged + revised = bars`` unless it is a dry run. ``refused``: why nothing of it was stored. ``before``: it had been
    imported by an earlier run, whose report this is.
    """

    exchange: str
    symbol: str
    timeframe: str = ""
    form: str = ""
    files: list[str] = field(default_factory=list)
    books: Books = field(default_factory=Books)
    bars: int = 0
    added: int = 0
    unchanged: int = 0
    revised: int = 0
    first: str = ""
    last: str = ""
    notes: list[str] = field(default_factory=list)
    refused: str = ""
    before: bool = False

    @classmethod
    def of(cls, told: dict[str, Any]) -> SeriesReport:
        """A report from its ``asdict``; ValueError, KeyError or TypeError when it is none."""
        names = {f.name for f in fields(cls)}
        if set(told) != names:
            raise ValueError(f"the fields {sorted(set(told) ^ names)} are not those of a report")
        return cls(**(told | {"books": Books(**told["books"])}))


@dataclass
class ImportReport:
    """What an import did: books over all files, a report for each series, files that could not be read, and the first rejected rows."""

    books: Books = field(default_factory=Books)
    series: list[SeriesReport] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)
    dry_run: bool = False
    rejected_file: str = ""

    @property
    def clean(self) -> bool:
        """Whether nothing was rejected or refused."""
        return not self.books.rejected and not self.refused and not any(s.refused for s in self.series)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain dicts, lists, strings and numbers."""
        return asdict(self) | {"clean": self.clean}
