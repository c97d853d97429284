"""A storm at the size of continuous integration; ``STORM_CANDLES`` and ``STORM_SEEDS`` make it larger."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("ccxt", reason="ccxt is not installed: pip install 'candelabra[exchanges]'")

from candelabra.testing.storms import live_storm

CANDLES = int(os.environ.get("STORM_CANDLES", "60"))


@pytest.mark.parametrize("seed", range(1, 1 + int(os.environ.get("STORM_SEEDS", "1"))))
def test_nothing_is_lost_doubled_wrong_or_out_of_order_in_a_storm(seed: int, product: Path, tmp_path: Path) -> None:
    storm = live_storm(product, tmp_path, candles=CANDLES, seed=seed, candle_s=0.1)
    assert storm.flawless, storm
    assert storm.candles >= CANDLES
    assert storm.socket_faults >= CANDLES // 20
    assert storm.rest_faults >= 5
    assert storm.bars >= CANDLES // 8
