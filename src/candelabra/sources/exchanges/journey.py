"""Several symbols of one exchange at once: what is outstanding, who may write, and what came of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import CandelabraError
from candelabra.progress import Reporter, Silent
from candelabra.sources.exchanges.contract import Source
from candelabra.sources.exchanges.fetching import Filled, fill, sole_collector
from candelabra.sources.exchanges.funding import Funding, fetch_funding
from candelabra.sources.exchanges.pace import Patience, persist
from candelabra.sources.store import Store

__all__ = ["FetchReport", "fetch_candles", "fetch_fundings"]

_SKEW_MS: Final = 2_000
_LOOK_S: Final = 5.0


@dataclass
class FetchReport:
    """What a journey did: per symbol what was stored, or why not. ``skew_ms``: how far the exchange's clock was ahead of this machine's."""

    exchange: str
    filled: list[Filled] = field(default_factory=list)
    failed: dict[str, CandelabraError] = field(default_factory=dict)
    funding: dict[str, Funding] = field(default_factory=dict)
    skew_ms: int = 0
    requests: int = 0


class _Meter:
    """A reporter that tells candles a second over all symbols together."""

    def __init__(self, watch: Reporter) -> None:
        self._watch, self._began, self._candles = watch, time.monotonic(), 0.0
        self.stage, self.note = watch.stage, watch.note

    def advance(self, amount: float = 1, **figures: float) -> None:
        """Bars that are settled, ``candles`` of which are there."""
        self._candles += figures.pop("candles", 0)
        self._watch.advance(amount, candles_per_s=self._candles / max(1e-3, time.monotonic() - self._began), **figures)


async def fetch_candles(
    source: Source,
    store: Store,
    starts: Mapping[str, int],
    timeframe: Timeframe,
    end_ms: int | None = None,
    *,
    progress: Reporter | None = None,
    patience: Patience | None = None,
) -> FetchReport:
    """Fetch what is not yet stored of each symbol from its start (ms) to ``end_ms`` (None: the newest closed candle), all at one pace.

    A symbol that fails does not hold up the others; its error is in the report. When it was stopped, call again: it goes on.
    """
    watch = _Meter(progress or Silent())
    patience = patience or Patience()
    pace = getattr(source, "pace", None)
    if pace is not None:
        pace.tell = watch.note
    report = FetchReport(source.name)
    now = await persist(source.now_ms, patience)
    end = now if end_ms is None else min(end_ms, now)

    async def one(symbol: str, start_ms: int) -> None:
        try:
            with sole_collector(store, source.name, symbol, timeframe):
                report.filled.append(await fill(source, store, symbol, timeframe, start_ms, end, progress=watch, patience=patience))
        except CandelabraError as error:
            report.failed[symbol] = error

    total = sum(_outstanding(store, source.name, symbol, timeframe, start_ms, end) for symbol, start_ms in starts.items())
    clocks = _ClockWatch(source, watch, report)
    watching = asyncio.create_task(clocks.run())
    try:
        with watch.stage(f"fetch {_few(list(starts))} {timeframe} from {source.name}", total=float(total)):
            await asyncio.gather(*(one(symbol, start_ms) for symbol, start_ms in starts.items()))
    finally:
        watching.cancel()
        clocks.look()
    order = {symbol: k for k, symbol in enumerate(starts)}
    report.filled.sort(key=lambda filled: order[filled.symbol])
    report.requests = 0 if pace is None else pace.requests
    return report


async def fetch_fundings(
    source: Source,
    store: Store,
    starts: Mapping[str, int],
    end_ms: int | None,
    report: FetchReport,
    *,
    progress: Reporter | None = None,
    patience: Patience | None = None,
) -> None:
    """Funding rates of the same symbols into the same report; a symbol whose candles failed is left out."""
    watch = progress or Silent()
    patience = patience or Patience()
    end = await persist(source.now_ms, patience) if end_ms is None else end_ms
    with watch.stage(f"fetch funding rates of {_few(list(starts))} from {source.name}"):
        for symbol, start_ms in starts.items():
            if symbol in report.failed:
                continue
            try:
                report.funding[symbol] = await fetch_funding(source, store, symbol, start_ms, end, progress=watch, patience=patience)
            except CandelabraError as error:
                report.failed[symbol] = error


def _outstanding(store: Store, exchange: str, symbol: str, frame: Timeframe, start_ms: int, end_ms: int) -> int:
    start, end = int(frame.ceil(start_ms)), int(frame.floor(end_ms))
    if start >= end:
        return 0
    spans = store.spans_not_fetched(symbol, frame, start, end, exchange=exchange)
    return sum(int(frame.index(b) - frame.index(a)) for a, b in spans)


@dataclass
class _ClockWatch:
    """Says so when this machine's clock is off, or jumps; candles close by the exchange's."""

    source: Source
    watch: _Meter
    report: FetchReport
    told: int = 0

    async def run(self) -> None:
        """Look now and then."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK_S)

    def look(self) -> None:
        """Compare the clocks; a note when they differ otherwise than was said."""
        skew = self.report.skew_ms = self.source.skew_ms
        if abs(skew - self.told) <= _SKEW_MS:
            return
        self.told = skew
        name = self.source.name
        if abs(skew) <= _SKEW_MS:
            self.watch.note(f"this machine's clock agrees with {name}'s again")
            return
        text = f"this machine's clock is {abs(skew) / 1000:,.0f} s {'behind' if skew > 0 else 'ahead of'} {name}'s"
        self.watch.note(f"{text}: candles close by {name}'s clock, so nothing is lost; set this one")


def _few(symbols: Sequence[str]) -> str:
    return ", ".join(symbols) if len(symbols) <= 3 else f"{len(symbols)} symbols"
