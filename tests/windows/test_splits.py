from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candelabra.errors import DataError, UsageError
from candelabra.windows.splits import PARTS, chronological, combinatorial_purged, walk_forward

HOUR = 3_600_000


@st.composite
def close_times(draw):
    symbols = []
    for _ in range(draw(st.integers(1, 3))):
        start, count = draw(st.integers(0, 200)), draw(st.integers(500, 900))
        keep = np.random.default_rng(draw(st.integers(0, 99))).random(count) > draw(st.sampled_from([0.0, 0.05, 0.5]))
        symbols.append((start + np.flatnonzero(keep) + 1).astype(np.int64) * HOUR)
    return symbols


def check_in_order(split, times):
    for earlier, later in pairwise(PARTS):
        begins = [t[r[0]] for t, r in zip(times, split.part(later), strict=True) if len(r)]
        for t, rows in zip(times, split.part(earlier), strict=True):
            known_at = t[rows] + split.purge_ms
            assert not len(rows) or known_at.max() + split.embargo_ms <= min(begins)


@given(close_times(), st.integers(0, 24), st.integers(0, 10))
@settings(max_examples=40, deadline=None)
def test_every_target_of_a_part_is_known_before_the_next_part_begins(times, purge, embargo):
    split = chronological(times, purge_ms=purge * HOUR, embargo_ms=embargo * HOUR)
    check_in_order(split, times)
    for symbol, t in enumerate(times):
        rows = np.concatenate([split.part(p)[symbol] for p in PARTS])
        assert (np.diff(rows) > 0).all()
        if purge == embargo == 0:
            assert len(rows) == len(t)
    for k, name in enumerate(PARTS):
        for t, rows in zip(times, split.part(name), strict=True):
            assert ((t[rows] >= split.cuts_ms[k]) & (t[rows] < split.cuts_ms[k + 1])).all()


@given(close_times(), st.integers(0, 12), st.sampled_from(["expanding", "rolling"]), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_walk_forward_tests_tile_the_end_and_train_only_on_the_past(times, purge, window, folds):
    splits = walk_forward(times, folds, window=window, purge_ms=purge * HOUR)
    for split in splits:
        check_in_order(split, times)
    for symbol in range(len(times)):
        tested = np.concatenate([s.test[symbol] for s in splits])
        assert (np.diff(tested) == 1).all()
        assert not len(tested) or tested[-1] == len(times[symbol]) - 1
    lengths = [s.cuts_ms[3] - s.cuts_ms[0] for s in splits]
    assert lengths == sorted(lengths)
    if window == "rolling":
        assert max(lengths) - min(lengths) <= 1


@given(close_times(), st.integers(0, 12), st.integers(0, 20), st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_combinatorial_training_touches_no_test_span_on_either_side(times, purge, look_back, embargo):
    folds = list(combinatorial_purged(times, 5, 2, purge_ms=purge * HOUR, look_back_ms=look_back * HOUR, embargo_ms=embargo * HOUR))
    assert len(folds) == 10
    counts = [np.zeros(len(t), int) for t in times]
    for fold in folds:
        tested = np.unique(np.concatenate([t[r] for t, r in zip(times, fold.test, strict=True)]))
        for t, train, test, count in zip(times, fold.train, fold.test, counts, strict=True):
            count[test] += 1
            assert not np.intersect1d(train, test).size
            # no training row's target or input window overlaps a target span of the test
            behind = np.searchsorted(tested, t[train], "right")
            last_test = np.concatenate([[-(10**15)], tested])[behind]
            next_test = np.concatenate([tested, [10**15]])[behind]
            assert (t[train] + purge * HOUR <= next_test).all()
            assert (t[train] - (look_back + embargo) * HOUR >= last_test + purge * HOUR).all()
    assert all((c == 4).all() for c in counts)


def test_a_part_that_purge_empties_is_refused_with_the_figures():
    hours = np.arange(1, 101, dtype=np.int64) * HOUR
    with pytest.raises(DataError, match=r"the validation part .* 10 bars .* empty after a purge of 0.50 days"):
        chronological([hours], purge_ms=12 * HOUR)
    with pytest.raises(DataError, match="no bars to split"):
        chronological([hours[:0]], purge_ms=0)
    with pytest.raises(DataError, match="has no train rows"):
        list(combinatorial_purged([hours], 4, 2, purge_ms=HOUR, look_back_ms=100 * HOUR))


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.7, 0.1, 0.1, 0.2), (0.8, 0.0, 0.1, 0.1)])
def test_shares_that_cannot_be_are_refused(shares):
    with pytest.raises(UsageError, match="sum to 1"):
        chronological([np.arange(100)], shares, purge_ms=0)
