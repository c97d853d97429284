"""Coinbase as ccxt asks it by both interfaces, ``coinbase`` (Advanced Trade, public) and ``coinbaseexchange``; no socket of candles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from candelabra.candles.timeframe import Timeframe
from candelabra.sources.emulator.market import EmulatedMarket
from candelabra.sources.emulator.wire import FOREVER, Answer, Columns, Exchange, World, last_bars, texts

__all__ = ["COINBASE", "COINBASE_EXCHANGE"]

GRANULARITIES: Final = {
    "ONE_MINUTE": "1m", "FIVE_MINUTE": "5m", "FIFTEEN_MINUTE": "15m", "THIRTY_MINUTE": "30m", "ONE_HOUR": "1h", "TWO_HOUR": "2h",
    "SIX_HOUR": "6h", "ONE_DAY": "1d",
}  # fmt: skip
SECONDS: Final = {60: "1m", 300: "5m", 900: "15m", 3600: "1h", 21600: "6h", 86400: "1d"}
_MOST: Final = 350
_MOST_OF_EXCHANGE: Final = 300
_ADVANCED: Final = Columns("start", "open", "high", "low", "close", "volume", unit_ms=1000)
_OF_EXCHANGE: Final = Columns(0, 3, 2, 1, 4, 5, unit_ms=1000)


def market_id(market: EmulatedMarket) -> str:
    """BTC-USD."""
    return f"{market.base}-{market.quote}"


def _iso(time_ms: int) -> str:
    return f"{np.datetime64(time_ms, 'ms')}Z"


def _tick(market: EmulatedMarket) -> str:
    return f"{10.0**-market.decimals:.{market.decimals}f}"


def _products(world: World, query: Mapping[str, str]) -> Answer:
    products = [
        {
            "product_id": market_id(m), "price": str(m.price), "base_increment": "0.001", "quote_increment": _tick(m),
            "quote_min_size": "1", "base_min_size": "0.001", "base_max_size": "3400", "base_name": m.base, "quote_name": m.quote,
            "is_disabled": False, "status": "online", "trading_disabled": False, "product_type": "SPOT", "quote_currency_id": m.quote,
            "base_currency_id": m.base, "alias": "", "alias_to": [], "price_increment": _tick(m), "display_name": market_id(m),
        }
        for m in (world.spot() if query.get("product_type") != "FUTURE" else ())
    ]  # fmt: skip
    return Answer({"products": products, "num_products": len(products)})


def _candles(world: World, query: Mapping[str, str]) -> Answer:
    market = world.named(query["product_id"], market_id)
    if market is None:
        return Answer(
            {"error": "NOT_FOUND", "error_details": "valid product_id is required", "message": "valid product_id is required"}, 404
        )
    if query.get("granularity") not in GRANULARITIES:
        return Answer({"error": "INVALID_ARGUMENT", "message": "unsupported granularity"}, 400)
    frame = Timeframe(GRANULARITIES[query["granularity"]])
    start, end = int(query["start"]) * 1000, int(query["end"]) * 1000
    if (end - start) // frame.milliseconds > _MOST:
        text = f"number of candles requested should be less than {_MOST}"
        return Answer({"error": "INVALID_ARGUMENT", "error_details": text, "message": text}, 400)
    rows: list[Any] = [
        {"start": str(t // 1000), "low": lo, "high": h, "open": o, "close": c, "volume": v}
        for t, o, h, lo, c, v, _ in texts(market, last_bars(world, market, frame, end + 1, _MOST, start))
    ][::-1]
    return Answer({"candles": rows}, rows=rows, columns=_ADVANCED)


def _currencies(world: World, query: Mapping[str, str]) -> Answer:
    codes = sorted({m.quote for m in world.spot()})
    return Answer({"data": [{"id": c, "name": c, "min_size": "0.01"} for c in codes]})


def _crypto(world: World, query: Mapping[str, str]) -> Answer:
    codes = sorted({m.base for m in world.spot()} - {m.quote for m in world.spot()})
    return Answer({"data": [{"asset_id": c.lower(), "code": c, "name": c, "exponent": 8, "type": "crypto"} for c in codes]})


def _rates(world: World, query: Mapping[str, str]) -> Answer:
    return Answer({"data": {"currency": "USD", "rates": {m.quote: "1.0" for m in world.spot()}}})


def _time(world: World, query: Mapping[str, str]) -> Answer:
    return Answer({"data": {"iso": _iso(world.now_ms // 1000 * 1000), "epoch": world.now_ms // 1000}})


def _advanced_time(world: World, query: Mapping[str, str]) -> Answer:
    return Answer({"iso": _iso(world.now_ms), "epochSeconds": str(world.now_ms // 1000), "epochMillis": str(world.now_ms)})


def _exchange_products(world: World, query: Mapping[str, str]) -> Answer:
    products = [
        {
            "id": market_id(m), "base_currency": m.base, "quote_currency": m.quote, "quote_increment": _tick(m), "base_increment": "0.001",
            "display_name": f"{m.base}/{m.quote}", "min_market_funds": "1", "margin_enabled": False, "status": "online",
            "trading_disabled": False,
        }
        for m in world.spot()
    ]  # fmt: skip
    return Answer(products)


def _exchange_currencies(world: World, query: Mapping[str, str]) -> Answer:
    codes = sorted({code for m in world.spot() for code in (m.base, m.quote)})
    return Answer([{"id": c, "name": c, "min_size": "0.001", "max_precision": "0.001", "status": "online", "details": {}} for c in codes])


def _exchange_time(world: World, query: Mapping[str, str]) -> Answer:
    return Answer({"iso": _iso(world.now_ms), "epoch": world.now_ms / 1000})


def _instant(text: str) -> int:
    """Milliseconds of an ISO time, or of seconds."""
    if text.replace(".", "", 1).isdecimal():
        return int(float(text) * 1000)
    return int(np.datetime64(text.removesuffix("Z"), "ms").astype(np.int64))


def _exchange_candles(world: World, query: Mapping[str, str]) -> Answer:
    market = world.named(query["product_id"], market_id)
    if market is None:
        return Answer({"message": "NotFound"}, 404)
    seconds = int(query.get("granularity", 60))
    if seconds not in SECONDS:
        return Answer({"message": "Unsupported granularity"}, 400)
    frame = Timeframe(SECONDS[seconds])
    start = _instant(query["start"]) if "start" in query else 0
    end = _instant(query["end"]) if "end" in query else FOREVER
    if "start" in query and "end" in query and (end - start) // frame.milliseconds > _MOST_OF_EXCHANGE:
        text = f"granularity too small for the requested time range. Count of aggregations requested exceeds {_MOST_OF_EXCHANGE}"
        return Answer({"message": text}, 400)
    bars = last_bars(world, market, frame, end + 1, _MOST_OF_EXCHANGE, start)
    rows: list[Any] = [[t // 1000, float(lo), float(h), float(o), float(c), float(v)] for t, o, h, lo, c, v, _ in texts(market, bars)][::-1]
    return Answer(rows, rows=rows, columns=_OF_EXCHANGE)


def _failures(name: str) -> dict[str, Any]:
    return {
        "internal": {name: "internal server error", "message": "internal server error"},
        "timeout": {name: "request timed out", "message": "request timed out"},
        "busy": {name: "service unavailable", "message": "service unavailable"},
    }


COINBASE: Final = Exchange(
    name="coinbase",
    routes={
        "/api/v3/brokerage/market/products": _products,
        "/api/v3/brokerage/market/products/{product_id}/candles": _candles,
        "/api/v3/brokerage/time": _advanced_time,
        "/v2/currencies": _currencies,
        "/v2/currencies/crypto": _crypto,
        "/v2/exchange-rates": _rates,
        "/v2/time": _time,
    },
    candle_paths=("/api/v3/brokerage/market/products/",),
    failures=_failures("error"),
    too_many={"error": "rate_limit_exceeded", "message": "Too many requests"},
    calls_per_second=10.0,
    burst=15,
    page=300,
    quiet_bars=False,
)

COINBASE_EXCHANGE: Final = Exchange(
    name="coinbaseexchange",
    routes={
        "/products": _exchange_products,
        "/products/{product_id}/candles": _exchange_candles,
        "/currencies": _exchange_currencies,
        "/time": _exchange_time,
    },
    candle_paths=("/products/",),
    failures=_failures("reason"),
    too_many={"message": "Public rate limit exceeded"},
    calls_per_second=10.0,
    burst=15,
    page=_MOST_OF_EXCHANGE,
    quiet_bars=False,
)
