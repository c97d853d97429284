"""Five exchanges, each by its own rules of paging, with a quarter of the answers wrong."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest

from candelabra.candles.timeframe import Timeframe
from candelabra.sources.emulator import EmulatedMarket, Emulator, Faults
from candelabra.sources.exchanges.clock import FastClock
from candelabra.sources.exchanges.contract import Connection
from candelabra.sources.exchanges.journey import fetch_candles
from candelabra.sources.exchanges.pace import Patience
from candelabra.sources.exchanges.rest import RestSource
from candelabra.sources.store import Store

pytest.importorskip("ccxt", reason="ccxt is not installed: pip install 'candelabra[exchanges]'")

NOW = 1_700_000_005_000
VENUES = [
    ("binance", "BTC/USDT:USDT", "exchange gap"),
    ("okx", "BTC/USDT", "exchange gap"),
    ("okx", "BTC/USDT:USDT", "exchange gap"),
    ("bybit", "BTC/USDT", "exchange gap"),
    ("coinbase", "BTC/USD", "no trade"),
    ("coinbaseexchange", "BTC/USD", "no trade"),
    ("kraken", "BTC/USD", "unknown"),
]


@pytest.mark.parametrize(("venue", "symbol", "absence"), VENUES)
def test_each_exchange_is_paged_by_its_own_rules(venue: str, symbol: str, absence: str, tmp_path: Path) -> None:
    frame = Timeframe("1m" if symbol.endswith(("USDT", "USD")) else "1h")
    step = frame.milliseconds
    listed = NOW // step * step - 1000 * step
    outage = (listed + 700 * step, listed + 717 * step)
    market = EmulatedMarket(symbol, seed=4, listed_ms=listed, gaps=(outage,), quiet=0.2)
    store = Store.create(tmp_path / "candles")
    faults = Faults(seed=5, rest=0.25, retry_after_s=0)
    with Emulator(market, exchange=venue, clock=FastClock(NOW, rate=1.0), faults=faults, calls_per_second=math.inf) as emulator:
        source = RestSource(Connection(venue, emulator.url, options={"calls_per_second": 500}, timeout_s=2.0), Patience(20, 0.01, 0.05))

        async def go() -> None:
            try:
                report = await fetch_candles(source, store, {symbol: NOW - 3000 * step}, frame, patience=Patience(20, 0.01, 0.05))
            finally:
                await source.close()
            assert not report.failed
            (filled,) = report.filled
            assert filled.complete_ms == NOW // step * step
            assert filled.first_ms == (listed if venue != "kraken" else pytest.approx(listed + 284 * step, abs=10 * step))
            assert ("cannot be had: Kraken answers with its newest 720 candles" in filled.notes[0]) == (venue == "kraken")

        asyncio.run(go())
        candles = store.read(symbol, frame)
        assert candles.fingerprint == emulator.truth(symbol, frame, *candles.span).fingerprint
        assert len(candles) > 600
        assert {gap.kind for gap in store.gaps(symbol, frame)} == {absence}
        assert outage[0] in {gap.start_ms for gap in store.gaps(symbol, frame)}
