"""Which candles a bundle must be fed with live, and the closed ones a store has of them, in order and without a hole in what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from candelabra.bundles.predictor import Predictor
from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.errors import UsageError
from candelabra.sources.store import Store

__all__ = ["closed_candles", "feed_timeframe", "history_start", "newest_stretch", "spanning"]

_SPARE: Final = 1.05


def feed_timeframe(predictor: Predictor) -> Timeframe:
    """The finest timeframe the bundle reads, of which all others are made; UsageError where no one timeframe makes them all."""
    frames = list(predictor.recipe.timeframes)
    if predictor.segmenter is not None:
        frames.append(predictor.segmenter.inputs.base)
    finest = min(frames)
    unfit = [str(f) for f in frames if f != finest and not finest.divides_into(f)]
    if unfit:
        raise UsageError(
            f"the bundle {predictor.manifest.id} reads {', '.join(unfit)} and {finest}, and no whole {finest} bars make the former: live "
            "follows one timeframe a symbol; train with timeframes that are multiples of the finest"
        )
    return finest


def history_start(predictor: Predictor, as_of_ms: int, keep: Mapping[str, int], spare: float = _SPARE) -> int:
    """Open time from which candles must be there, so that a forecast and the regimes of the bar after ``as_of_ms`` are final.

    ``keep``: bars beyond what the bundle itself needs, by timeframe; ``spare``: more than the least, since bars may be absent.
    """
    needs = dict(predictor.manifest.needs)
    for name, bars in keep.items():
        needs[name] = max(bars, needs.get(name, 0))
    if predictor.segmenter is not None:
        needs[predictor.segmenter.base] = max(predictor.segmenter.needs, needs.get(predictor.segmenter.base, 0))
    starts = []
    for name, bars in needs.items():
        frame = timeframe(name)
        starts.append(int(frame.floor(as_of_ms - int((bars + 4) * spare * frame.milliseconds))))
    return min(starts)


def closed_candles(store: Store, exchange: str, symbol: str, frame: Timeframe, start_ms: int, end_ms: int) -> Candles:
    """Stored candles from ``start_ms`` on, as far as everything was asked for without interruption, ``end_ms`` at most.

    The span of what is given says how far that is: a bar inside it that has no row was not there to be had. Nothing after a stretch that
    nobody asked for is given, so that whoever follows misses none.
    """
    found = store.series(symbol, frame, exchange)
    if not found or end_ms <= start_ms:
        return _none(symbol, frame, start_ms)
    series = found[0]
    seen = series.look()
    end = next((min(b, end_ms) for a, b in seen.tail.ledger.covered() if a <= start_ms < b), start_ms)
    end = int(frame.floor(end))
    if end <= start_ms:
        return _none(symbol, frame, start_ms)
    snapshot = series.snapshot(start_ms, end, seen)
    bars = snapshot.bars
    values = [np.ascontiguousarray(column) for column in bars.values]
    times, missing = np.array(bars.open_time), np.zeros(len(bars), np.int32)
    return Candles.sealed(symbol, frame, times, values, missing, frame, (start_ms, end), snapshot.manifest.simulated)


def spanning(candles: Candles, start_ms: int, end_ms: int) -> Candles:
    """The candles that open in a stretch, which is their span whether or not there are any."""
    first, last = np.searchsorted(candles.open_time, (start_ms, end_ms))
    part = candles.rows(slice(int(first), int(last)))
    columns = (part.open_time, list(part.values()), part.missing, part.source)
    return Candles.sealed(candles.symbol, candles.timeframe, *columns, (start_ms, end_ms), candles.simulated)


def _none(symbol: str, frame: Timeframe, at_ms: int) -> Candles:
    empty = [np.zeros(0) for _ in range(5)]
    return Candles.sealed(symbol, frame, np.zeros(0, np.int64), empty, np.zeros(0, np.int32), frame, (at_ms, at_ms))


def newest_stretch(store: Store, exchange: str, symbol: str, frame: Timeframe, start_ms: int, end_ms: int) -> Candles | None:
    """Stored candles of the newest stretch before ``end_ms`` that was asked for without interruption, from ``start_ms`` at most."""
    found = store.series(symbol, frame, exchange)
    if not found:
        return None
    covered = [(max(a, start_ms), min(b, end_ms)) for a, b in found[0].look().tail.ledger.covered() if a < end_ms and b > start_ms]
    return closed_candles(store, exchange, symbol, frame, int(frame.ceil(covered[-1][0])), end_ms) if covered else None
