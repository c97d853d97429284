"""Spans and the ledger, against sets of single milliseconds."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from candelabra.candles import Timeframe
from candelabra.sources.provenance import Fetched, Hole, Ledger, difference, runs, union

SPANS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=8)
WEEK = 7 * 86_400_000


def points(spans: object) -> set[int]:
    return {t for a, b in spans for t in range(a, b)}  # type: ignore[attr-defined]


@given(SPANS, SPANS)
def test_union_and_difference_are_those_of_sets(some: list[tuple[int, int]], others: list[tuple[int, int]]) -> None:
    whole = union(some)
    assert points(whole) == points(some)
    assert all(a[1] < b[0] for a, b in itertools.pairwise(whole))
    left = difference(some, others)
    assert points(left) == points(some) - points(others)
    assert left == union(left)


@given(st.sets(st.integers(0, 40)))
def test_runs_are_the_stretches_that_bars_fill(bars: set[int]) -> None:
    times = np.array(sorted(bars), np.int64) * 60_000
    found = runs(times, Timeframe("1m"))
    assert points((a // 60_000, b // 60_000) for a, b in found) == bars
    assert found == union(found)


def test_a_run_of_months_has_no_gap_though_they_differ_in_length() -> None:
    months = np.array(["2020-01", "2020-02", "2020-03", "2020-05"], "datetime64[M]").astype("datetime64[ms]").astype(np.int64)
    assert len(runs(months, Timeframe("1M"))) == 2


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6), st.sampled_from("ab")), max_size=8))
def test_the_ledger_keeps_the_first_who_was_asked_unless_a_bar_changed(steps: list[tuple[int, int, str]]) -> None:
    ledger, owner = Ledger(), {}
    for number, (start, length, source) in enumerate(steps):
        revised = [(start, start + 1)] if number % 3 == 2 else []
        ledger = ledger.after((start, start + length), source, number * WEEK * 2, revised=revised)
        for t in range(start, start + length):
            if t not in owner or (revised and t == start):
                owner[t] = (source, number * WEEK * 2)
    assert {t: (f.source, f.first_ms) for f in ledger.fetched for t in range(f.start_ms, f.end_ms)} == owner
    assert list(ledger.fetched) == sorted(ledger.fetched)
    assert all(a.end_ms <= b.start_ms for a, b in itertools.pairwise(ledger.fetched))


def test_a_live_feed_keeps_one_record_a_week_not_one_a_bar() -> None:
    ledger = Ledger()
    for minute in range(3 * 7 * 24):
        t = minute * 3_600_000
        ledger = ledger.after((t, t + 3_600_000), "feed", t + 3_600_000, added=[(t, t + 3_600_000)])
    assert len(ledger.fetched) <= 4
    assert all(f.last_ms - f.first_ms <= WEEK for f in ledger.fetched)
    assert ledger.covered() == [(0, 3 * WEEK)]


def test_when_absences_cannot_be_trusted_only_bars_prove_what_was_fetched() -> None:
    ledger = Ledger((Fetched(0, 100, "a", 1, 1),), (Hole(40, 50, "no trade", "a", 1), Hole(90, 95, "no trade", "a", 1)))
    left = ledger.only([(0, 40), (50, 60), (200, 210)], "mended", 9, within=(0, 80))
    assert left.covered() == [(0, 40), (50, 60), (80, 100), (200, 210)]
    assert left.holes == (Hole(90, 95, "no trade", "a", 1),)
    assert [f.source for f in left.fetched] == ["a", "a", "a", "mended"]
    assert ledger.only([(0, 40)], "mended", 9).covered() == [(0, 40)]
