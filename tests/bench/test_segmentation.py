"""The table of rivals: nothing of the test range decides anything in it, and the item says what the table says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bench.segmentation import FLIPS, Ground, Row, ceilings, decode, ground

from candelabra.candles.regime_markets import regime_markets
from candelabra.models.regime_baselines import RegimeAnswer


@pytest.fixture(scope="module")
def small() -> Ground:
    return Ground(regime_markets(2, 3_000), 1_800, 2_100)


def test_a_decoder_is_chosen_on_validation_alone(small: Ground) -> None:
    (oracle, *_) = ceilings(small)
    spoilt = Ground(
        tuple(replace(m, regime=np.where(np.arange(3_000) < small.learn, m.regime, 0).astype(np.int8)) for m in small.markets),
        small.train,
        small.learn,
    )
    changed = Row(
        oracle.name,
        True,
        [RegimeAnswer(a.code, np.where(np.arange(3_000)[:, None] < small.learn, a.probabilities, 0.25)) for a in oracle.answers],
    )
    for one, other in zip(decode(oracle, small), decode(changed, spoilt), strict=True):
        assert one.note == other.note
        for a, b in zip(one.answers, other.answers, strict=True):
            np.testing.assert_array_equal(a.code[: small.learn], b.code[: small.learn])
        assert np.mean([s.flips for s in one.scores(small, "validation")]) <= FLIPS + 4


def test_what_rivals_may_learn_from_ends_with_the_learning_range() -> None:
    on = ground(small=True)
    assert all(len(c) == len(t) == on.learn for c, t in zip(on.candles, on.codes, strict=True))
    assert all((t[on.train :] == -1).all() and (t[: on.train] >= 0).all() for t in on.train_codes)
