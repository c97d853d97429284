"""A store as one of the places that candles are read from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from candelabra.candles.raw import RawCandles
from candelabra.candles.timeframe import Timeframe
from candelabra.sources.store import MARKER, Series, Store

__all__ = ["is_stored", "stored_candles"]


def is_stored(path: Path) -> bool:
    """Whether a path is a store's folder, or that of an exchange in one."""
    return (path / MARKER).is_file() or (path.is_dir() and (path.parent / MARKER).is_file())


def stored_candles(path: Path, symbol: str | None, wanted: Timeframe | None) -> list[tuple[str, RawCandles]]:
    """Each series that is stored at ``path``, with its exchange; where a timeframe is wanted, that one, made of what there is.

    The bars inside a series may come in stretches with unknown time between them; that time counts as a gap.
    """
    whole = (path / MARKER).is_file()
    store = Store.open(path if whole else path.parent)
    found = store.series(symbol, None, None if whole else path.name)
    if wanted is not None:
        fitting = [s for s in found if s.timeframe.divides_into(wanted)]
        found = list({(s.exchange, s.symbol): s for s in reversed(fitting)}.values())
    return [(series.exchange, _raw(store, series, wanted or series.timeframe)) for series in found]


def _raw(store: Store, series: Series, frame: Timeframe) -> RawCandles:
    candles = store.read(series.symbol, frame, exchange=series.exchange)
    return replace(RawCandles.of(candles), files=(f"{series.symbol} {frame} of {series.exchange} in {store.root}",))
