"""Binance Vision: years of candles as zip archives by month and day, from the web or a folder, imported once their checksums fit."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import DataError, UsageError
from candelabra.progress import Reporter, Silent
from candelabra.sources.exchanges.archives import Place
from candelabra.sources.exchanges.fetching import sole_collector
from candelabra.sources.exchanges.funding import Funding, write_funding
from candelabra.sources.import_report import ImportReport
from candelabra.sources.importing import Wishes, import_files
from candelabra.sources.provenance import Hole, Span, difference
from candelabra.sources.store import Store

__all__ = ["VisionReport", "fetch_archives"]

_EXCHANGE: Final = "binance"
_AT_ONCE: Final = 6
"""Months downloaded, then imported, together."""
_DAYS_BACK_MS: Final = 40 * 86_400_000
"""How far back days may stand in for a month whose archive is not there yet."""


@dataclass
class VisionReport:
    """What came out of archives for one symbol: files imported, bars added, what was refused and why, months that are not there."""

    symbol: str
    timeframe: Timeframe
    files: list[str] = field(default_factory=list)
    added: int = 0
    refused: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    funding: int = 0


async def fetch_archives(
    place: Place,
    store: Store,
    symbol: str,
    timeframe: Timeframe,
    start_ms: int,
    end_ms: int,
    *,
    funding: bool = False,
    progress: Reporter | None = None,
) -> VisionReport:
    """Import the archives of whole months of ``[start_ms, end_ms)`` that the store has not yet, and of days where the newest months have
    none. Nothing is imported that its CHECKSUM does not fit. Raises SourceError when the place does not answer.
    """
    watch = progress or Silent()
    report = VisionReport(symbol, timeframe)
    with sole_collector(store, _EXCHANGE, symbol, timeframe):
        months = [
            span
            for span in _periods(start_ms, end_ms, Timeframe("1M"))
            if store.spans_not_fetched(symbol, timeframe, *_whole(span, timeframe), exchange=_EXCHANGE)
        ]
        with (
            watch.stage(f"archives of {symbol} {timeframe}", total=len(months)),
            tempfile.TemporaryDirectory(prefix="candelabra-") as folder,
        ):
            for at in range(0, len(months), _AT_ONCE):
                batch = months[at : at + _AT_ONCE]
                found = await asyncio.gather(*(_of_month(place, symbol, timeframe, month, end_ms, Path(folder), report) for month in batch))
                paths = [path for paths in found for path in paths]
                if paths:
                    await asyncio.to_thread(_imported, store, symbol, timeframe, paths, report)
                for month, got in zip(batch, found, strict=True):
                    if len(got) == 1 and month[1] <= end_ms:
                        _vouched(store, symbol, timeframe, month, got[0].name)
                watch.advance(len(batch))
        if funding:
            await _funding(place, store, symbol, start_ms, end_ms, report)
    report.refused.sort()
    report.absent.sort()
    return report


async def _of_month(
    place: Place, symbol: str, timeframe: Timeframe, month: Span, end_ms: int, folder: Path, report: VisionReport
) -> list[Path]:
    """The verified archives of a month: one, or those of its days."""
    name = _date(month[0], "M")
    if month[1] <= end_ms:
        got = await _verified(place, symbol, timeframe.name, name, folder, report)
        if got is not None:
            return [got]
    if month[1] > end_ms - _DAYS_BACK_MS:
        days = [_date(day, "D") for day, _ in _periods(month[0], min(month[1], end_ms), Timeframe("1d"))]
        found = await asyncio.gather(*(_verified(place, symbol, timeframe.name, day, folder, report) for day in days))
        if any(found):
            return [path for path in found if path is not None]
    report.absent.append(name)
    return []


async def _verified(place: Place, symbol: str, what: str, date: str, folder: Path, report: VisionReport) -> Path | None:
    """An archive in ``folder``; None when there is none, or it is not what its checksum says."""
    name = f"{_id(symbol)}-{what}-{date}.zip"
    inside = f"{_tree(symbol, what, date)}/{name}"
    data = b""
    for attempt in (1, 2, 3):
        found = await place.get(inside)
        if found is None:
            return None
        data = found
        told = await place.get(f"{inside}.CHECKSUM")
        if told is None:
            report.refused.append(f"{name}: there is no {name}.CHECKSUM beside it: without one nobody knows whether it is whole")
            return None
        expected = told.decode("ascii", "replace").split()[:1]
        if expected == [hashlib.sha256(data).hexdigest()]:
            break
        if attempt == 3 or not place.remote:
            report.refused.append(f"{name}: its sha256 is not the one in its CHECKSUM: get it again")
            return None
    path = folder / name
    await asyncio.to_thread(path.write_bytes, data)
    return path


def _imported(store: Store, symbol: str, timeframe: Timeframe, paths: Sequence[Path], report: VisionReport) -> None:
    # Of several files a symbol selects, of one it is the name: archives of perpetuals are called as those of spot are.
    for files in [[path] for path in paths] if ":" in symbol else [list(paths)]:
        made: ImportReport = import_files(files, store, Wishes(_EXCHANGE, symbol, timeframe))
        refused = [*made.refused, *(f"{symbol} {timeframe}: {one.refused}" for one in made.series if one.refused)]
        report.refused += refused
        if not refused:
            report.files += [path.name for path in files]
        report.added += sum(one.added for one in made.series)
    for path in paths:
        path.unlink()


def _vouched(store: Store, symbol: str, timeframe: Timeframe, month: Span, name: str) -> None:
    """A whole month's archive vouches for its ends too; what lies before the first candle is not its matter."""
    series = store.series(symbol, timeframe, _EXCHANGE)
    if not series:
        return
    first = series[0].look().tail.ledger.covered()[0][0]
    for a, b in store.spans_not_fetched(symbol, timeframe, *_whole(month, timeframe), exchange=_EXCHANGE):
        for start, end in difference([(a, b)], [(a, first)]):
            hole = Hole(start, end, "exchange gap")
            store.record(symbol, timeframe, start, end, exchange=_EXCHANGE, source=name, holes=[hole])


