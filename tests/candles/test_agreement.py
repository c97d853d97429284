"""Two sources of one market: the same, near, moved in time, or strangers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from candelabra.candles import Candles, resample, simulate
from candelabra.candles.agreement import compare
from candelabra.errors import DataError
from candelabra.sources import read_candles

TRUTH = simulate("BTC/USDT", "1h", bars=500, seed=2).candles


def scaled(factor: float) -> Candles:
    return Candles.of("BTC/USDT", "1h", TRUTH.open_time, *(v * factor for v in TRUTH.values()[:4]), TRUTH.volume)


def test_the_share_of_differing_bars_is_counted() -> None:
    assert compare(TRUTH, TRUTH).verdict == "the same candles"
    close = TRUTH.close.copy()
    close[[5, 7]] = TRUTH.low[[5, 7]]
    touched = Candles.of("BTC/USDT", "1h", TRUTH.open_time, TRUTH.open, TRUTH.high, TRUTH.low, close, TRUTH.volume)
    found = compare(touched, TRUTH.rows(slice(100)))
    assert found.common == 100
    assert found.only_first == 400
    assert found.differing == pytest.approx(0.02)
    assert found.as_dict()["verdict"] == "the same market"


def test_another_venue_is_the_same_market_and_another_seed_is_not() -> None:
    assert compare(scaled(1.001), TRUTH).verdict == "the same market"
    assert compare(simulate("BTC/USDT", "1h", bars=500, seed=3).candles, TRUTH).verdict == "not the same market"


@pytest.mark.parametrize("hours", [-3, 1, 5])
def test_a_wrong_time_zone_is_seen_as_a_shift(hours: int) -> None:
    moved = Candles.of("BTC/USDT", "1h", TRUTH.open_time + hours * 3_600_000, *TRUTH.values())
    found = compare(moved, TRUTH)
    assert found.shift == hours
    assert found.verdict != "the same market"


def test_the_finer_is_resampled_and_too_little_in_common_is_refused() -> None:
    assert compare(TRUTH, resample(TRUTH, "4h")).verdict == "the same candles"
    with pytest.raises(DataError, match="10 bars in common, and 30 are needed"):
        compare(TRUTH.rows(slice(10)), TRUTH)


def test_a_random_walk_that_is_labelled_as_real_is_a_stranger_to_the_market(data_folder: Path) -> None:
    path = data_folder / "raw" / "broken" / "BTC_USDT-1h_synthetic_labelled_as_real.feather"
    if not path.exists():
        pytest.skip(f"not among the real files: {path.name}")
    (walk,) = read_candles(path, on_bad="drop")
    (market,) = read_candles(data_folder / "ohlcv" / "binance_BTCUSDT_1h.parquet")
    found = compare(walk, market)
    assert found.verdict == "not the same market"
    assert found.differing == 1.0
    assert abs(found.correlation) < 0.1
    kraken, coinbase = (read_candles(data_folder / "ohlcv" / f"{v}_BTCUSD_1h.parquet")[0] for v in ("kraken", "coinbase"))
    assert np.isclose(compare(kraken, coinbase).correlation, 0.905, atol=0.01)
    assert compare(kraken, coinbase).verdict == "the same market"
