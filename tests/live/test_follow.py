"""Each closed bar once, in order, the same bits again: followers, journals, replays; however candles arrive and whatever interrupts."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candelabra.candles.frame import Candles
from candelabra.errors import DataError, SourceError, UsageError
from candelabra.live.feed import closed_candles, feed_timeframe, history_start, newest_stretch, spanning
from candelabra.live.follow import Follower
from candelabra.live.journal import Journal, body_of, reading_journal, writing_journal
from candelabra.live.replay import replay
from candelabra.live.seat import Opened, Seat
from candelabra.sources.store import Store
from candelabra.testing import perturbed_after
from candelabra.testing.exchanges import keep

HOUR = 3_600_000
LEAST = 720
"""Hours that the bundle's history is made of in these tests."""


def begin_ms(market: Candles, hours: int) -> int:
    return int(market.span[0]) + hours * HOUR


def test_what_is_said_does_not_depend_on_how_candles_arrive(opened: Opened, market: Candles) -> None:
    start, end = begin_ms(market, LEAST), begin_ms(market, LEAST + 30)
    history = spanning(market, market.span[0], start)
    at_once = [body_of(s.prediction) for s in Follower(opened.predictor, history, opened.keep).advance(spanning(market, start, end))]
    follower, one_by_one = Follower(opened.predictor, history, opened.keep), []
    for at in range(start, end, HOUR // 4):
        one_by_one += [body_of(s.prediction) for s in follower.advance(spanning(market, follower.as_of_ms, at + HOUR // 4))]
    assert len(at_once) == 30
    assert at_once == one_by_one
    assert all(body is not None for body in at_once)


def test_nothing_that_is_said_moves_with_candles_that_close_later(opened: Opened, market: Candles) -> None:
    start, cut, end = (begin_ms(market, LEAST + h) for h in (0, 10, 20))
    other = perturbed_after(market, cut, seed=5)
    said = []
    for candles in (market, other):
        follower = Follower(opened.predictor, spanning(candles, market.span[0], start), opened.keep)
        said.append({s.as_of_ms: body_of(s.prediction) for s in follower.advance(spanning(candles, start, end))})
    before = [at for at in said[0] if at <= cut]
    assert len(before) == 10
    assert all(said[0][at] == said[1][at] for at in before)
    assert said[0][end] != said[1][end]


def test_it_agrees_with_the_forecast_of_the_whole_history(opened: Opened, market: Candles) -> None:
    start = begin_ms(market, LEAST)
    follower = Follower(opened.predictor, spanning(market, market.span[0], start), opened.keep)
    for step in follower.advance(spanning(market, start, start + 3 * HOUR)):
        (whole,) = opened.predictor.forecast(market, step.as_of_ms)
        assert step.prediction is not None
        np.testing.assert_allclose(step.prediction.log_volatility, whole.log_volatility, atol=1e-5)


def test_candles_that_leave_some_out_are_refused(opened: Opened, market: Candles) -> None:
    start = begin_ms(market, LEAST)
    follower = Follower(opened.predictor, spanning(market, market.span[0], start))
    with pytest.raises(DataError, match="leave out"):
        list(follower.advance(spanning(market, start + HOUR, start + 2 * HOUR)))
    with pytest.raises(DataError, match="must end at a close"):
        Follower(opened.predictor, spanning(market, market.span[0], start - HOUR // 4))


def test_only_what_was_asked_for_without_interruption_is_given(store: Store, market: Candles) -> None:
    a, b, c = market.span[0], begin_ms(market, 10), begin_ms(market, 20)
    keep(store, spanning(market, a, b))
    keep(store, spanning(market, c, c + HOUR))
    frame = market.timeframe
    assert closed_candles(store, "memory", market.symbol, frame, a, c + HOUR).span == (a, b)
    assert len(closed_candles(store, "memory", market.symbol, frame, b, c)) == 0
    assert closed_candles(store, "elsewhere", market.symbol, frame, a, c).span == (a, a)
    newest = newest_stretch(store, "memory", market.symbol, frame, a, c + HOUR)
    assert newest is not None
    assert newest.span == (c, c + HOUR)
    assert newest_stretch(store, "memory", "X/Y", frame, a, c) is None


def test_the_finest_timeframe_feeds_a_bundle(opened: Opened, market: Candles) -> None:
    assert feed_timeframe(opened.predictor).name == "15m"
    assert history_start(opened.predictor, market.span[1], {}) < market.span[1] - 100 * HOUR


@settings(max_examples=5, deadline=None)
@given(stops=st.lists(st.integers(1, 12), min_size=1, max_size=4), torn=st.booleans())
def test_each_bar_is_said_once_in_order_over_any_interruption_and_again_the_same(
    opened: Opened, market: Candles, stops: list[int], torn: bool
) -> None:
    """Interrupted after any number of bars, also between a step and its writing, the journal goes on where it stands."""
    start = begin_ms(market, LEAST)
    with tempfile.TemporaryDirectory() as folder:
        at = start
        for number, bars in enumerate(stops):
            with writing_journal(Path(folder)) as journal:
                if number == 0:
                    journal.use_bundle(opened.id, opened.path, 0, "test")
                position = journal.position(market.symbol) or start
                assert position == at
                seat = Seat(journal, opened, spanning(market, market.span[0], position), made_ms=number)
                end = position + bars * HOUR
                for step in seat.follower.advance(spanning(market, position, end)):
                    if torn and step.as_of_ms == end:
                        break  # computed, never written
                    seat.take(step, made_ms=step.as_of_ms)
                    at = step.as_of_ms
        with reading_journal(Path(folder)) as journal:
            closes = [row[0] for row in journal.predictions(market.symbol)]
            there = [t for t in range(start + HOUR, at + 1, HOUR) if len(spanning(market, t - HOUR, t))]
            assert closes == there
            again = replay(journal)
            assert again.same, again.unlike
            assert again.bars == len(closes)


def test_a_bar_that_does_not_come_next_is_not_written(opened: Opened, market: Candles, tmp_path: Path) -> None:
    start = begin_ms(market, LEAST)
    with writing_journal(tmp_path) as journal:
        seat = Seat(journal, opened, spanning(market, market.span[0], start), made_ms=0)
        first, second = list(seat.follower.advance(spanning(market, start, start + 2 * HOUR)))
        with pytest.raises(DataError, match="does not follow"):
            seat.take(second, 0)
        seat.take(first, 0)
        with pytest.raises(DataError, match="does not follow"):
            seat.take(first, 0)
        assert len(journal.predictions(market.symbol)) == 1


def test_one_writes_and_the_other_is_told_who(tmp_path: Path) -> None:
    with writing_journal(tmp_path), pytest.raises(SourceError, match="is being written by process"), writing_journal(tmp_path):
        pass
    with pytest.raises(UsageError, match="has no live journal"), reading_journal(tmp_path / "elsewhere"):
        pass


def test_another_prediction_than_the_journals_is_noticed(opened: Opened, market: Candles, tmp_path: Path) -> None:
    start = begin_ms(market, LEAST)
    with writing_journal(tmp_path) as journal:
        journal.use_bundle(opened.id, opened.path, 0, "test")
        seat = Seat(journal, opened, spanning(market, market.span[0], start), made_ms=0)
        for step in seat.follower.advance(spanning(market, start, start + 3 * HOUR)):
            seat.take(step, 0)
        _alter(journal, start + 2 * HOUR)
        found = replay(journal)
    assert found.bars == 3
    assert len(found.unlike) == 1


def _alter(journal: Journal, at: int) -> None:
    journal._db.execute("UPDATE predictions SET body = replace(body, '0', '1') WHERE as_of_ms = ?", (at,))


def test_an_export_has_every_row_and_reads_back(opened: Opened, market: Candles, tmp_path: Path) -> None:
    import json

    start = begin_ms(market, LEAST)
    with writing_journal(tmp_path) as journal:
        seat = Seat(journal, opened, spanning(market, market.span[0], start), made_ms=0)
        for step in seat.follower.advance(spanning(market, start, start + 8 * HOUR)):
            seat.take(step, 0)
        count = journal.export(tmp_path / "journal.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    assert len(rows) == count
    kinds = [row["table"] for row in rows]
    assert kinds.count("predictions") == 8
    assert kinds.count("judged") == 7 + 2
