"""Is every byte of a stored series what was written? Reads all of it, and holds up nobody."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from candelabra.candles.frame import law_breaks
from candelabra.disk import PART
from candelabra.errors import DataError, SourceError
from candelabra.sources.bars import Bars
from candelabra.sources.manifest import MANIFEST, Manifest
from candelabra.sources.month_files import MonthFile, decode, digest, month_span
from candelabra.sources.series import Series
from candelabra.sources.tail import TAIL, read_revisions, read_tail, unsound_pages

__all__ = ["Finding", "months_on_disk", "proven", "unlawful", "verify"]

_ATTEMPTS: Final = 5


@dataclass(frozen=True)
class Finding:
    """Something about a file of a series; ``harmless``: reads are right all the same, and the next write clears it."""

    series: str
    file: str
    what: str
    harmless: bool = False


def verify(series: Series) -> list[Finding]:
    """Compare every file of a series with what was written: hashes, page checksums, values, order, the laws of candles, the tail.

    A writer at work is not held up; what it changed meanwhile is looked at again.
    """
    for _ in range(_ATTEMPTS):
        before = _stamp(series)
        found = _look(series)
        if all(f.harmless for f in found) or _stamp(series) == before:
            break
    return found


def proven(series: Series, name: str) -> tuple[Bars, MonthFile, bool]:
    """The rows of a month's file that proves itself by its own header, its entry, and whether it is of a simulated market.

    DataError when it is damaged, of another series or month, or holds what is no candle.
    """
    path = series.folder / f"{name}.parquet"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot read {path}: {error.strerror or error}; check the disk and the file's rights") from error
    bars, facts = decode(data, path)
    start, end = month_span(name)
    wrong = [f"{key} {facts.get(key)}" for key, value in series.facts().items() if facts.get(key) != value]
    if wrong:
        raise DataError(f"{path} is of another series ({', '.join(wrong)})")
    if not len(bars) or digest(bars) != facts.get("digest"):
        raise DataError(f"{path} is damaged (its values do not fit the digest in its header)")
    if bars.open_time[0] < start or bars.open_time[-1] >= end or unlawful(series, bars):
        raise DataError(f"{path} holds rows that are not candles of {name}")
    entry = MonthFile(len(bars), int(bars.open_time[0]), int(bars.open_time[-1]), len(data), hashlib.sha256(data).hexdigest())
    return bars, entry, bool(facts.get("simulated"))


def unlawful(series: Series, bars: Bars) -> bool:
    """Whether rows are not candles in rising order on the series' grid."""
    off_grid = series.timeframe.floor(bars.open_time) != bars.open_time
    return bool(law_breaks(*bars.values).any() or off_grid.any() or (np.diff(bars.open_time) <= 0).any())


def months_on_disk(series: Series) -> set[str]:
    """The months there are files of, known to the manifest or not."""
    found = set()
    for path in series.folder.glob("????-??.parquet"):
        try:
            month_span(path.stem)
        except ValueError:
            continue
        found.add(path.stem)
    return found


def _look(series: Series) -> list[Finding]:
    found: list[Finding] = []

    def tell(file: str, what: object, harmless: bool = False) -> None:
        found.append(Finding(str(series), file, str(what), harmless))

    for path in sorted(series.folder.glob(f".*{PART}")):
        tell(path.name, "left by a writer that was killed, or of one at work", harmless=True)
    try:
        manifest = series.manifest()
    except DataError as error:
        tell(MANIFEST, error)
        return found
    for name in sorted(months_on_disk(series) - {*manifest.files, *manifest.pending}):
        tell(f"{name}.parquet", "is not in the manifest: `candelabra store repair` takes it in if it is sound")
    for name in sorted({*manifest.files, *manifest.pending}):
        try:
            series.month(manifest, name, 0, 0)
            if name in manifest.files:
                _compare(series, manifest, name)
        except DataError as error:
            tell(f"{name}.parquet", error)
    if manifest.pending:
        tell(MANIFEST, "announces files of a writer that was killed, or of one at work", harmless=True)
    _look_at_tail(series, manifest, tell)
    return found


def _compare(series: Series, manifest: Manifest, name: str) -> None:
    _, entry, simulated = proven(series, name)
    if entry not in (manifest.files[name], manifest.pending.get(name)) or simulated != manifest.simulated:
        raise DataError(f"{series.folder / name}.parquet is sound, and not as the manifest says: `candelabra store repair` takes it in")


def _look_at_tail(series: Series, manifest: Manifest, tell: Callable[[str, object], None]) -> None:
    try:
        tail = read_tail(series.folder, manifest.tail)
        read_revisions(series.folder, manifest.tail)
        unsound = unsound_pages(series.folder)
    except DataError as error:
        tell(TAIL, error)
        return
    if unsound:
        tell(TAIL, f"its structure is damaged, though every row is sound: {unsound}")
    if unlawful(series, tail.bars):
        tell(TAIL, "holds rows that are not candles")


def _stamp(series: Series) -> tuple[object, ...]:
    """Changes when a writer has changed something."""
    try:
        manifest = series.manifest()
        return manifest, read_tail(series.folder, manifest.tail).sequence
    except DataError as error:
        return (str(error),)
