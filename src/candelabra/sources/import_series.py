"""One series of an import, from rows put by to bars in the store: settled month by month, judged as a whole, then written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles, format_time
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import CandelabraError
from candelabra.sources.collect import Naming
from candelabra.sources.import_pieces import Columns, Piece, Settler, settle_candles, settle_trades
from candelabra.sources.import_report import Books, Rejected, Rejections, SeriesReport
from candelabra.sources.layout import Stamps
from candelabra.sources.provenance import Hole, Span, difference, runs
from candelabra.sources.reading import Chunk, Reading
from candelabra.sources.settle import distinct, frame_of_steps, step_counts
from candelabra.sources.spool import Spool
from candelabra.sources.stamps import seen_stamps
from candelabra.sources.store import Store

__all__ = ["Intake", "Key", "import_series"]

_WRITTEN_AT_ONCE: Final = 250_000
_NOTES: Final = 20
_FLAT_LEAST: Final = 50


@dataclass(frozen=True)
class Key:
    """What tells series of a group apart before their timeframe is known: ``step`` is its name, or how far apart the first bars are."""

    symbol: str
    step: str
    holds: Literal["candles", "trades"]


@dataclass(eq=False)
class Intake:
    """What the members of a group gave: rows in the spool, and what is known of each series and member."""

    spool: Spool
    readings: list[Reading]
    exchange: str
    reasons: dict[tuple[int, int], str] = field(default_factory=dict)
    simulated: dict[Key, bool] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)
    _books: dict[tuple[Key, int], Books] = field(default_factory=dict)
    _spans: dict[tuple[Key, int], Span] = field(default_factory=dict)
    _naming: dict[tuple[Key, int], Naming] = field(default_factory=dict)
    _steps: dict[tuple[int, str], str] = field(default_factory=dict)

    def key(self, at: int, symbol: str, chunk: Chunk, wanted: Timeframe | None, naming: Naming) -> Key:
        """The series that rows of a member belong to."""
        holds = self.readings[at].layout.holds
        frame = wanted or naming.frame
        step = str(frame)
        if frame is None and holds == "candles":
            # The first rows of each file and symbol tell files of different timeframes apart.
            step = self._steps.setdefault((at, symbol), _first_step(chunk.time))
        key = Key(symbol, step, holds)
        self._naming[key, at] = naming
        return key

    def books(self, key: Key, at: int) -> Books:
        """The books of a series for one member."""
        return self._books.setdefault((key, at), Books())

    def books_of(self, at: int) -> list[Books]:
        """The books of all series of a member."""
        return [books for (_, one), books in self._books.items() if one == at]

    def widen(self, key: Key, at: int, first_ms: int, last_ms: int) -> None:
        """A member has rows of a series from one time to another."""
        known = self._spans.get((key, at), (first_ms, last_ms))
        self._spans[key, at] = (min(known[0], first_ms), max(known[1], last_ms))

    def spans(self, key: Key) -> dict[int, Span]:
        """First and last time of a series by member."""
        return {at: span for (one, at), span in self._spans.items() if one == key}

    def facts(self, at: int) -> Iterator[tuple[Key, dict[str, Any]]]:
        """What our own files say about their series."""
        for (key, one), naming in self._naming.items():
            if one == at:
                yield key, naming.facts

    def frame(self, key: Key) -> Timeframe | None:
        """The timeframe that a name or the user states."""
        return next((n.frame for (one, _), n in self._naming.items() if one == key and n.frame is not None), None)

    def members(self, key: Key) -> list[Reading]:
        """The members that have rows of a series."""
        return [self.readings[at] for one, at in self._books if one == key]

    def series(self) -> list[Key]:
        """The series there are."""
        return list(dict.fromkeys(key for key, _ in self._books))

    def count(self, key: Key) -> Books:
        """The books of a series over all members."""
        total = Books()
        for (one, _), books in self._books.items():
            if one == key:
                total.add(books)
        return total

    def forget(self, at: int) -> None:
        """A member is refused: as if it had never been read."""
        self.refused.add(at)
        for kept in (self._books, self._spans, self._naming):
            for pair in [p for p in kept if p[1] == at]:
                del kept[pair]

    def load(self, key: Key, piece: int) -> Columns:
        """The rows of a piece without those of refused members."""
        columns = self.spool.load(key, piece)
        member = columns[-1] if key.holds == "candles" else columns[-2]
        if not self.refused or not np.isin(member, list(self.refused)).any():
            return columns
        keep = ~np.isin(member, list(self.refused))
        return tuple(c[keep] for c in columns)


def import_series(
    key: Key,
    name: str,
    wanted: Timeframe | None,
    intake: Intake,
    store: Store | None,
    most_rejected: float,
    rejections: Rejections,
    now_ms: int,
) -> SeriesReport:
    """Settle the rows of a series and store its bars; a series that cannot be believed is refused as a whole, with the reason."""
    members = intake.members(key)
    files = [reading.member.name for reading in members]
    form = ", ".join(dict.fromkeys(reading.layout.form for reading in members))
    notes = list(dict.fromkeys(note for reading in members for note in reading.notes()))
    if len(notes) > _NOTES:
        notes[_NOTES:] = [f"and {len(notes) - _NOTES} more such notes"]
    report = SeriesReport(intake.exchange, name, "", form, files, intake.count(key), notes=notes)
    try:
        frame, stamps = _placed(key, wanted, intake, name)
    except CandelabraError as error:
        return _refused(report, str(error), rejections)
    report.timeframe = frame.name
    if stamps != "open":
        where = "the last day of their month" if stamps == "month-end" else "their end"
        report.notes.append(f"bars are stamped at {where}; they were given their open times")
    settler = Settler(key.symbol, frame, stamps, intake.readings, intake.reasons, intake.spans(key), now_ms)
    pieces = _Pieces(key, intake, settler, rejections, report.books)
    run = _FlatRun()
    for piece in pieces:
        report.bars += len(piece.columns[0])
        run.add(piece.columns)
        if len(piece.columns[0]):
            report.first = report.first or format_time(int(piece.columns[0][0]))
            report.last = format_time(int(piece.columns[0][-1]))
    verdict = _verdict(report, run, most_rejected)
    if verdict:
        report.bars, report.first, report.last = 0, "", ""
        return _refused(report, verdict, rejections)
    if store is not None:
        _write(report, settler, pieces, intake, key, store, now_ms)
    return report


class _Pieces:
    """The settled pieces of a series, in order; settled once while the spool is in memory, again for each pass when it is not."""

    def __init__(self, key: Key, intake: Intake, settler: Settler, rejections: Rejections, books: Books) -> None:
        self._key, self._intake, self._settler, self._rejections, self._books = key, intake, settler, rejections, books
        self._kept: list[Piece] | None = None if intake.spool.on_disk else []
        self._first = True

    def __iter__(self) -> Iterator[Piece]:
        if not self._first and self._kept is not None:
            yield from self._kept
            return
        settle = settle_candles if self._key.holds == "candles" else settle_trades
        last = -(1 << 62)
        for number in self._intake.spool.pieces(self._key):
            columns = self._intake.load(self._key, number)
            if not len(columns[0]):
                continue
            piece = settle(columns, self._settler, last)
            last = int(piece.columns[0][-1]) if len(piece.columns[0]) else last
            if self._first:
                self._books.kept += piece.kept
                for kind, count in piece.left_out.items():
                    self._books.leave_out(kind, count)
                for one, kind in piece.rejected:
                    self._rejections.add(one, kind)
                    self._books.rejected += 1
                piece = Piece(piece.columns, piece.kept, piece.left_out, [], piece.doubtful)
                if self._kept is not None:
                    self._kept.append(piece)
            yield piece
        self._first = False


@dataclass
class _FlatRun:
    """The longest run of bars without any move, and how many bars there are, over pieces in order."""

    bars: int = 0
    longest: int = 0
    _current: int = 0
    _close: float = float("nan")

    def add(self, columns: Columns) -> None:
        """The next bars."""
        _, _, high, low, close, _ = columns
        if not len(close):
            return
        flat = (high == low) & (close == np.concatenate([[self._close], close[:-1]]))
        moves = np.flatnonzero(~flat)
        if not len(moves):
            self._current += len(flat)
            self.longest = max(self.longest, self._current)
        else:
            inside = int(np.diff(moves).max()) - 1 if len(moves) > 1 else 0
            self.longest = max(self.longest, self._current + int(moves[0]), inside, len(flat) - 1 - int(moves[-1]))
            self._current = len(flat) - 1 - int(moves[-1])
        self.bars += len(flat)
        self._close = float(close[-1])


def _verdict(report: SeriesReport, run: _FlatRun, most_rejected: float) -> str:
    """Why a series cannot be believed, or nothing."""
    books = report.books
    if not report.bars:
        return f"none of its {books.rows:,} rows is a bar"
    if books.rejected > most_rejected * books.rows:
        return (
            f"{books.rejected:,} of {books.rows:,} rows are no candles ({books.rejected / books.rows:.2%}, more than {most_rejected:.2%}): "
            "a source with so many is not to be believed elsewhere either; get the data again, or allow more (--most-rejected 1)"
        )
    if run.bars >= _FLAT_LEAST and run.longest >= 0.5 * run.bars:
        return f"the price does not move for {run.longest:,} of {run.bars:,} bars: nothing can be learned from it; is it the right column?"
    return ""


def _refused(report: SeriesReport, why: str, rejections: Rejections) -> SeriesReport:
    """A series of which nothing is stored: all its rows that were not yet rejected or left out are rejected with it."""
    books = report.books
    rest = books.rows - books.rejected - sum(books.left_out.values())
    books.kept, books.rejected = 0, books.rejected + rest
    if rest:
        where = report.files[0] if len(report.files) == 1 else f"{report.files[0]} and {len(report.files) - 1} more files"
        rejections.add(Rejected(where, 0, 0, "", f"the series is refused: {why}", report.symbol, rows=rest), "series refused")
    report.refused = why
    return report


def _placed(key: Key, wanted: Timeframe | None, intake: Intake, name: str) -> tuple[Timeframe, Stamps]:
    """The timeframe of a series and where in its bars the stamps lie."""
    members = intake.members(key)
    if key.holds == "trades":
        assert wanted is not None
        return wanted, "open"
    stated = wanted or intake.frame(key)
    counts: dict[int, int] = {}
    first = last = None
    all_times = []
    for number in intake.spool.pieces(key):
        times = intake.load(key, number)[0]
        if not len(times):
            continue
        times = distinct(times)
        for step, count in step_counts(times).items():
            counts[step] = counts.get(step, 0) + count
        if last is not None and (over := int(times[0]) - last) > 0:
            counts[over] = counts.get(over, 0) + 1
        first = int(times[0]) if first is None else first
        last = int(times[-1])
        all_times.append(times[:1000])
    where = f"{members[0].member.name} ({name})"
    frame = frame_of_steps(counts, first or 0, where, stated)
    told = members[0].told.stamps or next((m.layout.stamps for m in members if m.layout.stamps is not None), None)
    if told is not None:
        return frame, told
    seen = {seen_stamps(times, frame) for times in all_times}
    return frame, seen.pop() if len(seen) == 1 else "open"


def _first_step(times: NDArray[np.int64]) -> str:
    steps = np.abs(np.diff(times))
    steps = steps[(steps > 0) & (steps < 1 << 45)]
    if not len(steps):
        return "one bar"
    step = int(np.median(steps))
    if (steps == step).mean() < 0.5:
        values, counts = np.unique(steps, return_counts=True)
        step = int(values[np.argmax(counts)])
    return f"{step} ms" if step < 28 * 86_400_000 else "months"


def _write(report: SeriesReport, settler: Settler, pieces: _Pieces, intake: Intake, key: Key, store: Store, now_ms: int) -> None:
    """Write bars in large lots, each stretch of time that some file covers with why bars are absent in it."""
    covered = settler.covered if key.holds == "candles" else [settler.whole]
    held: list[Piece] = []
    begin = covered[0][0] if covered else 0
    source = _source(report)
    absent = {reading.layout.absent for reading in intake.members(key)}
    kind: Any = absent.pop() if len(absent) == 1 else ""

    def flush(end: int) -> None:
        nonlocal begin
        columns = tuple(np.concatenate([p.columns[k] for p in held]) for k in range(6))
        doubtful = [span for p in held for span in p.doubtful]
        for start, stop in ((max(a, begin), min(b, end)) for a, b in covered if a < end and begin < b):
            first, last = np.searchsorted(columns[0], [start, stop])
            if first == last:
                continue
            time, *values = (c[first:last] for c in columns)
            candles = Candles.of(
                report.symbol, settler.frame, time, *values, span=(start, stop), simulated=intake.simulated.get(key, False)
            )
            holes = []
            if kind:
                empty = difference([(start, stop)], [*runs(candles.open_time, settler.frame), *doubtful])
                holes = [Hole(a, b, kind) for a, b in empty]
            done = store.write(candles, exchange=report.exchange, source=source, fetched_ms=now_ms, holes=holes)
            report.added += done.added
            report.unchanged += done.unchanged
            report.revised += done.revised
        begin = end
        held.clear()

    rows = 0
    for piece in pieces:
        if rows + len(piece.columns[0]) > _WRITTEN_AT_ONCE and rows:
            flush(int(settler.frame.next(max(int(p.columns[0][-1]) for p in held if len(p.columns[0])))))
            rows = 0
        held.append(piece)
        rows += len(piece.columns[0])
    if rows:
        flush(covered[-1][1])


def _source(report: SeriesReport) -> str:
    """Where bars came from, as the store keeps it."""
    from pathlib import Path

    names = sorted(Path(name).name for name in report.files)
    shown = names[0] if len(names) == 1 else f"{names[0]} .. {names[-1]} ({len(names)} files)"
    return f"import of {shown} ({report.form})"
