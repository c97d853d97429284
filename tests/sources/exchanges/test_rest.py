"""ccxt against an emulated exchange that fails on purpose: right rows or an error with a name, and never a word from nowhere."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import SourceError, UsageError
from candelabra.registry import Entry
from candelabra.sources.emulator import REST_FAULTS, EmulatedMarket, Emulator, Faults
from candelabra.sources.exchanges.clock import FastClock, WallClock
from candelabra.sources.exchanges.contract import Connection
from candelabra.sources.exchanges.fetching import Filled, fill
from candelabra.sources.exchanges.journey import FetchReport, fetch_candles
from candelabra.sources.exchanges.pace import Patience
from candelabra.sources.exchanges.pages import Asked
from candelabra.sources.exchanges.registry import SOURCES, STREAMS, open_source, open_stream
from candelabra.sources.exchanges.rest import RestSource, _about_what_was_asked
from candelabra.sources.store import Store

pytest.importorskip("ccxt", reason="ccxt is not installed: pip install 'candelabra[exchanges]'")

MINUTE = 60_000
NOW = 1_700_000_005_000
FRAME = Timeframe("1m")
SYMBOL = "BTC/USDT"
QUICK = Patience(20, 0.01, 0.05)
MARKETS = [
    EmulatedMarket(SYMBOL, seed=7, listed_ms=NOW // MINUTE * MINUTE - 4000 * MINUTE, outages=0.3),
    EmulatedMarket("ETH/USDT", seed=8),
]
PERMANENT = ("403", "451")
STORM = int(os.environ.get("CANDELABRA_STORM", "3000"))
"""Candles of a storm; with 20000 and three seeds it is the figure of the issue (`live/rest-storm` in the bench)."""


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(MARKETS, clock=FastClock(NOW, rate=1.0), calls_per_second=math.inf) as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "candles")


def connected(emulator: Emulator, page: int = 1000, **settings: Any) -> RestSource:
    options = {"calls_per_second": settings.pop("calls_per_second", 500)}
    source = RestSource(Connection(emulator.exchanges[0].name, emulator.url, options=options, **({"timeout_s": 0.5} | settings)), QUICK)
    source.rules = replace(source.rules, page=page)
    return source


def run(source: RestSource, store: Store, start: int, end: int, symbol: str = SYMBOL) -> Filled:
    async def go() -> Filled:
        try:
            return await fill(source, store, symbol, FRAME, start, end, patience=QUICK, pause_s=0.0)
        finally:
            await source.close()

    return asyncio.run(go())


def same(store: Store, emulator: Emulator, symbol: str = SYMBOL) -> bool:
    candles = store.read(symbol, FRAME)
    return candles.fingerprint == emulator.truth(symbol, FRAME, *candles.span).fingerprint and candles.simulated


@pytest.mark.parametrize("kind", [kind for kind in REST_FAULTS if kind != "revised"])
def test_each_fault_alone_gives_right_rows_or_an_error_with_a_name(emulator: Emulator, store: Store, kind: str) -> None:
    emulator.restart(Faults(script={0: kind, 2: kind}, hang_s=3.0, retry_after_s=0))
    store.write(emulator.truth("ETH/USDT", FRAME, NOW - 90 * MINUTE, NOW - 60 * MINUTE), exchange="binance", source="before")
    start, end = store.read("ETH/USDT", FRAME).span[1], NOW - 10 * MINUTE
    if kind in PERMANENT:
        with pytest.raises(SourceError, match=r"refuses this address \(403\)|country of this address \(451\)") as refused:
            run(connected(emulator), store, start, end, "ETH/USDT")
        assert not refused.value.retryable
        assert sum(call.number >= 0 for call in emulator.log) == 1
        return
    run(connected(emulator, page=25), store, start, end, "ETH/USDT")
    assert same(store, emulator, "ETH/USDT")
    assert store.read("ETH/USDT", FRAME).span[1] == end // MINUTE * MINUTE
    assert kind in {call.fault for call in emulator.log}
    assert store.gaps("ETH/USDT", FRAME) == []


def test_a_revised_row_is_taken_and_the_old_value_kept(emulator: Emulator, store: Store) -> None:
    emulator.restart()
    run(connected(emulator), store, NOW - 100 * MINUTE, NOW - 50 * MINUTE, "ETH/USDT")
    emulator.restart(Faults(script={0: "revised"}, seed=6))
    filled = run(connected(emulator, page=3), store, NOW - 50 * MINUTE, NOW - 48 * MINUTE, "ETH/USDT")
    assert len(store.revisions("ETH/USDT", FRAME)) == filled.revised <= 1


def test_a_storm_loses_doubles_and_invents_nothing(emulator: Emulator, store: Store) -> None:
    emulator.restart(Faults(seed=1, rest=0.25, retry_after_s=0))
    end = NOW // MINUTE * MINUTE
    filled = run(connected(emulator, page=100), store, end - STORM * MINUTE, end)
    assert same(store, emulator)
    assert filled.complete_ms == end
    assert filled.added + filled.absent == min(STORM, 4000)
    assert len([c for c in emulator.log if c.fault]) > STORM / 100 * 0.15
    assert {gap.kind for gap in store.gaps(SYMBOL, FRAME)} <= {"exchange gap"}


@pytest.mark.parametrize("kind", ["429", "418"])
def test_nothing_is_asked_inside_a_retry_after_window(emulator: Emulator, store: Store, kind: str) -> None:
    emulator.restart(Faults(script={9: kind}, retry_after_s=1))
    source = connected(emulator, page=20, calls_per_second=40)

    async def go() -> FetchReport:
        try:
            starts = {SYMBOL: NOW - 150 * MINUTE, "ETH/USDT": NOW - 150 * MINUTE}
            return await fetch_candles(source, store, starts, FRAME, patience=QUICK)
        finally:
            await source.close()

    report = asyncio.run(go())
    assert not report.failed
    calls = emulator.log
    told = next(call.world_s for call in calls if call.status in (429, 418))
    assert not [c for c in calls if c.early or told + 0.05 < c.world_s < told + 1.0]
    assert same(store, emulator)
    assert same(store, emulator, "ETH/USDT")


class Off:
    """A machine's clock that is off by ``skew_ms``, and is set by ``step_ms`` after ``calls`` looks at it."""

    rate = 1.0

    def __init__(self, true: FastClock, skew_ms: int, step_ms: int = 0, calls: int = 0) -> None:
        self._true, self._skew_ms, self._step_ms, self._calls = true, skew_ms, step_ms, calls

    def now_ms(self) -> int:
        self._calls -= 1
        return self._true.now_ms() + self._skew_ms + (self._step_ms if self._calls < 0 else 0)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Listening:
    def __init__(self) -> None:
        self.notes: list[str] = []

    def stage(self, name: str, total: float | None = None) -> Any:
        from contextlib import nullcontext

        return nullcontext()

    def advance(self, amount: float = 1, **figures: float) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize(("skew_s", "step_s"), [(3600, 0), (-60_000, 0), (3600, -7200)])
