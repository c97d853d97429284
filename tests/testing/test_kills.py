"""Killed with -9 at random moments, fetching and following go on from what they had said they had."""

from __future__ import annotations

from pathlib import Path

import pytest

from candelabra.testing.kills import kill_fetches, kill_lives

pytest.importorskip("ccxt", reason="ccxt is not installed: pip install 'candelabra[exchanges]'")


@pytest.fixture(autouse=True)
def leisure(storms: bool) -> None:
    """One kill of each is in CI with the rooms' own tests (tests/cli/test_fetch.py, tests/live/test_loop.py)."""
    if not storms:
        pytest.skip("fifty kills of each take ten minutes: make storms (or python -m bench one live/kills candelabra)")


@pytest.mark.slow
def test_fetches_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    found = kill_fetches(tmp_path / "candles", 50, seed=3)
    assert found.flawless, found


@pytest.mark.slow
def test_live_loops_that_are_killed_forget_nothing(product: Path, tmp_path: Path) -> None:
    found = kill_lives(product, tmp_path, 50, seed=3)
    assert found.told > 0
    assert found.flawless, found
