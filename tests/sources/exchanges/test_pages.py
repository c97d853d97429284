"""A page is right or refused: whatever is done to an answer, nothing wrong comes through."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candelabra.candles.timeframe import Timeframe
from candelabra.sources.exchanges.pages import Asked, BadPage, checked

from .stub import MINUTE, START, rows, table

FRAME = Timeframe("1m")
END = START + 20 * MINUTE


def asked(**changes: object) -> Asked:
    given_ = {"exchange": "x", "symbol": "BTC/USDT", "timeframe": FRAME, "start_ms": START, "end_ms": END, "closed_ms": END} | changes
    return Asked(**given_)  # type: ignore[arg-type]


TRUTH = rows(FRAME, START, END)
WRONG = [None, "", "x", float("nan"), float("inf"), -1.0, 0, True, {}, [], "1e999", 10**400, START / 1000, START + 1, START - MINUTE]


@given(st.integers(0, 19), st.integers(0, 5), st.sampled_from(WRONG), st.booleans())
def test_a_wrong_field_is_refused_or_makes_no_difference_to_the_other_rows(row: int, field: int, value: object, newest_first: bool) -> None:
    damaged = [list(r) for r in TRUTH]
    damaged[row][field] = value  # type: ignore[call-overload]
    try:
        page = checked(damaged[::-1] if newest_first else damaged, asked())
    except BadPage as error:
        bad = error
    else:
        bad = None
    if bad is not None:
        assert bad.retryable
        if bad.without is not None:
            assert bad.unlawful == (TRUTH[row][0],)
            assert np.array_equal(table(bad.without.candles), np.delete(np.array(TRUTH), row, 0))
        return
    assert field != 0 or value == TRUTH[row][0]  # lawful prices and volumes pass, other times do not
    assert np.array_equal(np.delete(table(page.candles), row, 0), np.delete(np.array(TRUTH), row, 0))


@given(st.lists(st.sampled_from(range(20)), min_size=1, max_size=25))
def test_repeats_and_disorder_are_refused_and_the_rest_is_as_it_was(order: list[int]) -> None:
    given_ = [TRUTH[k] for k in order]
    rising, falling = order == sorted(set(order)), order == sorted(set(order), reverse=True)
    if not (rising or falling):
        with pytest.raises(BadPage, match=r"twice|out of order"):
            checked(given_, asked())
        return
    page = checked(given_, asked())
    assert np.array_equal(table(page.candles), np.array(TRUTH)[sorted(order)])
    assert page.answered == (START, TRUTH[max(order)][0] + MINUTE)  # no word about what may have been cut off


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=4), lambda inner: st.lists(inner, max_size=6), max_leaves=30)
)
def test_no_answer_at_all_makes_another_error(answer: object) -> None:
    try:
        page = checked(answer, asked())
    except BadPage:
        return
    assert len(page.candles) == 0
    assert answer == []


def test_an_empty_list_vouches_for_all_that_had_closed() -> None:
    page = checked([], asked(closed_ms=END - 90_000))
    assert (len(page.candles), page.answered) == (0, (START, END - 2 * MINUTE))


def test_a_forming_candle_is_left_out() -> None:
    page = checked(TRUTH, asked(closed_ms=END - 1))
    assert page.candles.open_time[-1] == END - 2 * MINUTE
    assert page.answered == (START, END - MINUTE)


def test_what_was_not_asked_for_is_refused_unless_the_exchange_is_known_for_it() -> None:
    with pytest.raises(BadPage, match="was not asked for"):
        checked(TRUTH, asked(start_ms=START + MINUTE))
    assert len(checked(TRUTH, asked(start_ms=START + MINUTE, end_ms=END - MINUTE, loose=True)).candles) == 18


def test_rows_without_a_volume_have_none() -> None:
    page = checked([[*row[:5], None] for row in TRUTH], asked(volume=False))
    assert page.candles.volume.tolist() == [0.0] * 20


def test_shuffled_rows_are_refused() -> None:
    shuffled = list(TRUTH)
    random.Random(1).shuffle(shuffled)
    with pytest.raises(BadPage, match="out of order"):
        checked(shuffled, asked())
