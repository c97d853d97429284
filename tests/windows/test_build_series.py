import numpy as np
import pytest

from candelabra.candles.frame import Candles
from candelabra.candles.resample import resample
from candelabra.errors import DataError, UsageError
from candelabra.windows.recipe import Recipe, build_series, candles_needed
from candelabra.windows.targets import make_targets

MINUTES = 5
STEP = MINUTES * 60_000


def walk(bars=12 * 24 * 30, symbol="X/Y", seed=1, shock_row=None, factor=1.0):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.002, bars)))
    if shock_row is not None:
        close[shock_row:] *= factor
    open_ = np.concatenate([[100.0], close[:-1]])
    return Candles.of(
        symbol,
        "5m",
        np.arange(bars) * STEP,
        open_,
        np.maximum(open_, close) * 1.001,
        np.minimum(open_, close) * 0.999,
        close,
        rng.random(bars),
    )


RECIPE = Recipe("1h", ("4h", "1d"), ("5m",), ("1h", "24h"), "5m")


def test_every_timeframe_is_made_and_linked_by_close_time():
    series = build_series(walk(), RECIPE)
    assert set(series.candles) == {"5m", "1h", "4h", "1d"} == set(series.features)
    for name, rows in series.asof.items():
        closes = series.candles[name].close_time
        assert (closes[rows[rows >= 0]] <= series.close_time[rows >= 0]).all()
        later = np.minimum(rows + 1, len(closes) - 1)
        assert (closes[later][rows < len(closes) - 1] > series.close_time[rows < len(closes) - 1]).all()
    assert len(series.level) == len(series)
    targets = make_targets(series, RECIPE)
    assert targets.volatility_timeframe.name == "5m"


@pytest.mark.parametrize("row", [3000, 3005, 6500])
def test_a_later_shock_moves_no_row_that_closed_before_it_and_does_move_the_bar_it_closes(row):
    calm, shaken = build_series(walk(), RECIPE), build_series(walk(shock_row=row, factor=1.5), RECIPE)
    shock_time = (row + 1) * STEP
    for name in calm.features:
        before = calm.candles[name].close_time < shock_time
        a, b = calm.features[name].values, shaken.features[name].values
        assert np.array_equal(a[before], b[before], equal_nan=True)
        first = int(np.argmin(before))
        assert not np.array_equal(a[first], b[first], equal_nan=True)
    before = calm.close_time < shock_time
    assert np.array_equal(calm.level[before], shaken.level[before], equal_nan=True)


def test_the_stated_number_of_candles_is_enough_for_the_same_newest_features():
    whole = walk(12 * 24 * 60)
    needed = candles_needed(RECIPE, {})
    candles = {name: resample(whole, name) for name in needed}
    tail = {name: c.rows(slice(len(c) - needed[name], None)) for name, c in candles.items()}
    a, b = build_series(candles, RECIPE), build_series(tail, RECIPE)
    for name in a.features:
        np.testing.assert_allclose(a.features[name].values[-1], b.features[name].values[-1], rtol=1e-4, atol=1e-5)


def test_given_candles_are_used_and_the_rest_comes_from_the_longest_history():
    whole = walk()
    late = whole.rows(slice(12 * 24 * 10, None))
    series = build_series({"5m": late, "1h": resample(whole, "1h")}, RECIPE)
    assert series.candles["1d"].open_time[0] == 0
    assert (series.asof["5m"][: 24 * 10 - 1] == -1).all()


def test_candles_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match=r"5m candles cannot be made of 1h"):
        build_series(resample(walk(), "1h"), RECIPE)
    with pytest.raises(DataError, match="of one symbol, got A/B, X/Y"):
        build_series({"5m": walk(), "1h": resample(walk(symbol="A/B"), "1h")}, RECIPE)
