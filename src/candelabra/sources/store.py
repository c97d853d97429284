"""A store of fetched candles: a folder of month files and tails, read at any timeframe, written by one writer at a time.

``<root>/<exchange>/<BTC-USDT>/<1m>/<YYYY-MM>.parquet``, with a manifest of hashes and a SQLite tail for the newest bars. Only what was
fetched is kept; coarser timeframes are made when they are read. `Series` holds how, this module what for.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from glob import escape
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

import numpy as np

from candelabra.candles.frame import Candles
from candelabra.candles.resample import resample
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.disk import write_atomically
from candelabra.errors import CandelabraError, DataError, UsageError
from candelabra.registry import did_you_mean
from candelabra.sources.bars import Bars
from candelabra.sources.care import Finding, verify
from candelabra.sources.provenance import Fetched, Hole, Span, difference, union
from candelabra.sources.repair import Mended, repair
from candelabra.sources.series import QUARANTINE, Look, Series, WriteReport
from candelabra.sources.tail import Revision, read_revisions

__all__ = ["MARKER", "Fetched", "Finding", "Hole", "Mended", "Revision", "Series", "Store", "WriteReport", "symbol_folder"]

MARKER: Final = "candelabra-store.json"
_FORMAT: Final = 1
_EXCHANGE: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True)
class Store:
    """A folder of stored series; ``open`` and ``create`` make one.

    >>> import tempfile
    >>> store = Store.create(tempfile.mkdtemp() + "/candles")
    >>> hours = Candles.of("BTC/USDT", "1h", [0, 3_600_000], *[[1.0, 2.0]] * 4, [5.0, 6.0])
    >>> store.write(hours, exchange="binance", source="by hand", fetched_ms=7_200_000)
    WriteReport(added=2, unchanged=0, revised=0, repaired=0)
    >>> store.read("BTC/USDT", "2h").close.tolist()
    [2.0]
    """

    root: Path

    @classmethod
    def open(cls, root: str | Path) -> Store:
        """The store at ``root``; UsageError when that is none, DataError when its marker is damaged or of another format."""
        place = Path(root)
        marker = place / MARKER
        if not marker.is_file():
            raise UsageError(
                f"{place} is not a store (it has no {MARKER}): give the folder of one; importing into a new folder, or "
                "Store.create in Python, makes one"
            )
        try:
            format_ = json.loads(marker.read_bytes())["format"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f'{marker} is damaged ({error!r}): write {{"format": {_FORMAT}}} into it; the candles lie beside it untouched'
            ) from error
        if format_ != _FORMAT:
            raise DataError(f"the store {place} has format {format_}, this version reads {_FORMAT}: use the candelabra that wrote it")
        return cls(place)

    @classmethod
    def create(cls, root: str | Path) -> Store:
        """The store at ``root``, made when the folder is new or empty; UsageError when other things are in it."""
        place = Path(root)
        if (place / MARKER).exists():
            return cls.open(place)
        if place.exists() and (not place.is_dir() or any(not p.name.startswith(".") for p in place.iterdir())):
            raise UsageError(f"{place} has other things in it than a store: give a new or empty folder")
        write_atomically(place / MARKER, (json.dumps({"format": _FORMAT}) + "\n").encode())
        return cls(place)

    def write(
        self, candles: Candles, *, exchange: str, source: str, fetched_ms: int | None = None, holes: Iterable[Hole] = ()
    ) -> WriteReport:
        """Keep fetched candles: added where no bar is stored, unchanged where the same is, and a revision where it differs.

        When it returns, the bars outlive `kill -9` and a power cut. ``candles.span`` counts as fetched: what has no bar in it is
        absent, for the reason that ``holes`` tells or an unknown one. ``source`` names where they came from (an importer and its
        file, an exchange's interface); ``fetched_ms`` is when (default: now). A differing value replaces the stored one, and the
        old one is kept in `revisions`.

        Raises UsageError for derived candles (they are made when read), DataError when simulated and real ones would mix or the
        series is damaged, SourceError when the disk refuses, or within a second when another process is writing this series.
        """
        if candles.source != candles.timeframe or bool(candles.missing.any()):
            raise UsageError(
                f"{candles.symbol} {candles.timeframe} was made of {candles.source} bars: a store keeps what was fetched, and makes "
                f"other timeframes when they are read; write the {candles.source} candles"
            )
        series = self._series(exchange, candles.symbol, candles.timeframe)
        if candles.span[0] >= candles.span[1]:
            return WriteReport()
        return series.write(candles, _source(source), _time(fetched_ms), holes)

    def record(
        self,
        symbol: str,
        timeframe_: str | Timeframe,
        start_ms: int,
        end_ms: int,
        *,
        exchange: str,
        source: str,
        fetched_ms: int | None = None,
        holes: Iterable[Hole] = (),
    ) -> None:
        """Note that a stretch of a stored series was asked for and gave no (further) bars, and why they are absent."""
        frame = timeframe(timeframe_)
        if not frame.floor(start_ms) == start_ms < end_ms == frame.floor(end_ms):
            raise UsageError(f"{start_ms} .. {end_ms} (ms) is no stretch of whole {frame} bars: give open times, the end not included")
        self._series(exchange, symbol, frame).record((start_ms, end_ms), _source(source), _time(fetched_ms), holes)

    def series(self, symbol: str | None = None, timeframe_: str | Timeframe | None = None, exchange: str | None = None) -> list[Series]:
        """What is stored, by exchange, symbol and length of bars; the arguments select."""
        frame = None if timeframe_ is None else timeframe(timeframe_)
        if exchange is not None and not _EXCHANGE.fullmatch(exchange):
            return []
        pattern = f"{exchange or '*'}/{escape(symbol_folder(symbol)) if symbol else '*'}/{frame or '*'}/"
        found = [s for s in map(self._at, self.root.glob(pattern)) if s is not None and s.exists()]
        return sorted(found, key=lambda s: (s.exchange, s.symbol, s.timeframe.milliseconds))

    def one(self, symbol: str, timeframe_: str | Timeframe, exchange: str | None = None) -> Series:
        """The stored series of a symbol and timeframe; UsageError when there is none, or one at each of several exchanges."""
        found = self.series(symbol, timeframe_, exchange)
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(f"{symbol} {timeframe_} is stored from {', '.join(s.exchange for s in found)}: say which exchange")
        raise self._absent(symbol, timeframe(timeframe_), exchange)

    def read(
        self,
        symbol: str,
        timeframe_: str | Timeframe,
        start_ms: int | None = None,
        end_ms: int | None = None,
        *,
        exchange: str | None = None,
    ) -> Candles:
        """Candles that open at or after ``start_ms`` and close at or before ``end_ms`` (ms UTC; None: as far as there are any).

        They come from the finest stored timeframe that was fetched without interruption for the whole range (else from the one
        that was fetched for most of it), resampled when it is not the one asked for: ``source`` of the result tells which. A
        coarse bar that was fetched in part only is left out. Raises UsageError when nothing stored fits, DataError when a file
        that is needed is damaged.
        """
        frame = timeframe(timeframe_)
        chosen, (start, end), seen = self._chosen(symbol, frame, start_ms, end_ms, exchange)
        snapshot = chosen.snapshot(start, end, seen)
        simulated = snapshot.manifest.simulated
        made: list[Candles] = []
        for a, b in _within(snapshot.ledger.covered(), start, end):
            bars = snapshot.bars.between(a, b)
            piece = resample(_candles(chosen, bars, (a, b), simulated), frame)
            made += [piece] if len(piece) or not made else []
        whole = made[0] if made else _candles(chosen, Bars.none(), (start, start), simulated)
        for piece in made[1:]:
            whole = whole.append(piece)
        return whole

    def gaps(
        self,
        symbol: str,
        timeframe_: str | Timeframe,
        start_ms: int | None = None,
        end_ms: int | None = None,
        *,
        exchange: str | None = None,
    ) -> list[Hole]:
        """Every stretch of a stored series without bars, and why; and what was once without and is repaired.

        Why: ``exchange gap``, ``no trade``, ``unknown`` (nobody said), ``not fetched``. Without times, from the first to the last
        moment that was fetched.
        """
        series = self.one(symbol, timeframe_, exchange)
        seen = series.look()
        start, end = _on_grid(_bounds(seen.tail.ledger.covered(), start_ms, end_ms), series.timeframe)
        snapshot = series.snapshot(start, end, seen)
        return snapshot.ledger.gaps(snapshot.bars.open_time, series.timeframe, start, end)

    def spans_not_fetched(
        self, symbol: str, timeframe_: str | Timeframe, start_ms: int, end_ms: int, *, exchange: str | None = None
    ) -> list[Span]:
        """What of ``[start_ms, end_ms)`` nobody was asked for yet: all of it when the series is not stored at all."""
        if not self.series(symbol, timeframe_, exchange):
            return [(start_ms, end_ms)]
        return self.one(symbol, timeframe_, exchange).look().tail.ledger.not_fetched(start_ms, end_ms)

    def provenance(
        self,
        symbol: str,
        timeframe_: str | Timeframe,
        start_ms: int | None = None,
        end_ms: int | None = None,
        *,
        exchange: str | None = None,
    ) -> list[Fetched]:
        """Where the bars of a stored series came from and when, stretch by stretch."""
        series = self.one(symbol, timeframe_, exchange)
        low, high = start_ms if start_ms is not None else -(1 << 62), end_ms if end_ms is not None else 1 << 62
        return [f for f in series.look().tail.ledger.fetched if f.start_ms < high and low < f.end_ms]

    def revisions(self, symbol: str, timeframe_: str | Timeframe, *, exchange: str | None = None) -> list[Revision]:
        """Every stored bar that was given other values later, in the order that was noticed."""
        series = self.one(symbol, timeframe_, exchange)
        return read_revisions(series.folder, series.manifest().tail)

    def compact(
        self, symbol: str | None = None, timeframe_: str | Timeframe | None = None, exchange: str | None = None
    ) -> dict[Series, int]:
        """Fold tails into month files; how many bars of each series were folded."""
        return {series: series.compact() for series in self.series(symbol, timeframe_, exchange)}

    def verify(self, symbol: str | None = None, timeframe_: str | Timeframe | None = None, exchange: str | None = None) -> list[Finding]:
        """Read every byte and compare it with what was written; empty when all is well."""
        return [finding for series in self.series(symbol, timeframe_, exchange) for finding in verify(series)]

    def repair(self, symbol: str | None = None, timeframe_: str | Timeframe | None = None, exchange: str | None = None) -> list[Mended]:
        """Make damaged series readable again; what was done, and what must be fetched again because of it."""
        return [mended for series in self.series(symbol, timeframe_, exchange) for mended in repair(series)]

    def _chosen(
        self, symbol: str, frame: Timeframe, start_ms: int | None, end_ms: int | None, exchange: str | None
    ) -> tuple[Series, Span, Look]:
        """The series to read from, from when to when, and how it looks."""
        fitting = [s for s in self.series(symbol, None, exchange) if s.timeframe.divides_into(frame)]
        places = sorted({s.exchange for s in fitting})
        if len(places) > 1:
            raise UsageError(f"{symbol} is stored from {', '.join(places)}: prices differ by exchange, so say which")
        if not fitting:
            raise self._absent(symbol, frame, exchange)
        looks = {s: s.look() for s in fitting}
        covered = {s: look.tail.ledger.covered() for s, look in looks.items()}
        start, end = _bounds(union(c for spans in covered.values() for c in spans), start_ms, end_ms)
        got = {s: sum(b - a for a, b in _within(spans, start, end)) for s, spans in covered.items()}
        best = max(got.values())
        chosen = next(s for s in fitting if got[s] == best)
        return chosen, _on_grid((start, end), chosen.timeframe), looks[chosen]

    def _series(self, exchange: str, symbol: str, frame: Timeframe) -> Series:
        if not _EXCHANGE.fullmatch(exchange):
            raise UsageError(
                f"{exchange!r} cannot name an exchange: write lower-case letters, digits, - and _, as in binance or kraken-futures"
            )
        if not symbol or any(ord(letter) < 32 for letter in symbol):
            raise UsageError(f"{symbol!r} cannot name a symbol: write it as in BTC/USDT")
        return Series(self.root / exchange / symbol_folder(symbol) / frame.name, exchange, symbol, frame)

    def _at(self, folder: Path) -> Series | None:
        """The series that a folder holds by its name; None when it is no series' folder."""
        exchange, name, frame = folder.relative_to(self.root).parts
        if not _EXCHANGE.fullmatch(exchange) or QUARANTINE in (name, frame):
            return None
        try:
            return Series(folder, exchange, _symbol_of(name), timeframe(frame))
        except CandelabraError:
            return None

    def _absent(self, symbol: str, frame: Timeframe, exchange: str | None) -> UsageError:
        where = f" of {exchange}" if exchange else ""
        there = self.series()
        own = sorted({f"{s.symbol} {s.timeframe} of {s.exchange}" for s in there if s.symbol == symbol})
        if own:
            hint = f"there are {', '.join(own)}, and a coarser timeframe can be made of a finer one only"
        else:
            hint = did_you_mean(symbol, sorted({s.symbol for s in there})) if there else "the store is empty: import or fetch candles first"
        return UsageError(f"no candles of {symbol}{where} are stored from which {frame} can be made: {hint}")


def symbol_folder(symbol: str) -> str:
    """A symbol as the name of a folder, back and forth without loss.

    >>> symbol_folder("BTC/USDT"), symbol_folder("BTC/USDT:USDT-240628"), symbol_folder("../etc")
    ('BTC-USDT', 'BTC-USDT%3AUSDT%2D240628', '%2E%2E-etc')
    """
    parts = [quote(part, safe="").replace("-", "%2D") for part in symbol.split("/")]
    return "-".join(part.replace(".", "%2E") if part.startswith(".") else part for part in parts)


def _symbol_of(name: str) -> str:
    return unquote(name.replace("-", "/"))


def _candles(series: Series, bars: Bars, span: Span, simulated: bool) -> Candles:
    """Rows that the manifest vouches for, or the tail's checks, as candles: they were checked when they came in."""
    values = [np.ascontiguousarray(column) for column in bars.values]
    missing = np.zeros(len(bars), np.int32)
    times = np.array(bars.open_time)
    return Candles.sealed(series.symbol, series.timeframe, times, values, missing, series.timeframe, span, simulated)


def _bounds(covered: list[Span], start_ms: int | None, end_ms: int | None) -> Span:
    """The range that is meant: as far as anything was fetched where no time is given."""
    hull = (covered[0][0], covered[-1][1]) if covered else (0, 0)
    start, end = hull[0] if start_ms is None else start_ms, hull[1] if end_ms is None else end_ms
    return start, max(start, end)


def _on_grid(span: Span, frame: Timeframe) -> Span:
    """The whole bars of a range: what opens in it and closes in it."""
    start, end = int(frame.ceil(span[0])), int(frame.floor(span[1]))
    return start, max(start, end)


def _within(spans: list[Span], start: int, end: int) -> list[Span]:
    whole = [(start, end)]
    return difference(whole, difference(whole, spans))


def _source(text: str) -> str:
    if not text.strip():
        raise UsageError("source is empty: name where the candles came from, such as the importer and its file")
    return text


def _time(fetched_ms: int | None) -> int:
    return int(time.time() * 1000) if fetched_ms is None else int(fetched_ms)
