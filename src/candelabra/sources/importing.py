"""Files into a store: every row becomes (part of) a bar, or is listed with the reason; repeated runs change nothing and go on."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.disk import write_atomically
from candelabra.errors import CandelabraError, DataError, UsageError
from candelabra.progress import Reporter, Silent
from candelabra.sources.collect import naming_of
from candelabra.sources.import_group import Group, GroupMember
from candelabra.sources.import_report import ImportReport, Rejections, SeriesReport
from candelabra.sources.layout import Told
from candelabra.sources.members import VENUES, Member, Paths, find_files, members_of
from candelabra.sources.reading import open_member
from candelabra.sources.spool import ROWS_IN_MEMORY
from candelabra.sources.store import Store

__all__ = ["Wishes", "import_files"]

_JOURNAL: Final = ".imports"
_FORMAT: Final = 1


@dataclass(frozen=True)
class Wishes:
    """What the user says about an import; None leaves it to be recognised.

    ``most_rejected`` is the share of a series' rows that may be rejected before nothing of the series is stored. ``again`` imports files
    that were imported before. ``rows_in_memory`` bounds memory: beyond, rows wait on the disk.
    """

    exchange: str | None = None
    symbol: str | None = None
    timeframe: str | Timeframe | None = None
    told: Told = field(default_factory=Told)
    most_rejected: float = 0.01
    again: bool = False
    rows_in_memory: int = ROWS_IN_MEMORY

    def __post_init__(self) -> None:
        if not 0 <= self.most_rejected <= 1:
            raise UsageError(f"the share of rows that may be rejected lies between 0 and 1, got {self.most_rejected}")
        if self.timeframe is not None:
            timeframe(self.timeframe)


def import_files(
    paths: Paths,
    store: Store | None,
    wishes: Wishes | None = None,
    *,
    rejected_file: Path | None = None,
    progress: Reporter | None = None,
    now_ms: int | None = None,
) -> ImportReport:
    """Import candle and trade files into a store (None: a dry run, which stores nothing and says what would happen).

    A group of files, those of one exchange and symbol, is read whole before anything of it is stored; then it is noted as done, so that a
    run that was killed is repeated and goes on with the groups that were not. Rows that cannot be candles are rejected one by one and
    listed (all of them in ``rejected_file``, JSON lines); a series with too many, or whose price stands still, is refused as a whole.
    Files that cannot be read are named in ``refused``. Memory is bounded whatever the size of the files.

    Raises UsageError when nothing says which exchange or symbol a file is from, SourceError when the disk refuses.
    """
    wishes, progress = wishes or Wishes(), progress or Silent()
    now = int(time.time() * 1000) if now_ms is None else now_ms
    report = ImportReport(dry_run=store is None)
    files, many = find_files(paths)
    groups = _grouped(files, many, wishes, report, progress)
    with Rejections.written_to(rejected_file) as rejections:
        for group in groups:
            _import_group(group, store, wishes, report, rejections, progress, now)
        report.rejected, report.kinds = rejections.first, dict(sorted(rejections.kinds.items()))
        report.rejected_file = str(rejected_file) if rejected_file is not None and rejections.count else ""
    return report


def _grouped(files: Sequence[Path], many: bool, wishes: Wishes, report: ImportReport, progress: Reporter) -> list[Group]:
    """Members that belong together, by exchange, symbol and kind; what cannot be read goes into the report."""
    groups: dict[tuple[str, str, str], Group] = {}
    wanted = None if wishes.timeframe is None else timeframe(wishes.timeframe)
    with progress.stage("look at files", total=len(files)):
        for path in files:
            try:
                for member in members_of(path):
                    one = _looked_at(member, wishes, wanted, many)
                    key = (one.exchange, one.naming.symbol or "", one.reading.layout.holds)
                    groups.setdefault(key, Group(one.exchange, one.naming.symbol or "", wishes.symbol, wanted, many)).members.append(one)
            except UsageError:
                raise
            except CandelabraError as error:
                report.refused.append(str(error))
            progress.advance(1)
    return list(groups.values())


def _looked_at(member: Member, wishes: Wishes, wanted: Timeframe | None, many: bool) -> GroupMember:
    reading = open_member(member, wishes.told, _base(wishes.symbol), lenient=True)
    naming = naming_of(member, reading, wishes.symbol, wanted, many)
    exchange = wishes.exchange or reading.layout.venue or (naming.venue if naming.venue in VENUES else "")
    if not exchange:
        raise UsageError(
            f"{member.name} does not say which exchange it is from, and prices differ by exchange: name it (--exchange binance on the "
            "command line; simulated or unknown will do)"
        )
    if reading.layout.holds == "trades" and wanted is None:
        raise UsageError(f"{member.name} holds trades: name the bars to make of them (--timeframe 1s on the command line; up to 1d)")
    if naming.facts and naming.facts["source"] != naming.facts["timeframe"]:
        raise DataError(
            f"{member.name} holds {naming.facts['timeframe']} bars made of {naming.facts['source']} bars: a store keeps what was fetched "
            f"and makes other timeframes itself: import the {naming.facts['source']} candles"
        )
    if naming.symbol is None and reading.layout.symbol is None and reading.layout.series[0].symbol is None:
        naming.chosen([None], wishes.symbol, many, member.name)  # raises
    return GroupMember(reading, naming, exchange)


def _base(symbol: str | None) -> str | None:
    return None if symbol is None else symbol.split("/")[0]


def _import_group(
    group: Group, store: Store | None, wishes: Wishes, report: ImportReport, rejections: Rejections, progress: Reporter, now: int
) -> None:
    place = None if store is None else _journal_of(store, group, wishes)
    known = None if place is None or wishes.again else _read_journal(place)
    if known is not None:
        for one in known:
            report.series.append(one)
            report.books.add(one.books)
        progress.note(f"{group}: imported before, nothing to do (--again imports it again)")
        return
    with progress.stage(f"import {group}", total=sum(m.reading.member.size for m in group.members)):
        before = len(report.refused)
        made = group.read_and_store(store, wishes.most_rejected, wishes.rows_in_memory, rejections, report.refused, progress, now)
    for one in made:
        report.series.append(one)
        report.books.add(one.books)
    if place is not None and len(report.refused) == before and not any(one.refused for one in made):
        _write_journal(place, made)


def _journal_of(store: Store, group: Group, wishes: Wishes) -> Path:
    """Where it is noted that exactly these files were imported in exactly this way."""
    told = wishes.told
    said = [wishes.exchange, wishes.symbol, str(wishes.timeframe), wishes.most_rejected, told.form, sorted(told.columns.items())]
    said += [told.time_format, told.time_zone, told.stamps]
    files = []
    for one in group.members:
        path = one.reading.member.path
        stat = path.stat()
        files.append([str(path.resolve()), one.reading.member.inner, stat.st_size, stat.st_mtime_ns])
    seal = hashlib.sha256(json.dumps([_FORMAT, said, sorted(files)]).encode()).hexdigest()
    return store.root / _JOURNAL / f"{seal[:32]}.json"


def _read_journal(place: Path) -> list[SeriesReport] | None:
    """What an earlier run noted; None when there is nothing that can be trusted."""
    try:
        told = json.loads(place.read_bytes())
        found = [SeriesReport.of(one) for one in told["series"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    for one in found:
        one.before = True
    return found


def _write_journal(place: Path, made: Sequence[SeriesReport]) -> None:
    write_atomically(place, json.dumps({"series": [asdict(one) for one in made]}, indent=1).encode())
