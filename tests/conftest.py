"""What every test room shares: where real candles lie, and how hard hypothesis tries."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("quick", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real candles (`CANDELABRA_DATA`, else `../shared/data` beside the repository); skips when it is absent."""
    given = os.environ.get("CANDELABRA_DATA")
    folder = Path(given) if given else ROOT.parent / "shared" / "data"
    if not (folder / "ohlcv").is_dir():
        pytest.skip(f"real candles are not here: no folder {folder / 'ohlcv'} (set CANDELABRA_DATA to a folder that has ohlcv/)")
    return folder


@pytest.fixture(scope="session")
def ohlcv(data_folder: Path) -> Path:
    """The folder of clean Parquet candles."""
    return data_folder / "ohlcv"
