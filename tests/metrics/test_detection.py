"""Area under the curve and detection against counting by hand, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candelabra.errors import DataError
from candelabra.metrics.detection import auc, detection


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_the_area_is_the_share_of_pairs_in_order(seed: int, values: int) -> None:
    random = np.random.default_rng(seed)
    scores, positive = random.integers(0, values, 60).astype(float), random.random(60) < 0.3
    positive[:2] = True, False
    a, b = scores[positive][:, None], scores[~positive][None, :]
    assert auc(scores, positive, ~positive) == pytest.approx(((a > b) + 0.5 * (a == b)).mean())


def test_the_area_is_that_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    scores, positive = random.normal(size=500), random.random(500) < 0.1
    assert auc(scores, positive, ~positive) == pytest.approx(metrics.roc_auc_score(positive, scores))


def test_unknown_scores_rank_lowest_and_one_kind_alone_is_refused() -> None:
    assert auc([np.nan, 1.0], [True, False], [False, True]) == 0
    with pytest.raises(DataError, match="bars of both kinds"):
        auc([1.0], [True], [False])


def test_events_are_caught_while_they_last() -> None:
    alarm = np.array([1, 0, 0, 1, 1, 0, 1, 0, 0, 0], bool)
    clean = np.array([1, 1, 0, 0, 0, 0, 0, 1, 1, 1], bool)  # row 6 is an echo: it counts nowhere
    found = detection(alarm, [2, 7], [6, 8], clean)
    assert (found.events, found.caught, found.delay) == (2, 0.5, 1.0)
    assert (found.precision, found.false_alarms, found.clean) == (pytest.approx(2 / 3), 1, 5)
    nothing = detection(np.zeros(10, bool), [2], [4], clean)
    assert nothing.caught == 0
    assert np.isnan([nothing.delay, nothing.precision]).all()
