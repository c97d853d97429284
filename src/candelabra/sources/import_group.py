"""Files that belong together, read into a spool: each row counted under its series, what cannot be placed in time rejected at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.raw import NO_TIME
from candelabra.candles.timeframe import Timeframe
from candelabra.candles.trades import unlawful_trades
from candelabra.errors import CandelabraError
from candelabra.progress import Reporter
from candelabra.sources.collect import Naming
from candelabra.sources.import_report import Books, Rejected, Rejections, SeriesReport
from candelabra.sources.import_series import Intake, Key, import_series
from candelabra.sources.reading import Chunk, Reading
from candelabra.sources.spool import Spool
from candelabra.sources.store import Store

__all__ = ["Group", "GroupMember"]

_DAY_MS: Final = 86_400_000
_REASONS: Final = 100_000


@dataclass(frozen=True, eq=False)
class GroupMember:
    """A member that was looked at: how it is read, what names it, and its exchange."""

    reading: Reading
    naming: Naming
    exchange: str


@dataclass(eq=False)
class Group:
    """Members of one exchange and symbol ("" where their rows name symbols); ``told`` and ``wanted`` as the user said."""

    exchange: str
    symbol: str
    told: str | None
    wanted: Timeframe | None
    many: bool
    members: list[GroupMember] = field(default_factory=list)

    def __str__(self) -> str:
        files = self.members[0].reading.member.path.name if len(self.members) == 1 else f"{len(self.members)} files"
        return " ".join(part for part in (self.exchange, self.symbol, f"({files})") if part)

    def read_and_store(
        self,
        store: Store | None,
        most_rejected: float,
        rows_in_memory: int,
        rejections: Rejections,
        refused: list[str],
        progress: Reporter,
        now_ms: int,
    ) -> list[SeriesReport]:
        """Read every member, then settle and store series by series; a member that cannot be read adds a line to ``refused``."""
        loose = Books()
        with Spool(rows_in_memory) as spool:
            intake = Intake(spool, [m.reading for m in self.members], self.exchange)
            for at, one in enumerate(self.members):
                mark = rejections.mark()
                books = Books()
                try:
                    self._take(at, one, intake, books, rejections, progress)
                except CandelabraError as error:
                    rejections.back_to(mark)
                    intake.forget(at)
                    refused.append(str(error))
                else:
                    loose.add(books)
                    for key, facts in intake.facts(at):
                        intake.simulated[key] = intake.simulated.get(key, False) or bool(facts.get("simulated", False))
            reports = []
            for key in intake.series():
                name = self._name(key, intake)
                if name is None:
                    other = intake.count(key)  # what has no time was rejected before the symbol mattered
                    other.leave_out("another symbol or timeframe", other.rows - other.rejected)
                    loose.add(other)
                else:
                    reports.append(import_series(key, name, self.wanted, intake, store, most_rejected, rejections, now_ms))
        if loose.rows:
            if not reports:
                reports.append(SeriesReport(self.exchange, self.symbol, files=[m.reading.member.name for m in self.members]))
            reports[0].books.add(loose)
        return reports

    def _name(self, key: Key, intake: Intake) -> str | None:
        """What a series is called; None when it was not asked for."""
        if self.told is None or key.symbol == self.told:
            return key.symbol
        alone = len({k.symbol for k in intake.series()}) == 1 and len(self.members) == 1 and not self.many
        return self.told if alone else None

    def _take(self, at: int, one: GroupMember, intake: Intake, books: Books, rejections: Rejections, progress: Reporter) -> None:
        """Put a member's rows by; its rows of no series go into ``books``."""
        reading, naming = one.reading, one.naming
        size = reading.member.size
        shown = 0.0
        per_row = _bytes_per_row(reading)

        def lost(row: int, why: str) -> None:
            books.rejected += 1
            rejections.add(Rejected(reading.member.name, row, _line(reading, row), "", why), "not a row of this table")

        reading.tell_lost = lost
        for chunk in reading.chunks():
            symbol = naming.symbol if chunk.symbol is None else chunk.symbol
            if not symbol:
                books.rejected += len(chunk)
                for row in chunk.row.tolist():
                    rejections.add(Rejected(reading.member.name, row, _line(reading, row), "", "the row names no symbol"), "no symbol")
                continue
            key = intake.key(at, symbol, chunk, self.wanted, naming)
            self._put_by(at, key, chunk, intake, rejections)
            step = min(size - shown, per_row * len(chunk))
            shown += step
            progress.advance(step, rows=float(reading.rows))
        progress.advance(size - shown)
        books.rows += reading.rows - sum(b.rows for b in intake.books_of(at))
        books.leave_out("blank line", reading.blank)
        books.leave_out("empty cells of a symbol", reading.unlisted)

    def _put_by(self, at: int, key: Key, chunk: Chunk, intake: Intake, rejections: Rejections) -> None:
        reading = self.members[at].reading
        books = intake.books(key, at)
        books.rows += len(chunk)
        timed = chunk.time != NO_TIME
        for place in np.flatnonzero(~timed).tolist():
            number = int(chunk.row[place])
            why = chunk.unreadable.get(place, "no time")
            rejections.add(Rejected(reading.member.name, number, _line(reading, number), "", why, key.symbol), "no time")
            books.rejected += 1
        for place, why in chunk.unreadable.items():
            if timed[place] and len(intake.reasons) < _REASONS:
                intake.reasons[at, int(chunk.row[place])] = why
        if not timed.any():
            return
        time, values, row = chunk.time, chunk.values, chunk.row
        identity = chunk.id if chunk.id is not None else None
        if not timed.all():
            time, values, row = time[timed], tuple(v[timed] for v in values), row[timed]
            identity = None if identity is None else identity[timed]
        member = np.full(len(time), at, np.int32)
        lawful = time
        if key.holds == "trades":
            identity = np.full(len(time), -1, np.int64) if identity is None else identity
            columns: list[NDArray[Any]] = [time, *values, row, member, identity]
            lawful = time[~unlawful_trades(*values)]
        else:
            columns = [time, *values, row, member]
        if len(lawful):
            intake.widen(key, at, int(lawful.min()), int(lawful.max()))
        for piece, rows in _pieces(time, key.holds):
            intake.spool.add(key, piece, columns if rows is None else [c[rows] for c in columns])


def _pieces(time: NDArray[np.int64], holds: str) -> Iterator[tuple[int, Any]]:
    """Months (days for trades) and which rows lie in each; None: all."""

    def number(times: NDArray[np.int64]) -> NDArray[np.int64]:
        if holds == "trades":
            return times // _DAY_MS
        return times.astype("datetime64[ms]").astype("datetime64[M]").astype(np.int64)

    ends = number(np.array([time.min(), time.max()]))
    if ends[0] == ends[1]:
        yield int(ends[0]), None
        return
    numbers = number(time)
    cuts = np.flatnonzero(np.diff(numbers)) + 1
    if len(cuts) < 4 * len(np.unique(numbers)):
        for first, last in zip([0, *cuts.tolist()], [*cuts.tolist(), len(time)], strict=True):
            yield int(numbers[first]), slice(first, last)
        return
    for one in np.unique(numbers):
        yield int(one), numbers == one


def _line(reading: Reading, row: int) -> int:
    return row + reading.first_line if reading.first_line else 0


def _bytes_per_row(reading: Reading) -> float:
    rows = reading.head.rows
    if not rows or reading.member.inner or reading.member.packed:
        return 0.0
    return sum(sum(len(c) + 1 for c in row) for row in rows) / len(rows)
