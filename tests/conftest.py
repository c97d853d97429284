"""What every test room shares: no way out of this machine, where real candles lie, and how hard hypothesis tries."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from candelabra.testing import loopback_only

settings.register_profile("quick", max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def no_way_out() -> Iterator[None]:
    """No test leaves the machine; what a library tried and swallowed is told at the end."""
    with loopback_only() as tried:
        yield
    assert not tried, tried


@pytest.fixture(scope="session", autouse=True)
def _interruptible() -> None:
    """A shell that starts the tests in the background has them ignore interruptions, and every process they start as well."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def storms() -> bool:
    """Whether long storms are wanted (`make storms` sets `CANDELABRA_STORMS=full`): many seeds and thousands of faults."""
    return os.environ.get("CANDELABRA_STORMS") == "full"


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


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed bundle like those of `train`, in small: an ensemble of `arms` (1h, 4h) and yesterday's volatility.

    `example_candles("15m", 4 * 1400, seed=3)` are its market.
    """
    from candelabra.testing.products import small_bundle

    return small_bundle(tmp_path_factory.mktemp("product"))
