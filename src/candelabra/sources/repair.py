"""A damaged series made readable again: what is sound is kept, what is damaged is put aside, and what must be fetched again is said.

Nothing is deleted but the unfinished files of killed writers. Where bars may be gone, only the bars that are there count as fetched.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from candelabra.disk import sync_folder
from candelabra.errors import DataError
from candelabra.sources.bars import Bars
from candelabra.sources.care import months_on_disk, proven
from candelabra.sources.lock import writing
from candelabra.sources.manifest import MANIFEST, Manifest, write_manifest
from candelabra.sources.month_files import MonthFile, month_span
from candelabra.sources.provenance import Ledger, Span, difference, runs, union
from candelabra.sources.series import Series, aside
from candelabra.sources.tail import TAIL, Salvage, create_tail, read_revisions, read_tail, salvage, unsound_pages, writing_tail

__all__ = ["Mended", "repair"]

_SOURCE: Final = "found by repair"
_SCRATCH: Final = ".repair"


@dataclass(frozen=True)
class Mended:
    """What was done about a file, and the stretches (ms UTC) that must be fetched again because of it."""

    series: str
    file: str
    what: str
    fetch: tuple[Span, ...] = ()


@dataclass
class _Findings:
    """What repair has found out so far."""

    files: dict[str, MonthFile] = field(default_factory=dict)
    bars: dict[str, Bars] = field(default_factory=dict)
    doubtful: dict[str, tuple[str, Span | None]] = field(default_factory=dict)  # month: what was done; what the manifest said it held
    simulated: bool = False


def repair(series: Series) -> list[Mended]:
    """Mend a series; empty when nothing had to be done. SourceError when another process is writing it."""
    with writing(series.folder, str(series)):
        done = [Mended(str(series), name, "removed: unfinished, of a writer that was killed") for name in series.sweep()]
        shutil.rmtree(series.folder / _SCRATCH, ignore_errors=True)
        manifest, why_manifest = _manifest(series)
        saved = salvage(series.folder)
        why_tail = _unsound_tail(series, manifest.tail if manifest else saved.id)
        found = _months(series, manifest)
        if not (done or why_manifest or why_tail or found.doubtful or (manifest and manifest.pending)):
            return []
        simulated = manifest.simulated if manifest else found.simulated or bool(saved.simulated)
        before = union([*saved.ledger.covered(), *(span for _, span in found.doubtful.values() if span)])
        present = union(run for bars in (*found.bars.values(), saved.bars) for run in runs(bars.open_time, series.timeframe))
        now = int(time.time() * 1000)
        ledger = saved.ledger
        if why_manifest or why_tail:
            ledger = ledger.only(present, _SOURCE, now)
        for name, (what, _) in found.doubtful.items():
            span = month_span(name)
            here = _common(present, span)
            ledger = ledger.only(here, _SOURCE, now, within=span)
            done.append(Mended(str(series), f"{name}.parquet", what, tuple(difference(_common(before, span), here))))
        identity = manifest.tail if manifest else saved.id or ""
        if why_tail:
            identity, where = _new_tail(series, saved, ledger, simulated)
            lost = "nobody knows how many are lost" if saved.bars_lost is None else f"{max(0, saved.bars_lost)} are lost"
            newest = present[-1][1] if present else 0
            floor = int(series.timeframe.floor(now))
            fetch = difference([*before, (newest, floor)] if newest else before, [*present, *(month_span(n) for n in found.doubtful)])
            what = f"begun anew with the {len(saved.bars)} bars of it that are sound ({lost}){where} ({why_tail})"
            done.append(Mended(str(series), TAIL, what, tuple(fetch)))
        elif ledger != saved.ledger:
            with writing_tail(series.folder, identity) as change:
                change.put_ledger(ledger)
        if why_manifest and (series.folder / MANIFEST).exists():
            why_manifest += f"; the damaged one is {aside(series.folder, MANIFEST).relative_to(series.folder)}"
        if why_manifest:
            fetch = [] if why_tail else difference(before, [*present, *(month_span(n) for n in found.doubtful)])
            done.append(Mended(str(series), MANIFEST, f"rebuilt from the files themselves ({why_manifest})", tuple(fetch)))
        elif manifest and manifest.pending:
            done.append(Mended(str(series), MANIFEST, "settled: it announced files of a writer that was killed"))
        write_manifest(series.folder, Manifest(series.exchange, series.symbol, series.timeframe.name, simulated, identity, found.files))
        return done


def _manifest(series: Series) -> tuple[Manifest | None, str]:
    try:
        return series.manifest(), ""
    except DataError as error:
        return None, str(error)


def _unsound_tail(series: Series, identity: str | None) -> str:
    """What is wrong with the tail; empty when nothing."""
    try:
        if identity is None:
            return f"{series.folder / TAIL} does not say what it is"
        read_tail(series.folder, identity)
        read_revisions(series.folder, identity)
        return unsound_pages(series.folder)
    except DataError as error:
        return str(error)


def _months(series: Series, manifest: Manifest | None) -> _Findings:
    """Every month's file: vouched for, taken in because it proves itself, or put aside."""
    found = _Findings()
    settled = series.settled(manifest).files if manifest else {}
    for name in sorted(months_on_disk(series) | settled.keys()):
        path, entry = series.folder / f"{name}.parquet", settled.get(name)
        said = (entry.first_ms, int(series.timeframe.next(entry.last_ms))) if entry else None
        if not path.exists():
            found.doubtful[name] = ("gone", said)
            continue
        try:
            bars, own, simulated = proven(series, name)
        except DataError as error:
            found.doubtful[name] = (f"damaged, now {aside(series.folder, path.name).relative_to(series.folder)} ({error})", said)
            continue
        found.bars[name], found.files[name] = bars, own
        found.simulated |= simulated
        if own != entry and manifest is not None:
            held = f"the manifest said {entry.rows:,}" if entry else "the manifest did not know it"
            found.doubtful[name] = (f"taken in: it is sound by its own header, with {own.rows:,} bars ({held})", said)
    return found


def _new_tail(series: Series, saved: Salvage, ledger: Ledger, simulated: bool) -> tuple[str, str]:
    """A tail with what could be saved in the place of the damaged one; its id, and where that one is now, in words."""
    scratch = series.folder / _SCRATCH
    scratch.mkdir()
    identity = create_tail(scratch, simulated)
    with writing_tail(scratch, identity) as change:
        change.put(saved.bars)
        change.put_ledger(ledger)
        change.log(saved.revisions)
    where = "; it was gone"
    if (series.folder / TAIL).exists():
        where = f"; the damaged one is {aside(series.folder, TAIL).relative_to(series.folder)}"
    os.replace(scratch / TAIL, series.folder / TAIL)
    sync_folder(series.folder)
    shutil.rmtree(scratch, ignore_errors=True)
    return identity, where


def _common(spans: Iterable[Span], span: Span) -> list[Span]:
    return difference([span], difference([span], spans))
