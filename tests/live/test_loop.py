"""The loop on an exchange in memory: start, interruptions, silence, faults, clocks that are off; nothing lost, doubled or out of order."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from candelabra.candles.frame import Candles
from candelabra.errors import DataError, SourceError, UsageError
from candelabra.live.feed import spanning
from candelabra.live.journal import Journal, reading_journal, writing_journal
from candelabra.live.loop import Event, Live, LiveSettings
from candelabra.live.replay import replay
from candelabra.live.seat import Opened
from candelabra.live.watch import patience_s
from candelabra.sources.exchanges.clock import FastClock
from candelabra.sources.exchanges.contract import Rules
from candelabra.sources.store import Store
from candelabra.testing.exchanges import MemorySource, MemoryStream, keep, plain_fill

HOUR = 3_600_000
RATE = 36_000.0  # an hour in a tenth of a second
START = 1_577_836_800_000 + 800 * HOUR


class World:
    """One run of the loop in memory, and what it told."""

    def __init__(self, opened: Opened, market: Candles, store: Store, folder: Path) -> None:
        self.opened, self.market, self.store, self.folder = opened, market, store, folder
        self.clock = FastClock(START, RATE)
        self.source = MemorySource(market, self.clock)
        self.events: list[Event] = []

    @contextmanager
    def live(self, stream: MemoryStream | None = None, **settings: Any) -> Iterator[Live]:
        with writing_journal(self.folder) as journal:
            if journal.bundle() is None:
                journal.use_bundle(self.opened.id, self.opened.path, START, "test")
            made = LiveSettings((self.market.symbol,), **settings)
            loop = Live(self.opened, self.source, self.store, journal, self.clock, plain_fill, made, stream)  # type: ignore[arg-type]
            loop.subscribe(self.events.append)
            yield loop

    def run(self, until: Callable[[Live], bool], stream: MemoryStream | None = None, **settings: Any) -> None:
        async def both(loop: Live) -> None:
            async def watch() -> None:
                began = time.monotonic()
                while not until(loop) and time.monotonic() - began < 20:
                    await asyncio.sleep(0.01)
                loop.stop()

            watching = asyncio.create_task(watch())
            await loop.run()
            await watching
            assert until(loop), [e for e in self.events if e.kind == "state"]

        with self.live(stream, **settings) as loop:
            asyncio.run(both(loop))

    def states(self, subject: str | None = None) -> list[str]:
        return [e.body["after"] for e in self.events if e.kind == "state" and e.subject == (subject or self.market.symbol)]

    def check(self) -> list[int]:
        """Every closed bar is in the journal once, in order, from the right candles; replayed to the bit."""
        with reading_journal(self.folder) as journal:
            closes = [at for at, _, _ in journal.predictions(self.market.symbol)]
            there = [t for t in range(closes[0], closes[-1] + 1, HOUR) if len(spanning(self.market, t - HOUR, t))]
            assert closes == there
            starts = journal.starts()
            for start, end in zip(starts, [*(s.as_of_ms for s in starts[1:]), closes[-1]], strict=True):
                given = journal.candles(start, start.as_of_ms, end)
                true = spanning(self.market, start.as_of_ms, end)
                assert given.fingerprint == true.fingerprint
            found = replay(journal)
            assert found.same, found.unlike
            return closes


def after(bars: int) -> Callable[[Live], bool]:
    begun: list[int] = []

    def reached(loop: Live) -> bool:
        position = loop.journal.position(loop.settings.symbols[0])
        if position is None:
            return False
        begun.append(position)
        return position >= begun[0] + bars * HOUR

    return reached


@pytest.fixture
def world(opened: Opened, market: Candles, store: Store, tmp_path: Path) -> World:
    return World(opened, market, store, tmp_path / "journal")


def test_once_catches_up_and_leaves(world: World) -> None:
    for _ in range(2):
        with world.live() as loop:
            asyncio.run(loop.once())
    closes = world.check()
    assert world.states()[0] == "live"
    assert closes[0] == START
    said = [e for e in world.events if e.kind == "prediction"]
    assert len(said) == len(closes) >= 1


def test_by_the_clock_alone(world: World) -> None:
    world.run(after(8))
    closes = world.check()
    assert len(closes) >= 8
    assert world.states() == ["live"]
    assert world.states("memory") == ["live"]


def test_since_a_time_in_the_past_and_on_from_there(world: World) -> None:
    world.run(after(30), since_ms=START - 24 * HOUR)
    assert world.check()[0] == START - 23 * HOUR
    assert {e.body["horizon"] for e in world.events if e.kind == "judged"} == {"1h", "6h"}
    with reading_journal(world.folder) as journal:
        assert len(journal.rows("judged")) > 40


def test_after_an_interruption_it_catches_up_in_order(world: World) -> None:
    world.run(after(3))
    time.sleep(0.6)  # six hours
    world.run(after(8))
    closes = world.check()
    assert len(closes) >= 11


@pytest.mark.parametrize("end", ["silent", "frozen", "raises", "ends"])
def test_a_socket_that_goes_wrong_is_noticed_left_and_dialled_anew(end: str, world: World) -> None:
    world.clock = world.source.clock = FastClock(START, RATE / 3)
    stream = MemoryStream(world.source, plan=lambda session: (4, end))
    world.run(lambda loop: stream.sessions >= 3 and after_sessions(loop), stream)
    world.check()
    exchange = world.states("memory")
    assert exchange[0] == "live"
    # a machine that is busy with other things may make a session look silent before it ends
    assert "stale" in exchange or (end in ("raises", "ends") and "recovering" in exchange)
    if end in ("silent", "frozen"):
        states = [e for e in world.events if e.kind == "state" and e.subject == world.market.symbol]
        assert [e.body["after"] for e in states][:4] == ["live", "stale", "recovering", "live"]
        recovered = (states[3].at_ms - states[1].at_ms) / 1000 / world.clock.rate
        assert recovered < 2.0
        ages = [float(e.body["why"].split()[-2]) for e in states if e.body["after"] == "stale"]
        assert ages[0] < 1.5 * patience_s(world.market.timeframe)
    assert stream.closed >= 2


def after_sessions(loop: Live) -> bool:
    return all(post.health.state == "live" for post in loop.posts.values())


def test_dials_that_are_refused_leave_it_to_the_clock(world: World) -> None:
    stream = MemoryStream(world.source, plan=lambda session: (0, "refused"))
    world.run(after(6), stream)
    assert len(world.check()) >= 6
    assert stream.sessions < 20


def test_requests_that_fail_are_asked_again_and_one_that_cannot_be_answered_halts(world: World) -> None:
    def stumble(number: int) -> None:
        if number % 3 == 1:
            raise SourceError("the line broke", retryable=True)

    world.source.fault = stumble
    world.run(after(5))
    world.check()
    assert "recovering" in world.states()

    def refuse(number: int) -> None:
        raise SourceError("the symbol was delisted: choose another")

    world.source.fault = refuse
    with world.live() as loop, pytest.raises(SourceError, match="delisted"):
        asyncio.run(loop.run())
    assert loop.exchange.state == "halted"


@pytest.mark.parametrize("skew_ms", [HOUR, -HOUR])
def test_a_clock_that_is_off_changes_no_row_and_is_told(skew_ms: int, world: World) -> None:
    """The exchange's time is the true one; this machine's is an hour off, and later right again."""
    wrong = FastClock(START - skew_ms, RATE)
    true = FastClock(START, RATE)
    world.clock = world.source.clock = wrong
    world.source.skew_ms = skew_ms * 24  # beyond what a fast clock's own inaccuracy is
    wrong._start_ms = START - world.source.skew_ms
    del true

    def step(loop: Live) -> bool:
        done = after_five(loop)
        if done and world.source.skew_ms:
            wrong._start_ms += world.source.skew_ms
            world.source.skew_ms = 0
            return False
        return done and after_ten(loop)

    after_five, after_ten = after(5), after(10)
    world.run(step, MemoryStream(world.source))
    assert len(world.check()) >= 10
    said = [e.body["text"] for e in world.events if e.kind == "warning"]
    assert "clock is 86400 s" in said[0]


def test_what_an_exchange_no_longer_gives_is_left_out_and_said(world: World, market: Candles) -> None:
    world.run(after(2))
    world.source.rules = replace(Rules(page=1000), newest=3500)
    with world.live() as loop:
        position = loop.journal.position(market.symbol)
        assert position is not None
        later = position + 40 * HOUR
        keep(world.store, spanning(market, later, later + 2 * HOUR))

        async def nothing(*_: Any) -> None:
            return None

        loop._fill = nothing
        loop.settings = loop.settings
        post = loop.posts[market.symbol]
        post.until_ms = later + 2 * HOUR
        with pytest.raises(DataError):  # too little after the hole for a forecast
            asyncio.run(loop._catch_up(post))
    assert any("can no longer be had" in e.body["text"] for e in world.events if e.kind == "warning")


def test_symbols_and_bundles_that_do_not_fit_are_refused(world: World) -> None:
    world.source.candles = spanning(world.market, START, START)
    with world.live() as loop:
        loop.settings = LiveSettings(("SIN/USDT",))
        with pytest.raises(UsageError, match='did you mean "SIM/USDT"'):
            asyncio.run(loop.once())


CHILD = """
import asyncio, sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from candelabra.live.journal import writing_journal
from candelabra.live.loop import Live, LiveSettings
from candelabra.live.seat import open_bundle
from candelabra.sources.exchanges.clock import FastClock
from candelabra.sources.store import Store
from candelabra.testing import example_candles
from candelabra.testing.exchanges import MemorySource, plain_fill
market = example_candles("15m", 4 * 1400, seed=3)
clock = FastClock({start}, {rate})
opened = open_bundle(Path({bundle!r}))
with writing_journal(Path({journal!r})) as journal:
    if journal.bundle() is None:
        journal.use_bundle(opened.id, opened.path, 0, "test")
    live = Live(opened, MemorySource(market, clock), Store.open({store!r}), journal, clock, plain_fill, LiveSettings((market.symbol,)))
    live.subscribe(lambda e: print(e.kind, e.at_ms, flush=True) if e.kind == "prediction" else None)
    asyncio.run(live.run())
