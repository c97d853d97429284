"""One stored series: rows from month files and tail as one, and writes that can be killed at any instant.

A write goes to the tail in one transaction. When the tail is full, or a write is large or revises a month file, rows are folded into
month files:

1. the new files are written beside their places; 2. the manifest announces them (``pending``); 3. each is renamed to its place;
4. the manifest has them; 5. one transaction on the tail drops the folded rows and notes what was fetched.

Killed between any two steps, every bar is in a file the manifest vouches for, or in the tail, or in both with the same value. A reader
takes the tail first and the files after it, so that a fold meanwhile shows it rows twice but never not at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.disk import PART, place, sync_folder, temporary_beside
from candelabra.errors import DataError, SourceError, UsageError
from candelabra.sources.bars import Bars, over
from candelabra.sources.lock import writing
from candelabra.sources.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from candelabra.sources.month_files import MonthFile, decode, encode, month_names, month_of, month_span
from candelabra.sources.provenance import Hole, Ledger, Span, check_holes, difference, runs, widened
from candelabra.sources.tail import TAIL, Revision, Tail, create_tail, foreign, is_blank, read_tail, sequence, writing_tail

__all__ = ["QUARANTINE", "Look", "Series", "Snapshot", "Summary", "WriteReport", "aside"]

QUARANTINE: Final = "quarantine"
_TAIL_BARS: Final = 2_000
"""Bars the tail may hold before it is folded: a day and a half of minutes; a read of them takes 3 ms."""
_ATTEMPTS: Final = 8


@dataclass(frozen=True)
class WriteReport:
    """What a write did with the bars it was given: ``added + revised + unchanged`` is their number.

    ``repaired``: how many of the added ones filled a hole in what had been fetched before.
    """

    added: int = 0
    unchanged: int = 0
    revised: int = 0
    repaired: int = 0

    @property
    def bars(self) -> int:
        """How many bars were given."""
        return self.added + self.unchanged + self.revised


@dataclass(frozen=True)
class Summary:
    """A series in figures: bars, open time of the first and end of the last (ms), bars still in the tail, revisions, bytes on the disk.

    ``fetched``: the stretches that were fetched.
    """

    bars: int
    start_ms: int
    end_ms: int
    tail: int
    revisions: int
    bytes: int
    simulated: bool
    fetched: tuple[Span, ...]


@dataclass(frozen=True, eq=False)
class Look:
    """A series without its month files: what the manifest vouches for, and the tail, which is not older."""

    manifest: Manifest
    tail: Tail


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A series at one instant: the rows asked for, everything known about its times, and what it is."""

    bars: Bars
    ledger: Ledger
    manifest: Manifest


