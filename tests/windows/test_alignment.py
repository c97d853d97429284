import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candelabra.errors import DataError
from candelabra.windows.alignment import asof_index


@given(
    st.lists(st.integers(0, 500), min_size=0, max_size=60).map(sorted),
    st.lists(st.integers(0, 500), min_size=0, max_size=60, unique=True).map(sorted),
)
@settings(max_examples=60, deadline=None)
def test_asof_is_the_last_bar_closed_by_the_decision(decisions, closes):
    rows = asof_index(np.array(decisions, np.int64), np.array(closes, np.int64))
    expected = np.searchsorted(closes, decisions, "right") - 1
    assert rows.dtype == np.int32
    assert rows.tolist() == expected.tolist()


@given(st.integers(1, 50), st.integers(0, 400))
@settings(max_examples=40, deadline=None)
def test_later_bars_move_no_earlier_row(step, cut):
    decisions, closes = np.arange(0, 400), np.arange(step, 400, step)
    whole = asof_index(decisions, closes)
    known = asof_index(decisions, closes[closes <= cut])
    assert (whole[decisions <= cut] == known[decisions <= cut]).all()


def test_a_bar_counts_from_its_very_close():
    assert asof_index([99, 100], [100]).tolist() == [-1, 0]


@pytest.mark.parametrize(("decisions", "closes"), [([2, 1], [1, 2]), ([5, 6], [3, 3]), ([5, 6], [3, 2])])
def test_disorder_is_refused(decisions, closes):
    with pytest.raises(DataError, match="time 1"):
        asof_index(decisions, closes)
