"""Coverage: every bar of every day is there or absent for one reason, and the calendar shows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candelabra.candles.frame import Candles
from candelabra.report.coverage import coverage_body
from candelabra.sources.coverage import ABSENCES, DAY_MS, coverage_of, coverage_of_candles
from candelabra.sources.provenance import Hole
from candelabra.sources.store import Store
from candelabra.testing import example_candles
from candelabra.testing.stores import example_store

HOUR = 3_600_000


def test_a_stored_series_tells_its_bars_and_holes_by_day(tmp_path: Path) -> None:
    (series,) = example_store(tmp_path / "kept").series()
    told = coverage_of(series)
    assert told.expected.sum() == 3000
    assert (told.bars("exchange gap"), told.bars("unknown"), told.bars("not fetched"), told.revisions) == (80, 3, 0, 3)
    assert told.as_dict()["incomplete_days"] == [
        {"day": "2023-12-31", "present": 620, "exchange gap": 80},
        {"day": "2024-01-01", "present": 1437, "unknown": 3},
    ]


@given(st.sets(st.integers(1, 98), max_size=60), st.sampled_from(["1h", "4h", "1d", "1w"]))
def test_every_bar_is_there_or_absent_for_one_reason(absent: set[int], timeframe: str) -> None:
    whole = example_candles(timeframe, 100, seed=1, gaps=False)
    there = np.setdiff1d(np.arange(100), list(absent))
    kept = whole.rows(there)
    told = coverage_of_candles(kept)
    assert told.expected.sum() == 100
    assert told.bars("unknown") == len(absent)
    days = whole.open_time // DAY_MS
    for day, present, lacking in zip(told.days // DAY_MS, told.present, told.absent["unknown"], strict=True):
        assert present == (days[there] == day).sum()
        assert lacking == (days[list(absent)] == day).sum() if absent else lacking == 0


def test_what_was_never_asked_for_between_two_stretches_is_not_fetched(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "kept")
    bars = example_candles("1h", 200, seed=2, gaps=False)
    for rows in (slice(0, 30), slice(150, 200)):
        store.write(bars.rows(rows), exchange="binance", source="the exchange", fetched_ms=1)
    gap = Hole(int(bars.open_time[200 - 1]) + HOUR, int(bars.open_time[199]) + 4 * HOUR, "no trade")
    store.record(bars.symbol, "1h", gap.start_ms, gap.end_ms, exchange="binance", source="the exchange", holes=[gap])
    told = coverage_of(store.series()[0])
    assert [told.bars(kind) for kind in ABSENCES] == [120, 0, 3, 0]
    page = coverage_body([told])
    assert page.count("<rect ") == len(told.days) + 1 + len(ABSENCES), "a square per day, and the legend's"
    assert "0 of 24 bars, 24 not fetched" in page


def test_an_empty_series_has_no_calendar() -> None:
    none = Candles.of("A<b>/USDT", "1h", *([],) * 6)
    page = coverage_body([coverage_of_candles(none)])
    assert "Nothing was fetched" in page
    assert "A<b>" not in page


@pytest.mark.parametrize("kind", ABSENCES)
def test_every_reason_has_a_colour_and_a_meaning(kind: str) -> None:
    assert f"<b>{kind}</b>" in coverage_body([])