@dataclass(frozen=True)
class Series:
    """One series of a store by its place; the methods raise DataError for damage and SourceError for a disk or lock that refuses."""

    folder: Path
    exchange: str
    symbol: str
    timeframe: Timeframe

    def __str__(self) -> str:
        return f"{self.symbol} {self.timeframe} of {self.exchange}"

    def facts(self) -> dict[str, str]:
        """What the header of each of its month files says of it."""
        return {"exchange": self.exchange, "symbol": self.symbol, "timeframe": self.timeframe.name, "source": self.timeframe.name}

    def exists(self) -> bool:
        """Whether something is stored, be it damaged."""
        return (self.folder / MANIFEST).exists() or any(self.folder.glob("????-??.parquet")) or not is_blank(self.folder)

    def manifest(self) -> Manifest:
        """The manifest, which must be this series'."""
        found = read_manifest(self.folder)
        if (found.exchange, found.symbol, found.timeframe) != (self.exchange, self.symbol, self.timeframe.name):
            raise DataError(
                f"{self.folder} should hold {self}, and its manifest is of {found.symbol} {found.timeframe} of {found.exchange}: "
                "put the folder back in its place"
            )
        return found

    def look(self) -> Look:
        """The tail, with all that is known about the series' times, and the manifest, in this order.

        A fold moves bars from the tail to files and then drops them there: a manifest older than the tail could know of neither.
        """
        try:
            tail = read_tail(self.folder)
        except DataError:
            self.manifest()  # when that is damaged too, it is the first thing to say
            raise
        manifest = self.manifest()
        if manifest.tail != tail.id:
            raise foreign(self.folder)
        return Look(manifest, tail)

    def summary(self) -> Summary:
        """The series in figures, from the manifest and the tail; month files are read only where the tail reaches into them."""
        seen = self.look()
        tail, manifest = seen.tail, seen.manifest
        entries = manifest.files | manifest.pending
        times = tail.bars.open_time
        doubles = 0
        for name in month_names(np.unique(month_of(times))) if len(times) else []:
            if name in entries and int(times[0]) <= entries[name].last_ms:
                doubles += int(np.isin(times, self.month(manifest, name).open_time).sum())
        firsts = [*(e.first_ms for e in entries.values()), *times[:1].tolist()]
        lasts = [*(e.last_ms for e in entries.values()), *times[-1:].tolist()]
        end = int(self.timeframe.next(max(lasts))) if lasts else 0
        size = sum(path.stat().st_size for path in self.folder.iterdir() if path.is_file())
        bars = sum(e.rows for e in entries.values()) + len(times) - doubles
        fetched = tuple(tail.ledger.covered())
        return Summary(bars, min(firsts, default=0), end, len(times), tail.revisions, size, manifest.simulated, fetched)

    def snapshot(self, start_ms: int, end_ms: int, seen: Look | None = None) -> Snapshot:
        """The bars that open in ``[start_ms, end_ms)``; ``seen``: from a look just taken.

        Writers are not waited for: what changes meanwhile is read again.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            seen = self.look() if seen is None else seen
            manifest, tail = seen.manifest, seen.tail
            try:
                parts = [
                    self.month(manifest, name, start_ms, end_ms)
                    for name in sorted({*manifest.files, *manifest.pending})
                    if _meet(month_span(name), (start_ms, end_ms))
                ]
            except DataError:
                now = self.look()
                if attempt == _ATTEMPTS or (now.manifest == manifest and now.tail.sequence == tail.sequence):
                    raise
                seen = now
                continue
            if attempt < 3 and sequence(self.folder, manifest.tail) != tail.sequence:
                seen = None
                continue  # a revision folded meanwhile would mix two instants; a busy writer must not hold a reader up for ever
            return Snapshot(over(tail.bars.between(start_ms, end_ms), Bars.joined(parts)), tail.ledger, manifest)
        raise AssertionError("unreachable")

    def month(self, manifest: Manifest, name: str, start_ms: int | None = None, end_ms: int | None = None) -> Bars:
        """The rows of a month's file, which must be the one the manifest vouches for, or announces."""
        path = self.folder / f"{name}.parquet"
        expected = [entry for entry in (manifest.files.get(name), manifest.pending.get(name)) if entry is not None]
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            if name not in manifest.files:
                return Bars.none()  # announced, and its writer was killed before it came
            raise DataError(f"{path} is gone: `candelabra store repair` says what to fetch again") from None
        except OSError as error:
            raise SourceError(f"cannot read {path}: {error.strerror or error}; check the disk and the file's rights") from error
        seal = hashlib.sha256(data).hexdigest()
        if all(entry.sha256 != seal for entry in expected):
            raise DataError(
                f"{path} is damaged, or not the file that was written (sha256 {seal[:12]}…, the manifest says {expected[0].sha256[:12]}…): "
                "`candelabra store repair` puts it aside and says what to fetch again"
            )
        return decode(data, path, start_ms, end_ms)[0]

    def write(self, candles: Candles, source: str, fetched_ms: int, holes: Iterable[Hole] = ()) -> WriteReport:
        """Upsert bars by open time; see `Store.write`."""
        told = check_holes(holes, candles.span, str(self))
        self.folder.mkdir(parents=True, exist_ok=True)
        with writing(self.folder, str(self)):
            manifest = self._begun(candles.simulated)
            with writing_tail(self.folder, manifest.tail) as change:
                tail = change.tail
                given = Bars.of(candles)
                added, revised, old = self._compared(manifest, tail, given)
                fresh, changed = given.rows(added), given.rows(revised)
                log = _revisions(tail.ledger, old, changed, source, fetched_ms)
                stretches = {"added": runs(fresh.open_time, self.timeframe), "revised": runs(changed.open_time, self.timeframe)}
                absent = difference([candles.span], runs(given.open_time, self.timeframe)) if told else []
                after = tail.ledger.after(candles.span, source, fetched_ms, **stretches, holes=widened(told, absent))
                at_once = len(fresh) > _TAIL_BARS
                if not at_once and (len(fresh) or log or after != tail.ledger):
                    change.put(over(fresh, changed))
                    change.log(log)
                    change.put_ledger(after)
                elif log:  # before files take the new values, the old ones must be on record
                    change.put(changed)
                    change.log(log)
                    change.put_ledger(tail.ledger.after((0, 0), source, fetched_ms, revised=stretches["revised"]))
            rows = over(changed, tail.bars)
            # A revised bar of a month file does not rest in the tail: should the tail be lost, the file would give the old value.
            in_files = bool((~np.isin(changed.open_time, tail.bars.open_time)).any())
            if at_once or in_files or len(rows) + len(fresh) > _TAIL_BARS:
                self._fold(manifest, over(fresh, rows), after)
            repaired = self._repaired(tail.ledger, fresh)
        return WriteReport(len(fresh), len(given) - len(fresh) - len(changed), len(changed), repaired)

    def record(self, span: Span, source: str, fetched_ms: int, holes: Iterable[Hole] = ()) -> None:
        """Note that a stretch was asked for and what is absent in it, without new bars; see `Store.record`."""
        told = check_holes(holes, span, str(self))
        if not self.exists():
            raise UsageError(f"nothing of {self} is stored yet: write its first candles before noting what is absent among them")
        with writing(self.folder, str(self)), writing_tail(self.folder, self._taken_over().tail) as change:
            change.put_ledger(change.tail.ledger.after(span, source, fetched_ms, holes=told))

    def compact(self) -> int:
        """Fold the tail into month files; gives how many bars were folded."""
        with writing(self.folder, str(self)):
            manifest = self._taken_over()
            tail = read_tail(self.folder, manifest.tail)
            if len(tail.bars):
                self._fold(manifest, tail.bars, tail.ledger)
            return len(tail.bars)

    def sweep(self) -> list[str]:
        """Remove what killed writers left behind (the caller is the only writer); the names removed."""
        left = sorted(self.folder.glob(f".*{PART}"))
        for path in left:
            path.unlink(missing_ok=True)
        return [path.name for path in left]

    def _taken_over(self) -> Manifest:
        """The manifest, with what a killed writer left unfinished cleared up (the caller is the only writer)."""
        self.sweep()
        manifest = self.manifest()
        if manifest.pending:
            manifest = self.settled(manifest)
            write_manifest(self.folder, manifest)
        return manifest

    def _fold(self, manifest: Manifest, rows: Bars, ledger: Ledger) -> None:
        """Month files with these rows over what they had; then the tail without bars and with this ledger."""
        temporaries: dict[Path, Path] = {}
        entries: dict[str, MonthFile] = {}
        months = month_of(rows.open_time)
        facts = self.facts() | ({"simulated": True} if manifest.simulated else {})
        try:
            for month, name in zip(*_distinct(months), strict=True):
                new = rows.rows(months == month)
                whole = over(new, self.month(manifest, name)) if name in manifest.files else new
                span = [int(whole.open_time[0]), int(self.timeframe.next(whole.open_time[-1]))]
                data, entries[name] = encode(whole, facts | {"span": span})
                path = self.folder / f"{name}.parquet"
                temporaries[path] = temporary_beside(path, data)
            write_manifest(self.folder, replace(manifest, pending=entries))
            place(temporaries)
        except BaseException:
            for temporary in temporaries.values():
                temporary.unlink(missing_ok=True)
            raise
        write_manifest(self.folder, replace(manifest, files=manifest.files | entries))
        with writing_tail(self.folder, manifest.tail) as change:
            change.drop_bars()
            change.put_ledger(ledger)

    def settled(self, manifest: Manifest) -> Manifest:
        """The manifest of a series whose last writer may have been killed: each month as its file is now."""
        files = dict(manifest.files)
        for name, entry in manifest.pending.items():
            path = self.folder / f"{name}.parquet"
            if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256:
                files[name] = entry
        return replace(manifest, files=files, pending={})

    def _begun(self, simulated: bool) -> Manifest:
        """The manifest, made with an empty tail when this is the first write."""
        if not self.exists():
            self.sweep()
            if (self.folder / TAIL).exists():  # left by a writer killed while it began
                aside(self.folder, TAIL)
            manifest = Manifest(self.exchange, self.symbol, self.timeframe.name, simulated, create_tail(self.folder, simulated))
            write_manifest(self.folder, manifest)
            for parent in (self.folder.parent, self.folder.parent.parent, self.folder.parent.parent.parent):
                sync_folder(parent)
            return manifest
        manifest = self._taken_over()
        if manifest.simulated != simulated:
            kinds = ("a simulated market", "real candles")
            raise DataError(
                f"{self}: the store holds {kinds[not manifest.simulated]}, and these are of {kinds[not simulated]}: "
                "give the simulated ones an exchange name of their own, such as simulated"
            )
        return manifest

    def _compared(self, manifest: Manifest, tail: Tail, given: Bars) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Bars]:
        """Which rows are new, which differ from what is stored, and the stored values of the latter."""
        none = np.zeros(len(given), np.bool_)
        if not len(given):
            return none, none, Bars.none()
        start, end = int(given.open_time[0]), int(given.open_time[-1]) + 1
        names = sorted(n for n in {*manifest.files, *manifest.pending} if _meet(month_span(n), (start, end)))
        newest = max((entry.last_ms for n in names for entry in _entries(manifest, n)), default=-1)
        parts = [self.month(manifest, name, start, end) for name in names] if start <= newest else []
        stored = over(tail.bars.between(start, end), Bars.joined(parts))
        known = np.isin(given.open_time, stored.open_time)
        match = stored.rows(np.searchsorted(stored.open_time, given.open_time[known]))
        differs = none.copy()
        differs[known] = ~given.rows(known).same_values(match)
        return ~known, differs, match.rows(differs[known])

    def _repaired(self, ledger: Ledger, fresh: Bars) -> int:
        covered = np.array(ledger.covered(), np.int64).reshape(-1, 2)
        at = np.searchsorted(covered[:, 0], fresh.open_time, "right") - 1
        return int(((at >= 0) & (fresh.open_time < covered[at, 1])).sum()) if len(covered) else 0


