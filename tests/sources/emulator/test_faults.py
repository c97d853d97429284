"""Faults really happen, each as named, and again for the same seed; limits, bans and clocks that are off."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import numpy as np
import pytest

from candelabra.errors import UsageError
from candelabra.sources.emulator import REST_FAULTS, EmulatedMarket, Emulator, Faults, point_at
from candelabra.sources.emulator.faults import STORM_REST
from candelabra.sources.exchanges.clock import FastClock

pytest.importorskip("aiohttp")

START = 1_700_000_040_000
MINUTE = 60_000
MARKET = EmulatedMarket("BTC/USDT", seed=7, listed_ms=START - 10_000 * MINUTE)
KLINES = f"/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=10&startTime={START - 600 * MINUTE}"

WITH_CCXT = {
    "429": "DDoSProtection", "418": "DDoSProtection", "403": "ExchangeNotAvailable", "451": "ExchangeNotAvailable",
    "500": "ExchangeNotAvailable", "502-html": "ExchangeNotAvailable", "504": "RequestTimeout", "error-internal": "OperationFailed",
    "error-timeout": "OperationFailed", "error-busy": "ExchangeError", "html": "nothing", "object": "nothing", "null": "nothing",
    "empty-body": "nothing", "hang": "RequestTimeout", "reset": "right", "truncated": "nothing", "cut-length": "ExchangeError",
    "cut-chunked": "ExchangeError", "duplicate": "a row twice", "shuffled": "right", "gap": "rows missing", "empty-list": "nothing",
    "close-null": "close None", "close-empty": "close None", "close-nan": "close nan", "close-infinity": "close inf",
    "negative-volume": "a bar that cannot be", "high-below-low": "a bar that cannot be", "time-null": "rows missing",
    "time-seconds": "rows missing", "row-object": "rows missing", "short-row": "close None", "revised": "another close",
}  # fmt: skip
"""What `fetch_ohlcv` of ccxt 4.5.90 (async) makes of each fault."""


def _seen(found: list[list[Any]], good: list[list[Any]]) -> str:
    if found == good or not found:
        return "right" if found else "nothing"
    times = [row[0] for row in found]
    if len(set(times)) < len(times):
        return "a row twice"
    if set(times) < {row[0] for row in good}:
        return "rows missing"
    (found_row, good_row) = next((f, g) for f, g in zip(found, good, strict=True) if f != g)
    if found_row[4] is None or not np.isfinite(found_row[4]):
        return f"close {found_row[4]}"
    lawful = found_row[5] >= 0 and found_row[3] <= found_row[4] <= found_row[2]
    return "another close" if lawful and found_row[4] != good_row[4] else "a bar that cannot be"


def test_each_fault_of_requests_is_what_ccxt_makes_of_it() -> None:
    ccxt = pytest.importorskip("ccxt.async_support")

    async def asked(emulator: Emulator) -> dict[str, str]:
        exchange = point_at(ccxt.binance({"enableRateLimit": False, "timeout": 400}), emulator.url)
        outcomes = {}
        try:
            await exchange.load_markets()
            good = await exchange.fetch_ohlcv("BTC/USDT", "1m", START - 600 * MINUTE, 10)
            for kind in REST_FAULTS:
                emulator.restart(Faults(script={0: kind}, hang_s=1.0))
                try:
                    outcomes[kind] = _seen(await exchange.fetch_ohlcv("BTC/USDT", "1m", START - 600 * MINUTE, 10), good)
                except ccxt.BaseError as error:
                    outcomes[kind] = type(error).__name__
                assert emulator.log[0].fault == kind
        finally:
            await exchange.close()
        return outcomes

    with Emulator(MARKET, clock=FastClock(START, rate=0.01), calls_per_second=math.inf) as emulator:
        assert asyncio.run(asked(emulator)) == WITH_CCXT


@pytest.mark.parametrize("name", ["kraken", "coinbase", "coinbaseexchange", "okx", "bybit", "coingecko", "cryptocompare"])
def test_rows_are_spoiled_in_every_wire_format(name: str, get: Any) -> None:
    market = EmulatedMarket("BTC/USD", seed=7, listed_ms=START - 10_000 * MINUTE)
    path = {
        "kraken": "/0/public/OHLC?pair=XBTUSD",
        "coinbase": "/api/v3/brokerage/market/products/BTC-USD/candles"
        f"?granularity=ONE_MINUTE&start={(START - 100 * MINUTE) // 1000}&end={START // 1000}",
        "coinbaseexchange": "/products/BTC-USD/candles?granularity=60",
        "okx": "/api/v5/market/candles?instId=BTC-USD",
        "bybit": "/v5/market/kline?category=spot&symbol=BTCUSD&interval=1",
        "coingecko": "/api/v3/coins/bitcoin/ohlc?vs_currency=usd&days=1",
        "cryptocompare": "/data/v2/histominute?fsym=BTC&tsym=USD&limit=100",
    }[name]
    with Emulator(market, exchange=name, clock=FastClock(START, rate=1e-6), calls_per_second=math.inf) as emulator:
        good = get(emulator.url + path).body
        for kind in [k for k in STORM_REST if k not in ("429", "418", "reset", "cut-length", "cut-chunked")]:
            emulator.restart(Faults(script={0: kind}))
            told = get(emulator.url + path)
            assert (told.body == good, emulator.log[-1].fault) == (False, kind), kind


def test_the_same_seed_gives_the_same_answers(get: Any) -> None:
    kinds = [k for k in STORM_REST if k not in ("429", "418", "reset", "cut-length", "cut-chunked")]

    def storm(seed: int) -> tuple[list[bytes], list[str | None]]:
        faults = Faults(seed=seed, rest=0.5, rest_kinds=kinds)
        with Emulator(MARKET, clock=FastClock(START, rate=1e-6), faults=faults, calls_per_second=math.inf) as emulator:
            bodies = [get(emulator.url + KLINES).body for _ in range(30)]
            return bodies, [call.fault for call in emulator.log]

    one, again, other = storm(1), storm(1), storm(2)
    assert one == again != other
    assert 8 < sum(kind is not None for kind in one[1]) < 24


def test_a_plan_draws_its_share_of_every_kind() -> None:
    plan = Faults(seed=3, rest=0.25, socket=0.08)
    calls = [plan.of_call(n) for n in range(4000)]
    assert 900 < sum(k is not None for k in calls) < 1100
    assert {k for k in calls if k} == set(STORM_REST)
    candles = [plan.of_candle("BTC/USDT", 28_000_000 + n, n) for n in range(1000)]
    assert 50 < sum(k is not None for k in candles) < 120
    assert candles != [plan.of_candle("ETH/USDT", 28_000_000 + n, n) for n in range(1000)]
    assert Faults(script={-1: "html", 2: "null"}).of_call(2) == "null"
    with pytest.raises(UsageError, match=r"did you mean '429'"):
        Faults(script={0: "42"})
    with pytest.raises(UsageError, match=r"'lost' is no fault"):
        Faults(socket_kinds=["lost"])


def test_other_calls_fail_only_when_everything_does(get: Any) -> None:
    with Emulator(MARKET, faults=Faults(script={-1: "500"})) as emulator:
        assert [get(emulator.url + p).status for p in ("/api/v3/time", KLINES)] == [200, 500]
        emulator.restart(Faults(script={-1: "500"}, everywhere=True))
        assert get(emulator.url + "/api/v3/time").status == 500
        assert [call.number for call in emulator.log] == [0]


def test_who_calls_too_often_waits_and_who_does_not_wait_is_banned(standing: Any, get: Any) -> None:
    with Emulator(MARKET, clock=standing, calls_per_second=2.0, burst=3, ban_s=60) as emulator:
        url = emulator.url + "/api/v3/time"
        assert [get(url).status for _ in range(3)] == [200] * 3
        refused = get(url)
        assert (refused.status, refused.headers["Retry-After"]) == (429, "1")
        standing.now += 1000
        assert get(url).status == 200
        assert [get(url).status for _ in range(2)] == [200, 429]
        time.sleep(0.03)  # what is under way when the door shuts is no offence
        banned = get(url)
        assert (banned.status, banned.headers["Retry-After"]) == (418, "60")
        standing.now += 59_000
        assert get(url).status == 418  # and the ban begins anew
        standing.now += 60_000
        assert get(url).status == 200
        assert [call.early for call in emulator.log] == [False] * 7 + [True, True, False]


def test_a_fault_429_is_a_door_that_is_shut_for_a_while(standing: Any, get: Any) -> None:
    with Emulator(MARKET, exchange=["binance", "kraken"], clock=standing, faults=Faults(script={0: "429"}, retry_after_s=7)) as emulator:
        told = get(emulator.url + KLINES)
        assert (told.status, told.headers["Retry-After"]) == (429, "7")
        time.sleep(0.03)
        assert get(emulator.url + "/0/public/Time").status == 200  # another exchange's door
        standing.now += 6_999
        assert get(emulator.url + KLINES).status == 418
        assert [call.early for call in emulator.log] == [False, False, True]


def test_the_exchange_has_a_time_of_its_own_which_may_jump(standing: Any, get: Any) -> None:
    hour = 3_600_000
    steps = [(standing.now + 10_000, -hour)]
    with Emulator(MARKET, clock=standing, clock_skew_ms=hour, clock_steps=steps) as emulator:
        told = get(emulator.url + "/api/v3/time")
        assert told.json["serverTime"] == standing.now + hour == emulator.now_ms()
        assert told.headers["Date"] == "Tue, 14 Nov 2023 23:13:20 GMT"
        assert get(emulator.url + "/api/v3/klines?symbol=BTCUSDT&interval=1h").json[-1][0] == (standing.now + hour) // hour * hour
        standing.now += 10_000
        assert get(emulator.url + "/api/v3/time").json["serverTime"] == standing.now - hour


def test_a_million_candles_are_a_thousand_quick_calls(get: Any) -> None:
    market = EmulatedMarket("BTC/USDT", seed=1)
    with Emulator(market, clock=FastClock(START, rate=1e-6), calls_per_second=math.inf) as emulator:
        begun = time.perf_counter()
        for page in range(40):
            since = START - (40 - page) * 1000 * MINUTE
            told = get(f"{emulator.url}/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=1000&startTime={since}").json
            assert len(told) == 1000
        assert (time.perf_counter() - begun) / 40 < 0.25  # about 10 ms where nobody else computes
