"""The journey against a source that misbehaves by seed: what is stored is the truth, and what is absent is told with its reason."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import SourceError
from candelabra.sources.exchanges.contract import Page, Rules
from candelabra.sources.exchanges.fetching import Filled, fill, sole_collector
from candelabra.sources.exchanges.journey import fetch_candles
from candelabra.sources.exchanges.listing import first_by_pages
from candelabra.sources.exchanges.pace import GaveUp, Patience
from candelabra.sources.exchanges.pages import BadPage
from candelabra.sources.store import Store

from .stub import MINUTE, START, StubSource, table, truth

FRAME = Timeframe("1m")
QUICK = Patience(25, 0.0, 0.0)
SYMBOL = "BTC/USDT"


def filled(source: StubSource, store: Store, start: int = START, end: int | None = None, **settings: object) -> Filled:
    end = source.now if end is None else end
    return asyncio.run(fill(source, store, SYMBOL, FRAME, start, end, patience=QUICK, pause_s=0.0, **settings))  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "candles")


@pytest.mark.parametrize("seed", range(5))
def test_a_quarter_of_wrong_answers_leaves_the_truth_in_the_store(store: Store, seed: int) -> None:
    holes = [(START + 200 * MINUTE, START + 209 * MINUTE), (START + 400 * MINUTE, START + 640 * MINUTE)]
    source = StubSource(START + 1200 * MINUTE + 7, START + 77 * MINUTE, holes, faults=0.25, seed=seed)
    got = filled(source, store)
    candles = store.read(SYMBOL, FRAME)
    assert np.array_equal(table(candles), truth(source, FRAME, START, source.now // MINUTE * MINUTE))
    assert [(h.start_ms, h.end_ms, h.kind) for h in store.gaps(SYMBOL, FRAME)] == [(*hole, "exchange gap") for hole in holes]
    assert (got.added, got.absent, got.complete_ms) == (len(candles), 249, source.now // MINUTE * MINUTE)
    assert got.first_ms == START + 77 * MINUTE


def test_what_is_stored_is_not_asked_for_again_but_for_one_row(store: Store) -> None:
    source = StubSource(START + 100 * MINUTE)
    filled(source, store)
    source.asked.clear()
    assert filled(source, store).added == 0
    assert source.asked == []
    source.now += 3 * MINUTE
    assert (filled(source, store).added, source.asked) == (3, [(START + 99 * MINUTE, START + 103 * MINUTE)])


def test_a_revision_of_the_last_row_is_noticed(store: Store) -> None:
    source = StubSource(START + 100 * MINUTE)
    filled(source, store)
    source.changed[START + 99 * MINUTE] = 77.0
    source.now += MINUTE
    assert filled(source, store).revised == 1
    (revision,) = store.revisions(SYMBOL, FRAME)
    assert (revision.new[4], revision.source) == (77.0, "stub")


def test_the_forming_candle_and_late_ones_at_the_tip_are_left_for_later(store: Store) -> None:
    hole = (START + 98 * MINUTE, START + 100 * MINUTE)
    source = StubSource(START + 100 * MINUTE + 30_000, holes=[hole])
    got = filled(source, store)
    assert (got.added, got.complete_ms) == (98, hole[0])
    assert store.spans_not_fetched(SYMBOL, FRAME, *hole) == [hole]  # nobody is told that they are absent
    source.holes.clear()
    assert filled(source, store).added == 2


def test_an_absence_at_the_tip_is_believed_after_a_while_or_with_a_later_candle(store: Store) -> None:
    hole = (START + 98 * MINUTE, START + 100 * MINUTE)
    source = StubSource(START + 101 * MINUTE, holes=[hole])
    filled(source, store)
    assert filled(source, store).absent == 2  # a page with 100 in it
    source = StubSource(START + 108 * MINUTE, holes=[(START + 101 * MINUTE, START + 108 * MINUTE)])
    assert filled(source, store).complete_ms == START + 103 * MINUTE
    assert [h.end_ms for h in store.gaps(SYMBOL, FRAME)] == [hole[1], START + 103 * MINUTE]


def test_a_market_that_ended_is_not_paged_through(store: Store) -> None:
    source = StubSource(START + 100_000 * MINUTE, holes=[(START + 30 * MINUTE, 1 << 60)])
    got = filled(source, store)
    assert (got.added, len(source.asked)) == (30, pytest.approx(40, abs=40))
    assert got.complete_ms == source.now - 5 * MINUTE


def test_rows_that_are_no_candles_each_time_are_recorded_as_absent(store: Store) -> None:
    class Broken(StubSource):
        async def page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
            self.changed[START + 10 * MINUTE] = -1.0
            return await super().page(symbol, timeframe, start_ms, end_ms)

    got = filled(Broken(START + 100 * MINUTE), store)
    assert (got.added, got.absent) == (99, 1)
    assert "1 rows of stub are no candles" in got.notes[-1]
    assert [(h.start_ms, h.kind) for h in store.gaps(SYMBOL, FRAME)] == [(START + 10 * MINUTE, "exchange gap")]


def test_an_exchange_that_gives_its_newest_only_says_what_cannot_be_had(store: Store) -> None:
    source = StubSource(START + 1000 * MINUTE, rules=Rules(100, newest=100, advice="import its archives"))
    got = filled(source, store)
    assert (got.added, got.complete_ms) == (96, source.now)
    assert got.notes == ("BTC/USDT 1m from 2023-11-14 22:14 to 2023-11-15 13:18 cannot be had: import its archives",)


def test_what_had_come_is_stored_when_the_line_breaks_for_good(store: Store) -> None:
    class Ending(StubSource):
        async def page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
            if start_ms >= START + 500 * MINUTE:
                raise SourceError("the line broke", retryable=True)
            return await super().page(symbol, timeframe, start_ms, end_ms)

    with pytest.raises(GaveUp, match="asked 25 times"):
        filled(Ending(START + 1000 * MINUTE), store)
    assert len(store.read(SYMBOL, FRAME)) == 500
    assert filled(StubSource(START + 1000 * MINUTE), store).added == 500


def test_an_interruption_keeps_what_had_come(store: Store) -> None:
    class Slow(StubSource):
        async def page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
            if start_ms >= START + 500 * MINUTE:
                await asyncio.sleep(30)
            return await super().page(symbol, timeframe, start_ms, end_ms)

    async def go() -> None:
        task = asyncio.create_task(fill(Slow(START + 1000 * MINUTE), store, SYMBOL, FRAME, START, START + 1000 * MINUTE))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(go())
    assert len(store.read(SYMBOL, FRAME)) == 500


def test_one_collector_of_a_series_at_a_time_and_others_are_told_who_it_is(store: Store) -> None:
    source = StubSource(START + 100 * MINUTE)
    with sole_collector(store, "stub", SYMBOL, FRAME):
        report = asyncio.run(fetch_candles(source, store, {SYMBOL: START, "ETH/USDT": START}, FRAME, patience=QUICK))
    assert [one.symbol for one in report.filled] == ["ETH/USDT"]
    assert "is being written by process" in str(report.failed[SYMBOL])


@pytest.mark.parametrize("listed", [START + 123_456 * MINUTE, START, START - 5 * MINUTE])
def test_the_first_candle_is_found_in_few_pages(listed: int) -> None:
    source = StubSource(START + 400_000 * MINUTE, listed, rules=Rules(50))
    days = [Timeframe("1d"), Timeframe("1w"), Timeframe("1M")]
    first = asyncio.run(first_by_pages(source, SYMBOL, FRAME, START, days, QUICK))
    assert first == max(listed, START)
    assert len(source.asked) < 120


def test_no_first_candle_where_there_is_none() -> None:
    source = StubSource(START + 400_000 * MINUTE, START - 9_000 * MINUTE, holes=[(START - 30 * MINUTE, 1 << 60)], rules=Rules(50))
    days = [Timeframe("1d"), Timeframe("1M")]
    assert asyncio.run(first_by_pages(source, SYMBOL, FRAME, START, days, QUICK)) is None


def test_a_bad_page_says_what_is_wrong_and_can_be_asked_for_again() -> None:
    assert BadPage("x").retryable
