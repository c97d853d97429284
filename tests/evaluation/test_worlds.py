"""Ways to change what comes later: what was known stays to the bit, what is changed is lawful and really is another thing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candelabra.candles.frame import law_breaks
from candelabra.candles.resample import resample
from candelabra.errors import UsageError
from candelabra.evaluation.subject import LAWFUL
from candelabra.evaluation.worlds import RESHAPING, WAYS, Arrays, Market
from candelabra.testing import example_candles

HOURS = example_candles(bars=300, gaps=False)
MARKET = Market.of([HOURS, resample(HOURS, "4h")])


@given(st.sampled_from(WAYS), st.integers(0, 290), st.integers(0, 5))
def test_what_was_known_stays_and_something_later_changes(way: str, row: int, seed: int) -> None:
    time = int(HOURS.close_time[row if way != "append" else -1])
    changed = MARKET.changed(way, time, seed=seed)
    for name in MARKET.parts:
        before, after = MARKET.candles[name].between(end_ms=time), changed.candles[name].between(end_ms=time)
        assert before.fingerprint == after.fingerprint
    assert changed.fingerprint != MARKET.fingerprint
    if way != "nan":
        for candles in changed.candles.values():
            assert not law_breaks(*candles.values()).any()
            assert (np.diff(candles.open_time) > 0).all()
    assert (len(changed.finest) != len(HOURS)) == (way in RESHAPING and row < 299)


@given(st.sampled_from([w for w in LAWFUL if w not in RESHAPING]), st.integers(0, 280), st.integers(1, 15))
def test_a_change_can_be_kept_to_a_stretch_and_to_one_timeframe(way: str, row: int, length: int) -> None:
    after, until = int(HOURS.close_time[row]), int(HOURS.close_time[row + length])
    changed = MARKET.changed(way, after, until_ms=until, part="1h")
    assert changed.candles["4h"].fingerprint == MARKET.candles["4h"].fingerprint
    same = changed.finest.close == HOURS.close
    outside = (HOURS.close_time <= after) | (HOURS.close_time > until)
    assert same[outside].all()


@given(st.integers(0, 299), st.floats(-0.4, 0.4).filter(lambda s: abs(s) > 1e-3))
def test_a_shock_moves_the_bars_that_close_then_and_no_other(row: int, size: float) -> None:
    time = int(HOURS.close_time[row])
    shocked = MARKET.shocked(time, size)
    for name in MARKET.parts:
        own = MARKET.candles[name]
        moved = shocked.candles[name].close != own.close
        assert (np.flatnonzero(moved) == np.flatnonzero(own.close_time == time)).all()
        assert not law_breaks(*shocked.candles[name].values()).any()


def test_what_came_before_can_be_cut_off() -> None:
    time = int(HOURS.close_time[200])
    tail = MARKET.since(10, time)
    assert len(tail.finest) == 10
    assert int(tail.candles["4h"].close_time[-1]) <= time


@given(st.sampled_from(WAYS), st.integers(0, 40), st.integers(0, 3))
def test_arrays_change_after_a_row_only(way: str, row: int, seed: int) -> None:
    time = np.arange(50, dtype=np.int64) * 60_000
    arrays = Arrays(time, {"q": np.random.default_rng(1).normal(size=(50, 3)), "v": np.arange(50.0)})
    changed = arrays.changed(way, int(time[row if way != "append" else -1]), seed=seed)
    kept = row + 1 if way != "append" else 50
    for name in arrays.parts:
        np.testing.assert_array_equal(changed.values[name][:kept], arrays.values[name][:kept])
    assert changed.fingerprint != arrays.fingerprint


def test_an_unknown_way_and_a_market_without_bars_are_refused() -> None:
    with pytest.raises(UsageError, match="unknown way to change candles 'twist'"):
        MARKET.changed("twist", 0)
    with pytest.raises(UsageError, match="needs candles"):
        Market.of([HOURS.rows(slice(0, 0))])
