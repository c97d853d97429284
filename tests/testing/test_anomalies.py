"""What is planted is valid, seeded, and leaves every other bar alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candelabra.errors import UsageError
from candelabra.testing import example_candles
from candelabra.testing.anomalies import KINDS, plant


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(k,) for k in KINDS] + [KINDS]), st.integers(28, 300))
def test_only_the_bars_of_events_change(seed: int, kinds: tuple[str, ...], every: int) -> None:
    candles = example_candles(bars=1_000, seed=seed % 5)
    planted, again = (plant(candles, kinds, every=every, seed=seed) for _ in range(2))
    assert planted.candles.fingerprint == again.candles.fingerprint
    inside = planted.mask()
    same = np.logical_and.reduce([a == b for a, b in zip(candles.values(), planted.candles.values(), strict=True)])
    assert same[~inside].all()
    assert not same[inside].all()
    assert (planted.first[1:] > planted.stop[:-1]).all()
    assert sum(planted.mask(kind).sum() for kind in set(kinds)) == inside.sum()
    assert not (planted.echo(5) & inside).any()
    assert planted.candles.simulated


def test_a_pump_and_a_crash_end_where_they_would_have_been() -> None:
    candles = example_candles(bars=2_000)
    planted = plant(candles, ["pump", "flash crash"], seed=4)
    np.testing.assert_allclose(planted.candles.close[planted.stop - 1], candles.close[planted.stop - 1], rtol=1e-12)
    pumps = [slice(a, b) for k, a, b in zip(planted.kinds, planted.first, planted.stop, strict=True) if k == "pump"]
    assert all(planted.candles.close[p].max() > candles.close[p].max() for p in pumps)


def test_size_scales_moves() -> None:
    candles = example_candles(bars=2_000)
    small, large = (plant(candles, ["fat finger"], size=s, seed=4).candles for s in (0.5, 2.0))
    assert np.log(large.high / large.low).max() > 2 * np.log(small.high / small.low).max()


def test_what_cannot_be_planted_is_refused() -> None:
    candles = example_candles(bars=300)
    with pytest.raises(UsageError, match='did you mean "pump"'):
        plant(candles, ["pmup"])
    with pytest.raises(UsageError, match="give more candles"):
        plant(candles, every=1_000)
    with pytest.raises(UsageError, match="28 or more bars"):
        plant(candles, every=5)
