"""What the live tests share: a small bundle that remembers little, opened once, and its market."""

from __future__ import annotations

from pathlib import Path

import pytest

from candelabra.candles.frame import Candles
from candelabra.live.seat import Opened, open_bundle
from candelabra.sources.store import Store
from candelabra.testing import example_candles


@pytest.fixture(scope="session")
def opened(product: Path) -> Opened:
    """The bundle of the tests, opened once."""
    return open_bundle(product)


@pytest.fixture(scope="session")
def market() -> Candles:
    """Its market, with gaps."""
    return example_candles("15m", 4 * 1400, seed=3)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "store")
