"""A storm at the size of continuous integration; with `make storms` (`CANDELABRA_STORMS=full`) 1,000 candles and three seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("ccxt", reason="ccxt is not installed: pip install 'candelabra[exchanges]'")

from candelabra.testing.storms import live_storm


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nothing_is_lost_doubled_wrong_or_out_of_order_in_a_storm(seed: int, storms: bool, product: Path, tmp_path: Path) -> None:
    if seed > 1 and not storms:
        pytest.skip("one seed is enough here; `make storms` takes three")
    candles = 1000 if storms else 60
    storm = live_storm(product, tmp_path, candles=candles, seed=seed, candle_s=0.1)
    assert storm.flawless, storm
    assert storm.candles >= candles
    assert storm.socket_faults >= (80 if storms else 3)
    assert storm.rest_faults >= 5
    assert storm.bars >= candles // 8
