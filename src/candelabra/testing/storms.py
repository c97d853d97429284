"""Storms: the live loop on an emulated exchange whose sockets and answers fail by seed, compared with the truth and replayed."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from candelabra.candles.resample import resample
from candelabra.live.feed import feed_timeframe
from candelabra.live.journal import reading_journal, writing_journal
from candelabra.live.loop import Event, Live, LiveSettings
from candelabra.live.replay import replay
from candelabra.live.seat import Opened, open_bundle
from candelabra.sources.emulator import EmulatedMarket, Emulator, Faults
from candelabra.sources.exchanges.clock import FastClock
from candelabra.sources.exchanges.contract import Connection
from candelabra.sources.exchanges.fetching import fill
from candelabra.sources.exchanges.pace import Patience
from candelabra.sources.exchanges.rest import RestSource
from candelabra.sources.exchanges.sockets import SocketStream
from candelabra.sources.store import Store

__all__ = ["Storm", "Truth", "against_truth", "follow", "live_storm"]

START_MS = 1_700_000_000_000 // 86_400_000 * 86_400_000
_HASTE = Patience(attempts=40, first_s=0.02, most_s=0.3)


@dataclass(frozen=True)
class Truth:
    """Candles of the feed, and what of the store and of the journal is not as it should be.

    ``bars``: base bars that closed; ``unsaid`` of them without a row in the journal, ``doubled`` or ``disordered`` ones; ``replayed`` bars
    told again, ``unlike`` of them another prediction; ``gaps``: bars the exchange never had.
    """

    candles: int
    lost: int
    doubled: int
    wrong: int
    disordered: int
    bars: int
    unsaid: int
    gaps: int
    replayed: int
    unlike: int

    @property
    def flawless(self) -> bool:
        """Whether nothing is lost, doubled, wrong or out of order, and all was said, once, and is said again the same."""
        return not any((self.lost, self.doubled, self.wrong, self.disordered, self.unsaid, self.unlike)) and self.replayed > 0


@dataclass(frozen=True)
class Storm(Truth):
    """What came of a storm: ``socket_faults``, ``rest_faults`` that fired.

    ``notices``: how old (in bars of the feed) data was when silence was noticed; ``recoveries_s``: seconds of the world from then to live.
    """

    socket_faults: int
    rest_faults: int
    notices: tuple[float, ...]
    recoveries_s: tuple[float, ...]
    seconds: float
    events: tuple[Event, ...]


def live_storm(
    bundle: Path,
    folder: Path,
    *,
    candles: int = 150,
    seed: int = 0,
    rest: float = 0.25,
    socket: float = 0.15,
    socket_kinds: Sequence[str] | None = None,
    outages: float = 0.6,
    candle_s: float = 0.12,
    interrupt: bool = True,
) -> Storm:
    """Follow ``candles`` of the feed at ``candle_s`` seconds each; ``rest``, ``socket``: shares of calls and candles that meet a fault.

    ``interrupt``: the loop is ended half way and begun anew.
    """
    opened = open_bundle(bundle)
    frame, symbol = feed_timeframe(opened.predictor), "BTC/USDT"
    clock = FastClock(START_MS, rate=frame.milliseconds / 1000 / candle_s)
    market = EmulatedMarket(symbol, seed=seed + 100, outages=outages)
    kinds = {} if socket_kinds is None else {"socket_kinds": tuple(socket_kinds)}
    faults = Faults(seed=seed, rest=rest, socket=socket, **kinds)  # type: ignore[arg-type]
    events: list[Event] = []
    store = Store.create(folder / "store")
    began = time.monotonic()
    with Emulator(market, clock=clock, faults=faults, calls_per_second=math.inf) as emulator:
        halves = (candles // 2, candles) if interrupt else (candles,)
        for reach in halves:
            asyncio.run(follow(opened, emulator, clock, store, folder / "journal", START_MS + reach * frame.milliseconds, events.append))
        seconds = time.monotonic() - began
        found = against_truth(opened, emulator, store, folder / "journal")
        fired, failed = len(emulator.socket_faults), sum(1 for call in emulator.log if getattr(call, "fault", None))
    return Storm(
        **asdict(found),
        socket_faults=fired,
        rest_faults=failed,
        notices=tuple(_ages(events, symbol, frame.milliseconds)),
        recoveries_s=tuple(_recoveries(events, symbol, clock.rate)),
        seconds=seconds,
        events=tuple(events),
    )


def against_truth(opened: Opened, emulator: Emulator, store: Store, journal_folder: Path) -> Truth:
    """Hold what a live loop stored and said of an emulator's only market against what that market was, and tell the journal again."""
    (symbol,) = emulator.markets
    frame, base_frame = feed_timeframe(opened.predictor), opened.predictor.recipe.base
    with reading_journal(journal_folder) as journal:
        closes = [at for at, _, _ in journal.predictions(symbol)]
        again = replay(journal)
        first = min(start.from_ms for start in journal.starts())
    span = store.one(symbol, frame, "binance").look().tail.ledger.covered()
    end = span[-1][1]
    truth = emulator.truth(symbol, frame, first, end)
    ours = store.read(symbol, frame, first, end, exchange="binance")
    base = resample(truth, base_frame).between(start_ms=closes[0] - base_frame.milliseconds, end_ms=closes[-1])
    there, both = np.isin(truth.open_time, ours.open_time), np.isin(ours.open_time, truth.open_time)
    differing = np.zeros(int(both.sum()), bool)
    for a, b in zip(ours.rows(both).values(), truth.rows(there).values(), strict=True):
        differing |= a != b
    return Truth(
        candles=int((truth.open_time >= START_MS).sum()),
        lost=int((~there).sum()) + (len(span) - 1),
        doubled=len(closes) - len(set(closes)),
        wrong=int(differing.sum()) + int((~both).sum()),
        disordered=int((np.diff(closes) <= 0).sum()),
        bars=len(base),
        unsaid=len(set(base.close_time.tolist()) ^ set(closes)),
        gaps=int((end - first) // frame.milliseconds) - len(truth),
        replayed=again.bars,
        unlike=len(again.unlike),
    )


async def follow(
    opened: Opened, emulator: Emulator, clock: FastClock, store: Store, folder: Path, until_ms: int, listen: Callable[[Event], object]
) -> None:
    """Run the live loop on an emulator until every symbol's journal stands at ``until_ms``, in haste."""
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)  # ccxt's receiving ends so
    connection = Connection("binance", emulator.url, clock, timeout_s=5.0, options={"calls_per_second": 500.0})
    source, stream = RestSource(connection, _HASTE), SocketStream(connection)
    hurried = partial(fill, patience=_HASTE, pause_s=0.01)
    try:
        with writing_journal(folder) as journal:
            if journal.bundle() is None:
                journal.use_bundle(opened.id, opened.path, clock.now_ms(), "a storm")
            live = Live(opened, source, store, journal, clock, hurried, LiveSettings(tuple(emulator.markets)), stream)
            live.subscribe(listen)
            await _run_until(live, lambda: all((journal.position(s) or 0) >= until_ms for s in emulator.markets))
    finally:
        await source.close()
        await stream.close()
        await asyncio.sleep(0.05)


async def _run_until(live: Live, reached: Callable[[], bool], patience_s: float = 600.0) -> None:
    async def watch() -> None:
        began = time.monotonic()
        while not reached() and time.monotonic() - began < patience_s:
            await asyncio.sleep(0.02)
        live.stop()

    watching = asyncio.create_task(watch())
    try:
        await live.run()
    finally:
        watching.cancel()


def _ages(events: Sequence[Event], symbol: str, bar_ms: int) -> list[float]:
    """How many bars old data was when silence was noticed."""
    said = [e.body["why"] for e in events if e.kind == "state" and e.subject == symbol and e.body["after"] == "stale"]
    return [float(why.split()[-2]) * 1000 / bar_ms for why in said]


def _recoveries(events: Sequence[Event], symbol: str, rate: float) -> list[float]:
    """Seconds of the world from stale to live."""
    found, since = [], None
    for event in events:
        if event.kind == "state" and event.subject == symbol:
            if event.body["after"] == "stale" and since is None:
                since = event.at_ms
            elif event.body["after"] == "live" and since is not None:
                found.append((event.at_ms - since) / 1000 / rate)
                since = None
    return found
