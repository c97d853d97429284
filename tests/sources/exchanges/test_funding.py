"""Funding rates: fetched twice, kept once, and not taken for none where the exchange has forgotten them."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import numpy as np
import pytest

from candelabra.errors import DataError, UsageError
from candelabra.sources.emulator import EmulatedMarket, Emulator, Faults
from candelabra.sources.exchanges.clock import FastClock
from candelabra.sources.exchanges.contract import Connection
from candelabra.sources.exchanges.funding import Funding, fetch_funding, read_funding, write_funding
from candelabra.sources.exchanges.pace import Patience
from candelabra.sources.exchanges.rest import RestSource
from candelabra.sources.store import Store

pytest.importorskip("ccxt", reason="ccxt is not installed: pip install 'candelabra[exchanges]'")

NOW = 1_700_000_005_000
DAY = 86_400_000
SYMBOL = "BTC/USDT:USDT"


def fetched(emulator: Emulator, store: Store, symbol: str = SYMBOL, days: int = 400) -> Funding:
    name = emulator.exchanges[0].name
    source = RestSource(Connection(name, emulator.url, options={"calls_per_second": 500}, timeout_s=1.0), Patience(20, 0.01, 0.05))

    async def go() -> Funding:
        try:
            return await fetch_funding(source, store, symbol, NOW - days * DAY, NOW, patience=Patience(20, 0.01, 0.05))
        finally:
            await source.close()

    return asyncio.run(go())


@pytest.mark.parametrize(("venue", "hours"), [("binance", 8), ("okx", 8), ("bybit", 4)])
def test_rates_are_those_of_the_exchange_and_the_same_again_changes_nothing(venue: str, hours: int, tmp_path: Path) -> None:
    market = EmulatedMarket(SYMBOL, seed=4, listed_ms=NOW - 200 * DAY, funding_hours=hours)
    store = Store.create(tmp_path / "candles")
    faults = Faults(seed=5, rest=0.15, everywhere=True, retry_after_s=0)
    with Emulator(market, exchange=venue, clock=FastClock(NOW, rate=1.0), faults=faults, calls_per_second=math.inf) as emulator:
        got = fetched(emulator, store)
        times, rates = market.funding(NOW - 400 * DAY, NOW)
        least = 0 if venue != "okx" else int(got.time_ms[0])
        assert got.time_ms.tolist() == times[times >= least].tolist()
        assert np.allclose(got.rate, rates[times >= least] / 1e8, atol=1e-12)
        assert got.simulated
        emulator.restart()
        again = fetched(emulator, store)
        assert len(again) == len(got)
        assert got.fetched[-1][0] <= got.time_ms[0]  # what lies before is not said to have been none
        assert sum("unding" in call.path for call in emulator.log) < 40


def test_a_symbol_or_exchange_without_funding_is_told(tmp_path: Path) -> None:
    told = pytest.raises(UsageError, match="is no perpetual, so nobody pays funding")
    with Emulator(EmulatedMarket("BTC/USDT"), clock=FastClock(NOW, rate=1.0)) as emulator, told:
        fetched(emulator, Store.create(tmp_path / "a"), "BTC/USDT")


def test_the_file_is_whole_or_refused_and_a_revision_is_counted(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "candles")
    rates = Funding(np.array([0, 8, 16]) * 3_600_000, np.array([1e-4, 2e-4, -1e-4]), ((0, DAY),))
    write_funding(store, SYMBOL, "binance", rates)
    write_funding(store, SYMBOL, "binance", rates)
    changed = write_funding(store, SYMBOL, "binance", Funding(rates.time_ms[1:2], np.array([3e-4]), ((DAY, 2 * DAY),)))
    kept = read_funding(store, SYMBOL, "binance")
    assert (kept.rate.tolist(), kept.fetched, kept.revised) == ([1e-4, 3e-4, -1e-4], ((0, 2 * DAY),), changed.revised)
    assert kept.revised == 1
    (path,) = (tmp_path / "candles").rglob("funding.parquet")
    assert store.series() == []
    for at in range(4, path.stat().st_size - 4, 97):
        damaged = bytearray(path.read_bytes())
        damaged[at] ^= 4
        (tmp_path / "whole").write_bytes(path.read_bytes())
        path.write_bytes(damaged)
        try:
            found = read_funding(store, SYMBOL, "binance")
            assert (found.time_ms.tolist(), found.rate.tolist()) == (kept.time_ms.tolist(), kept.rate.tolist())
        except DataError:
            pass
        path.write_bytes((tmp_path / "whole").read_bytes())