def aside(folder: Path, name: str) -> Path:
    """Move a file (a database with its log) of a series into its quarantine; gives the new place."""
    place_ = folder / QUARANTINE
    place_.mkdir(exist_ok=True)
    number = 1
    while (place_ / f"{name}.{number}").exists():
        number += 1
    target = place_ / f"{name}.{number}"
    for ending in ("-wal", "-shm") if name == TAIL else ():
        if (folder / f"{name}{ending}").exists():
            (folder / f"{name}{ending}").rename(place_ / f"{name}.{number}{ending}")
    (folder / name).rename(target)
    sync_folder(place_)
    sync_folder(folder)
    return target


def _revisions(ledger: Ledger, old: Bars, new: Bars, source: str, noted_ms: int) -> list[Revision]:
    starts = np.array([f.start_ms for f in ledger.fetched], np.int64)
    found = []
    for row, time in enumerate(new.open_time.tolist()):
        at = int(np.searchsorted(starts, time, "right")) - 1
        before = ledger.fetched[at].source if at >= 0 and time < ledger.fetched[at].end_ms else ""
        found.append(Revision(time, old.row(row), new.row(row), source, noted_ms, before))
    return found


def _entries(manifest: Manifest, name: str) -> list[MonthFile]:
    return [entry for entry in (manifest.files.get(name), manifest.pending.get(name)) if entry is not None]


def _distinct(months: NDArray[np.int64]) -> tuple[list[int], list[str]]:
    found = np.unique(months)
    return found.tolist(), month_names(found)


def _meet(a: Span, b: Span) -> bool:
    return a[0] < b[1] and b[0] < a[1]