async def _funding(place: Place, store: Store, symbol: str, start_ms: int, end_ms: int, report: VisionReport) -> None:
    if ":" not in symbol:
        raise UsageError(f"{symbol} is no perpetual, so nobody pays funding: write it as in BTC/USDT:USDT, or leave --funding out")
    with tempfile.TemporaryDirectory(prefix="candelabra-") as folder:
        for month in _periods(start_ms, end_ms, Timeframe("1M")):
            if month[1] > end_ms:
                continue
            path = await _verified(place, symbol, "fundingRate", _date(month[0], "M"), Path(folder), report)
            if path is not None:
                report.funding += len(_write_rates(store, symbol, path, month))
                path.unlink()


def _write_rates(store: Store, symbol: str, path: Path, month: Span) -> Funding:
    """Keep the funding rates of an archive; gives them. DataError when it holds something else."""
    try:
        with zipfile.ZipFile(path) as packed, packed.open(packed.namelist()[0]) as raw:
            rows = list(csv.DictReader(io.TextIOWrapper(raw, "utf-8")))
        times = np.array([int(row["calc_time"]) for row in rows], np.int64)
        rates = np.array([float(row["last_funding_rate"]) for row in rows])
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"{path.name} is no archive of funding rates ({error!r})") from error
    if (np.diff(times) <= 0).any() or not np.isfinite(rates).all() or (np.abs(rates) >= 1.0).any():
        raise DataError(f"{path.name} has times that do not rise or rates that cannot be: get it again")
    found = Funding(times, rates, (month,))
    write_funding(store, symbol, _EXCHANGE, found)
    return found


def _periods(start_ms: int, end_ms: int, period: Timeframe) -> Iterator[Span]:
    at = int(period.floor(start_ms))
    while at < end_ms:
        yield at, int(period.next(at))
        at = int(period.next(at))


def _whole(span: Span, timeframe: Timeframe) -> Span:
    return int(timeframe.ceil(span[0])), int(timeframe.floor(span[1]))


def _date(time_ms: int, unit: str) -> str:
    return str(np.datetime64(time_ms, "ms").astype(f"datetime64[{unit}]"))


def _id(symbol: str) -> str:
    return symbol.partition(":")[0].replace("/", "")


def _tree(symbol: str, what: str, date: str) -> str:
    settled = symbol.partition(":")[2]
    market = "spot" if not settled else "futures/um" if settled in ("USDT", "USDC") else "futures/cm"
    period = "daily" if len(date) == 10 else "monthly"
    return f"data/{market}/{period}/" + (f"fundingRate/{_id(symbol)}" if what == "fundingRate" else f"klines/{_id(symbol)}/{what}")
