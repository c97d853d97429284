import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candelabra.candles.frame import Candles
from candelabra.errors import UsageError
from candelabra.windows.targets import FLAT_RETURN, candle_targets

HOUR = 3_600_000


def walk(bars, timeframe="1h", step_ms=HOUR, seed=0, absent=(), scale=0.01):
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, scale, bars)))
    open_ = np.concatenate([[100.0], close[:-1]])
    keep = np.setdiff1d(np.arange(bars), absent)
    columns = (open_, np.maximum(open_, close) * 1.001, np.minimum(open_, close) * 0.999, close, np.ones(bars))
    return Candles.of("X/Y", timeframe, (np.arange(bars) * step_ms)[keep], *[c[keep] for c in columns])


def test_return_and_volatility_are_those_of_the_definition():
    candles = walk(60)
    targets = candle_targets(candles, ("1h", "6h"))
    r = np.diff(np.log(candles.close))
    assert targets.returns[10, 1] == pytest.approx(np.log(candles.close[16] / candles.close[10]), rel=1e-12)
    assert targets.log_volatility[10, 1] == pytest.approx(0.5 * np.log((r[10:16] ** 2).sum()), rel=1e-12)
    assert targets.known_at[10].tolist() == [12 * HOUR, 17 * HOUR]
    assert np.isnan(targets.returns[-6:, 1]).all()
    assert np.isfinite(targets.returns[:-6, 1]).all()


@given(st.integers(0, 59), st.floats(0.5, 2.0))
@settings(max_examples=30, deadline=None)
def test_only_bars_inside_the_span_move_a_target(row, factor):
    candles = walk(60)
    close = candles.close.copy()
    close[row] *= factor
    moved = Candles.of(
        "X/Y", "1h", candles.open_time, candles.open, np.maximum(candles.high, close), np.minimum(candles.low, close), close, candles.volume
    )
    before, after = (candle_targets(c, ("6h",)) for c in (candles, moved))
    same = (before.returns == after.returns) | np.isnan(before.returns)
    outside = np.ones(60, bool)
    outside[max(0, row - 6) : row + 1] = False
    assert same[outside, 0].all()
    inside = np.arange(max(0, row - 6), row)
    changed = before.log_volatility[inside, 0] != after.log_volatility[inside, 0]
    assert (changed | np.isnan(before.log_volatility[inside, 0]) | (factor == 1)).all()


def test_an_absent_end_bar_and_too_many_absent_bars_make_a_target_unknown():
    targets = candle_targets(walk(120, absent=(50,)), ("1h", "24h"))
    bars = np.setdiff1d(np.arange(120), [50])
    at = {bar: row for row, bar in enumerate(bars)}
    assert np.isnan(targets.returns[at[49], 0])
    assert np.isnan(targets.returns[at[26], 1])
    assert np.isfinite(targets.returns[at[40], 1])  # one of 24 is absent: 4.2 %
    assert np.isnan(candle_targets(walk(120, absent=(50, 51)), ("24h",)).returns[at[40], 0])


def test_finer_returns_sharpen_the_volatility_target():
    fine = walk(24 * 60, "5m", 300_000)
    hourly = Candles.of(
        "X/Y", "1h", fine.open_time[::12], fine.open[::12], np.full(120, 1e6), np.full(120, 1e-6), fine.close[11::12], np.ones(120)
    )
    targets = candle_targets(hourly, ("6h",), fine)
    r2 = np.diff(np.log(fine.close)) ** 2
    assert targets.log_volatility[3, 0] == pytest.approx(0.5 * np.log(r2[47 : 47 + 72].sum()), rel=1e-12)
    assert targets.volatility_timeframe.name == "5m"


def test_a_calm_window_after_a_crash_keeps_its_digits_and_flat_prices_meet_the_floor():
    close = np.concatenate([[100.0, 1e-9, 100.0], 100 * np.exp(np.cumsum(np.full(30, 2e-5))), np.full(30, 50.0)])
    candles = Candles.of("X/Y", "1h", np.arange(63) * HOUR, close, close, close, close, np.zeros(63))
    targets = candle_targets(candles, ("6h",))
    assert targets.log_volatility[10, 0] == pytest.approx(0.5 * np.log(6 * 2e-5**2), abs=1e-9)
    assert targets.log_volatility[50, 0] == pytest.approx(0.5 * np.log(6 * FLAT_RETURN**2), rel=1e-12)


def test_months_count_calendar_months():
    opens = np.array([0, 31, 59, 90]) * 86_400_000  # January to April 1970
    candles = Candles.of("X/Y", "1M", opens, *[np.array([1.0, 2.0, 3.0, 4.0])] * 4, np.ones(4))
    targets = candle_targets(candles, ("2M",))
    assert targets.known_at[0, 0] == 90 * 86_400_000
    assert targets.returns[0, 0] == pytest.approx(np.log(3))


def test_horizons_and_volatility_timeframes_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="whole number of 1h base bars"):
        candle_targets(walk(10), ("90m",))
    with pytest.raises(UsageError, match="realised volatility over 1h bars"):
        candle_targets(walk(10), ("6h",), walk(10, "4h", 4 * HOUR))