def test_a_wrong_clock_changes_nothing_but_a_warning(emulator: Emulator, store: Store, skew_s: int, step_s: int) -> None:
    emulator.restart()
    assert isinstance(emulator.clock, FastClock)
    source = connected(emulator, clock=Off(emulator.clock, 1000 * skew_s, 1000 * step_s, 1), page=50)
    watch = Listening()

    async def go() -> FetchReport:
        try:
            return await fetch_candles(source, store, {SYMBOL: NOW - 200 * MINUTE}, FRAME, progress=watch, patience=QUICK)
        finally:
            await source.close()

    report = asyncio.run(go())
    assert same(store, emulator)
    assert report.filled[0].complete_ms == emulator.now_ms() // MINUTE * MINUTE
    assert abs(report.skew_ms + 1000 * (skew_s + step_s)) < 3000
    assert any("candles close by binance's clock" in note for note in watch.notes)


def test_unknown_names_are_answered_with_the_nearest(emulator: Emulator) -> None:
    emulator.restart()
    source = connected(emulator)

    async def go() -> None:
        try:
            assert list(await source.symbols()) == ["BTC/USDT", "ETH/USDT"]
            for symbol, frame, text in (
                ("BTC/USDC", "1m", 'did you mean "BTC/USDT"'),
                (SYMBOL, "7m", "no candles of 7m: fetch one of 1s, 1m"),
            ):
                with pytest.raises(UsageError, match=text):
                    await source.page(symbol, Timeframe(frame), 0, MINUTE)
        finally:
            await source.close()

    asyncio.run(go())
    with pytest.raises(UsageError, match="no exchange 'binanc': did you mean \"binance\""):
        open_source(Connection("binanc"))


def test_a_line_that_is_dead_is_an_error_that_can_be_tried_again(store: Store) -> None:
    source = RestSource(Connection("binance", "http://127.0.0.1:9", timeout_s=0.5), Patience(3, 0.01, 0.01))
    told: list[str] = []
    source.pace.tell = told.append
    with pytest.raises(SourceError, match=r"asked 3 times .* the line to binance broke") as broken:
        run(source, store, 0, NOW)
    assert broken.value.retryable
    assert "asking again" in told[0]


def test_known_exchanges_are_listed_without_ccxt_being_asked() -> None:
    assert {"binance", "kraken", "coinbase", "okx", "bybit"} <= set(SOURCES.names())
    assert WallClock().rate == 1.0


class OwnSocket:
    """Somebody else's stream."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection


def test_a_socket_is_ccxts_or_somebody_elses_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection("binance", "http://127.0.0.1:9")
    source = RestSource(connection)
    assert type(open_stream(connection, source)).__name__ == "SocketStream"
    elsewhere = Connection("coinbase", "http://127.0.0.1:9")
    assert open_stream(elsewhere, RestSource(elsewhere)) is None, "it announces no candles"
    monkeypatch.setattr(STREAMS, "_entries", {"coinbase": Entry("coinbase", "candelabra.errors:DataError", "own:socket")})
    monkeypatch.setattr(STREAMS, "load", lambda name: OwnSocket)
    stream: Any = open_stream(elsewhere, RestSource(elsewhere))
    assert stream.connection is elsewhere


def test_newest_candles_in_the_place_of_older_ones_are_no_word_about_these() -> None:
    step = 60_000
    asked = Asked("some", SYMBOL, FRAME, 1000 * step, 1100 * step, 5000 * step)
    newest = [[k * step, 1.0, 1.0, 1.0, 1.0, 1.0] for k in range(4900, 5000)]
    with pytest.raises(SourceError, match="answered with its newest candles") as refused:
        _about_what_was_asked(newest, asked)
    assert not refused.value.retryable
    for fine in ([], newest[:50], [[1050 * step, 1.0, 1.0, 1.0, 1.0, 1.0]]):
        _about_what_was_asked(fine, asked)
