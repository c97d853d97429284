import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from candelabra.models.linear import forward_folds

HOUR = 3_600_000


@given(rows=st.integers(1500, 6000), purge=st.integers(0, 48), folds=st.integers(1, 4))
def test_every_fold_is_judged_after_all_it_was_fitted_on_is_known(rows, purge, folds):
    time = np.arange(1, rows + 1) * float(HOUR)
    found = forward_folds(time, purge * HOUR, folds)
    assert found
    last = -1
    for earlier, later in found:
        assert time[earlier].max() + purge * HOUR <= time[later].min()
        assert later.min() > last  # the stretches judged do not overlap
        last = int(later.max())
    assert last >= rows - 2  # and reach to the end


def test_rows_of_several_symbols_are_cut_at_one_date():
    one = np.arange(1, 3001) * float(HOUR)
    for earlier, later in forward_folds(np.concatenate([one, one]), 24 * HOUR):
        assert np.array_equal(np.unique(later % 3000), np.unique(later[later < 3000]))
        assert (earlier < 3000).sum() == (earlier >= 3000).sum()


def test_too_few_rows_give_no_fold():
    assert forward_folds(np.arange(1, 400) * float(HOUR), HOUR) == []
