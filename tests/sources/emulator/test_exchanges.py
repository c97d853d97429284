"""Every emulated exchange as ccxt sees it: candles, paging, time, funding, sockets, against the truth."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Callable
from typing import Any

import pytest

from candelabra.candles.frame import Candles
from candelabra.errors import MissingExtraError, UsageError
from candelabra.sources.emulator import EmulatedMarket, Emulator, point_at
from candelabra.sources.exchanges.clock import FastClock

pro = pytest.importorskip("ccxt.pro")

Rows = Callable[[Candles], list[list[float]]]
START = 1_700_000_040_000
MINUTE, DAY = 60_000, 86_400_000
PAGES = {"binance": 1000, "kraken": 720, "coinbase": 300, "coinbaseexchange": 300, "okx": 300, "bybit": 1000}
PERPETUALS = ("binance", "okx", "bybit")
SOCKETS = ("binance", "kraken", "okx", "bybit")


def running(name: str, clock: Any, **given: Any) -> Emulator:
    quote = "USDT" if name in PERPETUALS else "USD"
    traded = EmulatedMarket(f"BTC/{quote}", seed=7, quiet=0.4, outages=0.4, listed_ms=START - 40 * DAY)
    contracts = [EmulatedMarket("BTC/USDT:USDT", seed=7, listed_ms=START - 40 * DAY)] if name in PERPETUALS else []
    return Emulator([traded, *contracts], exchange=name, clock=clock, calls_per_second=math.inf, **given)


async def client(name: str, emulator: Emulator) -> Any:
    exchange = point_at(getattr(pro, name)({"enableRateLimit": False}), emulator.url)
    await exchange.load_markets()
    return exchange


@pytest.mark.parametrize("name", PAGES)
def test_ccxt_reads_the_truth(name: str, rows: Rows) -> None:
    async def asked(emulator: Emulator) -> None:
        exchange = await client(name, emulator)
        try:
            assert set(exchange.markets) == set(emulator.markets)
            for symbol in emulator.markets:
                since = START - PAGES[name] * MINUTE - (0 if name == "kraken" else 2 * DAY)
                for frame, begin in (("1m", since), ("1h", START - 3 * DAY), ("1d", START - 30 * DAY)):
                    found = await exchange.fetch_ohlcv(symbol, frame, begin, 100)
                    truth = rows(emulator.truth(symbol, frame, begin, START))
                    closed = [row for row in found if row[0] < truth[-1][0] + exchange.parse_timeframe(frame) * 1000]
                    assert len(closed) > 20
                    # What is between absent bars is a page by time on some exchanges, by count on others.
                    assert closed == truth[: len(closed)]
            assert abs(await exchange.fetch_time() - START) < 2000
        finally:
            await exchange.close()

    with running(name, FastClock(START, rate=0.01)) as emulator:
        asyncio.run(asked(emulator))


@pytest.mark.parametrize("name", SOCKETS)
def test_ccxt_follows_the_truth_over_a_socket(name: str, rows: Rows) -> None:
    async def followed(emulator: Emulator) -> None:
        exchange = await client(name, emulator)
        try:
            for symbol in emulator.markets:
                seen: dict[float, list[float]] = {}
                begun = emulator.now_ms()
                while len([t for t in seen if t >= begun - MINUTE]) < 4:
                    seen |= {row[0]: list(row) for row in await asyncio.wait_for(exchange.watch_ohlcv(symbol, "1m"), 10)}
                closed = sorted(seen)[:-1]
                truth = {row[0]: row for row in rows(emulator.truth(symbol, "1m", int(closed[0]), int(closed[-1]) + MINUTE))}
                assert {t: seen[t] for t in closed} == truth
        finally:
            await exchange.close()

    with running(name, FastClock(START, rate=1000.0)) as emulator:
        asyncio.run(followed(emulator))
        assert {call.status for call in emulator.log} == {200, 101}
        assert sum(call.status == 101 for call in emulator.log) == (1 if name in ("kraken", "okx") else 2)  # one for each kind of market


@pytest.mark.parametrize("name", PERPETUALS)
def test_ccxt_reads_funding_rates(name: str) -> None:
    async def asked(emulator: Emulator) -> None:
        exchange = await client(name, emulator)
        try:
            rates = await exchange.fetch_funding_rate_history("BTC/USDT:USDT", START - 3 * DAY, 100)
        finally:
            await exchange.close()
        times, values = emulator.markets["BTC/USDT:USDT"].funding(START - 3 * DAY, START)
        assert [r["timestamp"] for r in rates] == times.tolist()
        assert [r["fundingRate"] for r in rates] == [v / 1e8 for v in values.tolist()]

    with running(name, FastClock(START, rate=0.01)) as emulator:
        asyncio.run(asked(emulator))


FROM, TO = START - 5000 * MINUTE, START - 4000 * MINUTE


@pytest.mark.parametrize(
    ("name", "path", "count", "newest"),
    [
        ("binance", f"/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=5000&startTime={FROM}", 1000, False),
        ("binance", "/api/v3/klines?symbol=BTCUSDT&interval=1m", 500, True),
        ("binance", f"/fapi/v1/klines?symbol=BTCUSDT&interval=1m&limit=5000&startTime={FROM - 1}", 1500, False),
        ("kraken", f"/0/public/OHLC?pair=XXBTZUSD&interval=1&since={FROM // 1000}", 720, True),
        ("kraken", f"/0/public/OHLC?pair=XBTUSD&interval=1&since={START // 1000 - 660}", 11, True),
        (
            "coinbase",
            f"/api/v3/brokerage/market/products/BTC-USD/candles?granularity=ONE_HOUR&start={FROM // 1000}&end={TO // 1000}",
            17,
            False,
        ),
        ("coinbaseexchange", "/products/BTC-USD/candles?granularity=60", 300, True),
        ("okx", "/api/v5/market/candles?instId=BTC-USDT&bar=1m&limit=1000", 300, True),
        ("okx", f"/api/v5/market/candles?instId=BTC-USDT&bar=1m&after={FROM}", 0, False),
        ("okx", f"/api/v5/market/history-candles?instId=BTC-USDT&bar=1m&after={TO}&before={FROM - 1}", 100, False),
        ("bybit", f"/v5/market/kline?category=spot&symbol=BTCUSDT&interval=1&limit=3000&start={FROM}", 1000, False),
        ("bybit", f"/v5/market/kline?category=linear&symbol=BTCUSDT&interval=1&start={FROM}&end={START}", 200, True),
    ],
)
def test_pages_are_cut_as_the_exchange_cuts_them(name: str, path: str, count: int, newest: bool, get: Any) -> None:
    with running(name, FastClock(START, rate=0.01)) as emulator:
        told = get(emulator.url + path).json
        while isinstance(told, dict):
            inner = [told[k] for k in ("result", "data", "list", "candles", "XXBTZUSD") if k in told]
            told = inner[0]
        assert len(told) == count
        times = sorted(int(row["start"] if isinstance(row, dict) else row[0]) for row in told)
        unit = 1 if not times or times[0] > 1e12 else 1000
        if newest:
            assert times[-1] * unit == START
        elif times and name in ("binance", "bybit"):
            assert FROM <= times[0] * unit < FROM + 45 * MINUTE


@pytest.mark.parametrize(
    ("name", "path", "status", "said"),
    [
        ("binance", "/api/v3/klines?symbol=NOPE&interval=1m", 400, "-1121"),
        ("binance", "/api/v3/klines?symbol=BTCUSDT&interval=7m", 400, "-1120"),
        ("binance", "/api/v3/klines?symbol=BTCUSDT&interval=1m&limit=many", 400, "-1100"),
        ("kraken", "/0/public/OHLC?pair=NOPE", 200, "EQuery:Unknown asset pair"),
        ("coinbase", "/api/v3/brokerage/market/products/BTC-USD/candles?granularity=ONE_MINUTE&start=0&end=30000", 400, "less than 350"),
        ("coinbaseexchange", f"/products/BTC-USD/candles?granularity=60&start={FROM // 1000}&end={TO // 1000}", 400, "exceeds 300"),
        ("okx", "/api/v5/market/candles?instId=NOPE", 200, "51001"),
        ("bybit", "/v5/market/kline?category=spot&symbol=NOPE&interval=1", 200, "10001"),
        ("bybit", "/v5/nothing", 404, "no such path"),
    ],
)
def test_what_cannot_be_answered_is_refused_as_the_exchange_refuses_it(name: str, path: str, status: int, said: str, get: Any) -> None:
    with running(name, FastClock(START, rate=0.01)) as emulator:
        told = get(emulator.url + path)
        assert (told.status, said in told.body.decode()) == (status, True)


def test_the_newest_price_is_that_of_the_candle_in_progress(get: Any) -> None:
    with running("bybit", FastClock(START, rate=1e-6)) as emulator:
        for category in ("spot", "linear"):
            (ticker,) = get(f"{emulator.url}/v5/market/tickers?category={category}&symbol=BTCUSDT").json["result"]["list"]
            candle = get(f"{emulator.url}/v5/market/kline?category={category}&symbol=BTCUSDT&interval=1").json["result"]["list"][0]
            assert (ticker["lastPrice"], candle[0]) == (candle[4], str(START))


def test_bars_without_a_trade_are_flat_on_some_exchanges_and_absent_on_others() -> None:
    there = {name: running(name, FastClock(START, rate=0.01)) for name in PAGES}
    counts = {name: len(e.truth(next(iter(e.markets)), "1m", START - 10 * DAY, START)) for name, e in there.items()}
    assert counts["binance"] == counts["okx"] == counts["bybit"] > 1.01 * counts["kraken"]
    assert counts["kraken"] == counts["coinbase"] == counts["coinbaseexchange"]


def test_point_at_forgets_no_url() -> None:
    def texts(urls: Any) -> list[str]:
        return [t for v in urls.values() for t in texts(v)] if isinstance(urls, dict) else [urls]

    for name in PAGES:
        exchange = point_at(getattr(pro, name)(), "http://127.0.0.1:8080/")
        found = texts(exchange.urls["api"])
        assert found
        assert all(url.startswith(("http://127.0.0.1:8080", "ws://127.0.0.1:8080/")) for url in found)
    assert point_at(pro.okx(), "https://proxy.example").urls["api"]["ws"] == "wss://proxy.example/ws.okx.com/ws/v5"
    with pytest.raises(UsageError, match="write http://host:port"):
        point_at(pro.okx(), "127.0.0.1:80")


def test_without_aiohttp_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'candelabra\[exchanges\]'"), Emulator(EmulatedMarket("BTC/USDT")):
        pass


def test_what_cannot_be_emulated_is_refused() -> None:
    market = EmulatedMarket("BTC/USDT")
    with pytest.raises(UsageError, match=r"did you mean kraken\?"):
        Emulator(market, exchange="krakn")
    with pytest.raises(UsageError, match="each symbol once"):
        Emulator([market, market])
    with pytest.raises(UsageError, match="not running"):
        _ = Emulator(market).url
