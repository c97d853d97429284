"""Binance emulated, asked by ccxt: candles, time, funding, sockets; faults by number and by seed; limits and bans."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from candelabra.errors import UsageError
from candelabra.sources.emulator import EmulatedMarket, Emulator, Faults, point_at
from candelabra.sources.exchanges.clock import FastClock

START = 1_700_000_000_000
MARKETS = [EmulatedMarket("BTC/USDT", seed=7, quiet=0.3, outages=0.3), EmulatedMarket("BTC/USDT:USDT", seed=7)]


def rows_of(candles: Any) -> list[list[float]]:
    return [list(row) for row in zip(candles.open_time.tolist(), *(v.tolist() for v in candles.values()), strict=True)]


def test_ccxt_reads_the_truth_over_rest_and_follows_it_over_the_socket() -> None:
    pro = pytest.importorskip("ccxt.pro")
    clock = FastClock(START, rate=600.0)

    async def asked(emulator: Emulator) -> None:
        exchange = point_at(pro.binance({"enableRateLimit": False}), emulator.url)
        try:
            await exchange.load_markets()
            assert set(exchange.markets) == {"BTC/USDT", "BTC/USDT:USDT"}
            since = START - 86_400_000
            for symbol in exchange.markets:
                rows = await exchange.fetch_ohlcv(symbol, "1m", since, 1000)
                assert len(rows) == 1000
                assert rows == rows_of(emulator.truth(symbol, "1m", since, START))[:1000]
            rates = await exchange.fetch_funding_rate_history("BTC/USDT:USDT", since, 3)
            assert [r["timestamp"] % 28_800_000 for r in rates] == [0, 0, 0]
            for symbol in exchange.markets:
                opens = set()
                while len(opens) < 3:
                    opens |= {row[0] for row in await exchange.watch_ohlcv(symbol, "1m")}
                assert max(opens) - min(opens) == 120_000
        finally:
            await exchange.close()

    with Emulator(MARKETS, clock=clock, calls_per_second=math.inf) as emulator:
        asyncio.run(asked(emulator))
        assert {call.status for call in emulator.log} == {200, 101}


def test_faults_are_those_of_the_seed() -> None:
    one, again, other = (Faults(seed=s, rest=0.25) for s in (1, 1, 2))
    drawn = [[f.of_call(n) for n in range(400)] for f in (one, again, other)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert 60 < sum(k is not None for k in drawn[0]) < 140
    assert len(set(drawn[0])) > 20
    with pytest.raises(UsageError, match=r"did you mean '429'"):
        Faults(script={0: "42"})
