"""Redundancy and information: against known answers, on train rows only."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.stats import spearmanr

from candelabra.errors import DataError, UsageError
from candelabra.features.selection import examine, mutual_information, spearman


def test_rank_correlation_equals_scipys_also_with_ties() -> None:
    random = np.random.default_rng(0)
    values = random.normal(size=(400, 4))
    values[:, 1] = values[:, 0] ** 3
    values[:, 2] = np.round(values[:, 2])
    np.testing.assert_allclose(spearman(values), spearmanr(values).statistic, atol=1e-12)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_information_of_a_normal_pair_is_near_its_formula(rho: float) -> None:
    random = np.random.default_rng(1)
    x = random.normal(size=20_000)
    y = rho * x + np.sqrt(1 - rho**2) * random.normal(size=20_000)
    truth = -0.5 * np.log(1 - rho**2)
    assert mutual_information(x, y) == pytest.approx(truth, abs=0.01 + 0.08 * truth)


def test_information_sees_what_correlation_does_not() -> None:
    x = np.random.default_rng(2).normal(size=5000)
    assert abs(spearman(np.stack([x, x**2], 1))[0, 1]) < 0.05
    assert mutual_information(x, x**2) > 1


def test_copies_fall_into_one_cluster_led_by_the_one_that_tells_most() -> None:
    random = np.random.default_rng(3)
    target = random.normal(size=3000)
    weak = target + random.normal(0, 2.0, 3000)
    values = np.stack([weak + random.normal(0, 0.3, 3000), random.normal(size=3000), -weak], axis=1)
    found = examine(values, ["blurred", "noise", "clear"], np.ones(3000, bool), target)
    assert found.clusters == (("clear", "blurred"), ("noise",))
    assert found.representatives == ("clear", "noise")
    assert found.information is not None
    assert found.by_chance is not None
    assert found.information[2] > found.information[0] > 4 * found.by_chance[0]
    assert json.loads(json.dumps(found.to_dict()))["representatives"] == ["clear", "noise"]


def test_only_train_rows_are_read() -> None:
    random = np.random.default_rng(4)
    values, target = random.normal(size=(1000, 3)), random.normal(size=1000)
    train = np.arange(1000) < 600
    other_values, other_target = values.copy(), target.copy()
    other_values[600:] = 1e9
    other_target[600:] = np.nan
    a, b = (examine(v, list("abc"), train, t).to_dict() for v, t in ((values, target), (other_values, other_target)))
    assert a == b
    assert a["rows"] == 600


def test_the_picture_shows_every_feature() -> None:
    random = np.random.default_rng(5)
    found = examine(random.normal(size=(500, 3)), list("abc"), np.arange(500), random.normal(size=500))
    figure = found.figure()
    assert list(figure.data[0].x) == ["a", "b", "c"]
    assert len(figure.data) == 3


def test_too_little_to_say_anything_is_refused() -> None:
    values = np.full((300, 2), np.nan)
    with pytest.raises(DataError, match="only 0 train rows have every feature"):
        examine(values, ["a", "b"], np.ones(300, bool))
    with pytest.raises(UsageError, match="threshold"):
        examine(np.eye(300)[:, :2], ["a", "b"], np.ones(300, bool), threshold=2)
    with pytest.raises(DataError, match="do not fit"):
        examine(np.eye(300), ["a", "b"], np.ones(300, bool))
