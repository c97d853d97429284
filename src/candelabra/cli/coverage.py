"""What ``check`` tells of coverage: of stores with reasons, of plain files without, and whether exchanges tell of one market."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from candelabra.cli.console import err, out, table

if TYPE_CHECKING:
    from candelabra.candles.agreement import Agreement
    from candelabra.candles.raw import RawCandles
    from candelabra.sources.coverage import Coverage
    from candelabra.sources.store import Series, Store

__all__ = ["Place", "across_exchanges", "coverages", "draw", "places", "show_coverage"]

Pair = tuple[str, str]


@dataclass(frozen=True)
class Place:
    """Paths that are read together: an exchange's folder in a store, or plain files (``store`` None)."""

    paths: list[str]
    store: Store | None = None
    exchange: str = ""


def places(paths: list[str], symbol: str | None, wanted: str | None) -> list[Place]:
    """Plain files together, and every exchange of every store by itself: its prices are its own."""
    from candelabra.candles.timeframe import timeframe
    from candelabra.sources.store import MARKER, Store
    from candelabra.sources.stored import is_stored

    frame = None if wanted is None else timeframe(wanted)
    kept = [Path(p) for p in paths if is_stored(Path(p))]
    found = []
    for path in kept:
        whole = (path / MARKER).is_file()
        store = Store.open(path if whole else path.parent)
        fitting = {s.exchange for s in store.series(symbol) if frame is None or s.timeframe.divides_into(frame)}
        names = sorted(fitting) if whole else [path.name]
        found += [Place([str(store.root / name)], store, name) for name in names] or [Place([str(path)])]
    plain = [p for p in paths if not is_stored(Path(p))]
    return [*([Place(plain)] if plain or not found else []), *found]


def coverages(place: Place, series: list[RawCandles]) -> list[Coverage]:
    """The coverage of what was found at a place; a note on stderr where it cannot be told."""
    from candelabra.errors import CandelabraError
    from candelabra.sources.coverage import coverage_of, coverage_of_candles
    from candelabra.sources.settle import settled

    found = []
    for raw in series:
        try:
            stored = [] if place.store is None else place.store.series(raw.symbol, raw.timeframe, place.exchange)
            own = stored[0] if stored else None
            found.append(coverage_of(own) if own else coverage_of_candles(settled(raw, "drop", int(time.time() * 1000), [], {})))
        except CandelabraError as error:
            err().print(f"note: the coverage of {raw.symbol} {raw.timeframe} is not told: {error}", soft_wrap=True)
    return found


def across_exchanges(found: list[Place], symbol: str | None) -> dict[Pair, Agreement]:
    """Each symbol that a store has from several exchanges: the finest series of the first held against that of every other."""
    from candelabra.candles.agreement import compare
    from candelabra.errors import CandelabraError

    compared = {}
    for store in {place.store.root: place.store for place in found if place.store is not None}.values():
        mine = {place.exchange for place in found if place.store is not None and place.store.root == store.root}
        finest: dict[str, dict[str, Series]] = {}
        for series in store.series(symbol):  # an exchange's finest timeframe comes first
            if series.exchange in mine:
                finest.setdefault(series.symbol, {}).setdefault(series.exchange, series)
        for first, *others in (list(one.values()) for one in finest.values()):
            for other in others:
                try:
                    a, b = (store.read(s.symbol, s.timeframe, exchange=s.exchange) for s in (first, other))
                    compared[str(first), str(other)] = compare(a, b)
                except CandelabraError as error:
                    err().print(f"note: {first} and {other} were not compared: {error}", soft_wrap=True)
    return compared


def draw(series: list[Coverage], across: dict[Pair, Agreement], picture: Path) -> None:
    """Calendars of coverage as a page."""
    from candelabra.report.coverage import coverage_body
    from candelabra.report.page import write_plain

    notes = [f"{first} and {second}: {agreement.verdict}." for (first, second), agreement in across.items()]
    write_plain("coverage", coverage_body(series, notes), picture)


def show_coverage(series: list[Coverage]) -> None:
    """A table of stored series: what is absent, by reason, and what was revised."""
    from candelabra.sources.coverage import ABSENCES

    stored = [one for one in series if one.exchange]
    if not stored:
        return
    rows = [
        (one.name, f"{int(one.present.sum()):,}", *(f"{one.bars(kind):,}" for kind in (*ABSENCES, "repaired")), f"{one.revisions:,}")
        for one in stored
    ]
    columns = ("stored", "bars", *ABSENCES, "repaired", "revised")
    out().print(table(columns, rows, numbers=columns[1:]))