"""


def test_kill_9_loses_nothing_that_was_acknowledged_and_it_goes_on_by_itself(world: World, product: Path) -> None:
    script = CHILD.format(
        tests=str(Path(__file__).parent), start=START, rate=RATE, bundle=str(product), journal=str(world.folder),
        store=str(world.store.root),
    )  # fmt: skip
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    acknowledged = []
    for line in child.stdout:
        acknowledged.append(int(line.split()[1]))
        if len(acknowledged) >= 7:
            os.kill(child.pid, signal.SIGKILL)
            break
    child.stdout.close()
    child.wait()
    with reading_journal(world.folder) as journal:
        assert [at for at, _, _ in journal.predictions(world.market.symbol)][: len(acknowledged)] == acknowledged
    world.clock._start_ms += acknowledged[-1] + 5 * HOUR - world.clock.now_ms()
    world.run(after(9))
    assert world.check()[: len(acknowledged)] == acknowledged
    with reading_journal(world.folder) as journal:
        assert len(journal.starts()) == 2


def test_a_listener_hears_what_the_journal_has(world: World) -> None:
    world.run(after(12), since_ms=START - 10 * HOUR, judge_every=5)
    with reading_journal(world.folder) as journal:
        told = [e for e in world.events if e.kind in ("state", "warning", "note", "bundle")]
        assert len(journal.rows("events")) == len(told)
        assert len([e for e in world.events if e.kind == "judged"]) == len(journal.rows("judged"))


def test_another_bundle_takes_over_at_the_next_bar(world: World) -> None:
    switched: list[int] = []

    def take_over(loop: Live) -> bool:
        position = loop.journal.position(world.market.symbol)
        if not switched and position is not None and position >= START + 3 * HOUR:
            switched.append(position)
            loop.use(replace(loop.opened, notes=("the same again",)), "a test")
        return bool(switched) and position is not None and position >= switched[0] + 3 * HOUR

    world.run(take_over)
    world.check()
    with reading_journal(world.folder) as journal:
        assert len(journal.starts()) == 2
        assert [row["why"] for row in journal.rows("bundles")] == ["test", "a test"]
        assert isinstance(journal, Journal)
