import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candelabra.candles.frame import Candles, law_breaks
from candelabra.errors import DataError
from candelabra.windows.candle_parts import PARTS, candle_parts, candles_from_parts


@given(
    st.lists(st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=5), min_size=1, max_size=8),
    st.floats(1e-8, 1e9),
    st.floats(1e-3, 1e9),
)
@settings(max_examples=100, deadline=None)
def test_any_finite_parts_make_valid_candles(parts, close_before, volume):
    values = candles_from_parts(parts, np.full(len(parts), close_before), volume)
    assert not law_breaks(*values).any()


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_parts_and_back_give_the_same_candles(seed):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, 50)))
    open_ = close * np.exp(rng.normal(0, 0.01, 50))
    high, low = (np.maximum(open_, close) * np.exp(rng.gamma(1, 0.01, 50)), np.minimum(open_, close) * np.exp(-rng.gamma(1, 0.01, 50)))
    candles = Candles.of("X/Y", "1h", np.arange(50) * 3_600_000, open_, high, low, close, rng.gamma(1, 5, 50) * (rng.random(50) > 0.1))
    reference = rng.gamma(5, 1, 50) + 0.1
    parts = candle_parts(candles, reference)
    assert parts.shape == (50, len(PARTS))
    assert (parts[:, 2:] >= 0).all()
    again = candles_from_parts(parts[1:], close[:-1], reference[1:])
    for made, true in zip(again, candles.values(), strict=True):
        np.testing.assert_allclose(made, true[1:], rtol=1e-12, atol=1e-12)


def test_what_cannot_be_a_candle_is_refused():
    with pytest.raises(DataError, match="finite"):
        candles_from_parts([[0, 0, 0, np.nan, 0]], [100.0])
    with pytest.raises(DataError, match="above 0"):
        candles_from_parts([[0.0] * 5], [0.0])
    with pytest.raises(DataError, match="reference volume"):
        candles_from_parts([[0.0] * 5], [1.0], 0.0)
