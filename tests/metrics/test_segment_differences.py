"""Intervals of differences between segmentations: they mean what they say, and resample segments and markets, not bars."""

from __future__ import annotations

import numpy as np
import pytest

from candelabra.errors import DataError
from candelabra.metrics.judged_bars import judged_bars
from candelabra.metrics.segment_bounds import covering
from candelabra.metrics.segment_differences import difference_over_markets, difference_over_segments
from candelabra.metrics.segments import macro_f1


def market(rng: np.random.Generator, segments: int = 40) -> np.ndarray:
    return np.repeat(np.cumsum(rng.integers(1, 4, segments)) % 4, rng.integers(20, 60, segments))


def wrong_in(rng: np.random.Generator, truth: np.ndarray, share: float) -> np.ndarray:
    """Whole stretches of 10 bars shown wrong."""
    bad = np.repeat(rng.random(len(truth) // 10 + 1) < share, 10)[: len(truth)]
    return np.where(bad, (truth + 1) % 4, truth)


@pytest.mark.parametrize("figure", ["macro_f1", "covering"])
def test_the_difference_is_that_of_the_figures(figure: str) -> None:
    rng = np.random.default_rng(0)
    truth = market(rng)
    truth[100:130] = -1
    ours, theirs = wrong_in(rng, truth, 0.1), wrong_in(rng, truth, 0.3)
    ours[:15], theirs[-20:] = -1, -1
    found = difference_over_segments([truth], [ours], [theirs], 4, figure)
    both = np.where((ours >= 0) & (theirs >= 0), truth, -1)
    of = covering if figure == "covering" else lambda bars: macro_f1(bars, 4)
    assert found.value == pytest.approx(of(judged_bars(both, ours)) - of(judged_bars(both, theirs)))
    assert found.low < found.value < found.high
    assert found.words == "clearly better"


def test_equal_labellings_are_level_and_swapping_turns_the_sign() -> None:
    rng = np.random.default_rng(1)
    truth = [market(rng) for _ in range(3)]
    a, b = [wrong_in(rng, t, 0.2) for t in truth], [wrong_in(rng, t, 0.2) for t in truth]
    same = difference_over_segments(truth, a, a, 4)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    one, other = difference_over_segments(truth, a, b, 4), difference_over_segments(truth, b, a, 4)
    assert one.value == pytest.approx(-other.value)
    assert one.low == pytest.approx(-other.high)


def test_the_interval_holds_nothing_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    held = 0
    for _ in range(120):
        truth = market(rng)
        d = difference_over_segments([truth], [wrong_in(rng, truth, 0.2)], [wrong_in(rng, truth, 0.2)], 4, resamples=400)
        held += d.low <= 0 <= d.high
    assert held >= 0.87 * 120


def test_over_markets_means_are_compared_pair_by_pair() -> None:
    rng = np.random.default_rng(3)
    level = rng.normal(0.8, 0.1, 10)  # markets differ far more than methods do
    ours = level + 0.02 + rng.normal(0, 0.005, 10)
    found = difference_over_markets(ours, level)
    assert found.value == pytest.approx((ours - level).mean())
    assert found.words == "clearly better"
    assert difference_over_markets([*ours, np.nan], [*level, 0.5]).value == pytest.approx(found.value)


def test_too_little_to_compare_is_said() -> None:
    with pytest.raises(DataError, match="2 or more"):
        difference_over_markets([0.5], [0.4])
    with pytest.raises(DataError, match="2 or more"):
        difference_over_markets([0.5, 0.6], [0.4])
    with pytest.raises(DataError, match="1 labelled segments"):
        difference_over_segments([np.zeros(5, int)], [np.zeros(5, int)], [np.ones(5, int)], 2)
