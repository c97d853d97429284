import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candelabra.candles.frame import Candles
from candelabra.candles.hindsight import Hindsight, refuse_hindsight
from candelabra.errors import DataError, UsageError
from candelabra.regimes.barriers import triple_barrier

HOUR = 3_600_000


def candles_of(close, keep=None, wick=0.001):
    close = np.asarray(close, np.float64)
    open_ = np.concatenate([close[:1], close[:-1]])
    columns = (open_, np.maximum(open_, close) * (1 + wick), np.minimum(open_, close) * (1 - wick), close, np.ones(len(close)))
    keep = np.arange(len(close)) if keep is None else keep
    return Candles.of("X/Y", "1h", np.arange(len(close))[keep] * HOUR, *[c[keep] for c in columns])


def test_the_first_barrier_touched_gives_the_label_and_the_moment_it_is_known():
    candles = candles_of([100, 101, 99.5, 103.5, 90, 90, 90, 90], wick=0)
    labels = triple_barrier(candles, np.full(8, 0.015), 3)
    assert labels.label.tolist()[:3] == [1, -1, 1]
    assert labels.touch_row.tolist() == [3, 4, 3, 4, 7, -1, -1, -1]
    assert labels.known_at[0] == candles.close_time[3]
    assert labels.returns[0] == pytest.approx(0.03)
    assert labels.label[4] == 0
    assert labels.known.tolist() == [True] * 5 + [False] * 3


def test_a_bar_that_holds_both_barriers_counts_the_one_nearer_to_its_open():
    opens, closes = np.array([100.0, 102.0]), np.array([100.0, 100.0])
    candles = Candles.of("X/Y", "1h", [0, HOUR], opens, [100, 110], [100, 90], closes, [1, 1])
    assert triple_barrier(candles, [0.02, 0.02], 1).label[0] == 1


@given(st.integers(0, 1000), st.integers(1, 12), st.floats(0.3, 3), st.floats(0.3, 3))
@settings(max_examples=40, deadline=None)
def test_labels_equal_a_slow_search_and_read_nothing_after_they_are_known(seed, patience, up, down):
    rng = np.random.default_rng(seed)
    keep = np.flatnonzero(rng.random(80) > 0.03)
    candles = candles_of(100 * np.exp(np.cumsum(rng.normal(0, 0.01, 80))), keep)
    sigma = rng.uniform(0.005, 0.03, len(keep))
    labels = triple_barrier(candles, sigma, patience, up=up, down=down, max_absent=1.0)
    for t in range(len(keep)):
        top, bottom = np.log(candles.close[t]) + up * sigma[t], np.log(candles.close[t]) - down * sigma[t]
        inside = np.flatnonzero((candles.bar > candles.bar[t]) & (candles.bar <= candles.bar[t] + patience))
        hit = [k for k in inside if np.log(candles.high[k]) >= top or np.log(candles.low[k]) <= bottom]
        if hit:
            assert labels.touch_row[t] == hit[0]
            assert labels.label[t] != 0
        elif len(inside) and (candles.bar[-1] > candles.bar[t] + patience or candles.bar[inside[-1]] == candles.bar[t] + patience):
            assert (labels.touch_row[t], labels.label[t]) == (inside[-1], 0)
        else:
            assert not labels.known[t]
    cut = len(keep) // 2
    early = triple_barrier(candles.rows(slice(0, cut)), sigma[:cut], patience, up=up, down=down, max_absent=1.0)
    settled = labels.known_at[:cut] <= candles.close_time[cut - 1]
    assert (early.label[settled] == labels.label[:cut][settled]).all()


def test_labels_are_hindsight_and_doors_refuse_them():
    labels = triple_barrier(candles_of([100.0, 101, 102]), np.full(3, 0.01), 1)
    assert isinstance(labels, Hindsight)
    with pytest.raises(UsageError, match="a feature was given BarrierLabels, which knows the future"):
        refuse_hindsight("a feature", candles_of([1.0]), labels)
    refuse_hindsight("a feature", candles_of([1.0]))


def test_impossible_barriers_are_refused():
    with pytest.raises(UsageError, match="above 0"):
        triple_barrier(candles_of([1.0, 1.0]), np.ones(2), 0)
    with pytest.raises(DataError, match="one value a bar"):
        triple_barrier(candles_of([1.0, 1.0]), np.ones(3), 1)
