"""Binance as ccxt asks it: spot under ``/api/v3``, perpetuals with funding under ``/fapi/v1``, sockets with ``SUBSCRIBE`` and klines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from candelabra.candles.timeframe import Timeframe
from candelabra.sources.emulator.market import Bars, EmulatedMarket
from candelabra.sources.emulator.wire import (
    FOREVER,
    Answer,
    Exchange,
    Heard,
    SocketGrammar,
    Subscription,
    World,
    first_bars,
    last_bars,
    texts,
)

__all__ = ["BINANCE", "INTERVALS", "kline"]

INTERVALS: Final = ("1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "1w", "1M")


def market_id(market: EmulatedMarket) -> str:
    """BTCUSDT."""
    return market.base + market.quote


def kline(market: EmulatedMarket, frame: Timeframe, bars: Bars) -> list[list[Any]]:
    """Rows of 12 fields: open time, prices and volume as text, close time, quote volume, trades, two taker volumes, 0."""
    closes = (frame.next(bars.open_time) - 1).tolist()
    rows = []
    for (time, o, h, lo, c, v, trades), until in zip(texts(market, bars), closes, strict=True):
        worth = float(v) * float(c)
        rows.append([time, o, h, lo, c, v, until, f"{worth:.3f}", trades, f"{float(v) / 2:.3f}", f"{worth / 2:.3f}", "0"])
    return rows


def _error(code: int, text: str, status: int = 400) -> Answer:
    return Answer({"code": code, "msg": text}, status)


def _found(markets: list[EmulatedMarket], name: str | None) -> EmulatedMarket | None:
    return next((m for m in markets if market_id(m) == name), None)


def _klines(perpetual: bool) -> Callable[[World, Mapping[str, str]], Answer]:
    most = 1500 if perpetual else 1000

    def answer(world: World, query: Mapping[str, str]) -> Answer:
        market = _found(world.perpetuals() if perpetual else world.spot(), query.get("symbol"))
        if market is None:
            return _error(-1121, "Invalid symbol.")
        if query.get("interval") not in INTERVALS:
            return _error(-1120, "Invalid interval.")
        frame = Timeframe(query["interval"])
        limit = min(int(query.get("limit", 500)), most)
        end = int(query.get("endTime", FOREVER)) + 1
        if "startTime" in query:
            bars = first_bars(world, market, frame, int(query["startTime"]), end, limit)
        else:
            bars = last_bars(world, market, frame, end, limit)
        rows = kline(market, frame, bars)
        return Answer(rows, rows=rows)

    return answer


def _filters(market: EmulatedMarket) -> list[dict[str, str]]:
    tick = f"{10.0**-market.decimals:.{market.decimals}f}"
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000", "tickSize": tick},
        {"filterType": "LOT_SIZE", "minQty": "0.001", "maxQty": "9000", "stepSize": "0.001"},
        {"filterType": "MIN_NOTIONAL", "minNotional": "5", "notional": "5"},
    ]


def _info(perpetual: bool) -> Callable[[World, Mapping[str, str]], Answer]:
    def answer(world: World, query: Mapping[str, str]) -> Answer:
        symbols: list[dict[str, Any]] = []
        for market in world.perpetuals() if perpetual else world.spot():
            entry: dict[str, Any] = {
                "symbol": market_id(market), "status": "TRADING", "baseAsset": market.base, "quoteAsset": market.quote,
                "baseAssetPrecision": 8, "quotePrecision": 8, "filters": _filters(market), "orderTypes": ["LIMIT", "MARKET"],
            }  # fmt: skip
            if perpetual:
                entry |= {
                    "contractType": "PERPETUAL", "marginAsset": market.quote, "pair": market_id(market), "deliveryDate": 4133404800000,
                    "onboardDate": market.listed_ms, "pricePrecision": market.decimals, "quantityPrecision": 3, "underlyingType": "COIN",
                }  # fmt: skip
            else:
                entry |= {"isSpotTradingAllowed": True, "isMarginTradingAllowed": False, "permissions": ["SPOT"]}
            symbols.append(entry)
        limits = [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 1200}]
        body = {"timezone": "UTC", "serverTime": world.now_ms, "rateLimits": limits, "exchangeFilters": [], "symbols": symbols}
        return Answer(body)

    return answer


def _funding(world: World, query: Mapping[str, str]) -> Answer:
    market = _found(world.perpetuals(), query.get("symbol"))
    if market is None:
        return _error(-1121, "Invalid symbol.")
    limit = min(int(query.get("limit", 100)), 1000)
    end = min(int(query.get("endTime", FOREVER)) + 1, world.now_ms + 1)
    times, rates = market.funding(int(query.get("startTime", 0)), end)
    chosen = slice(0, limit) if "startTime" in query else slice(-limit, None)
    rows = [
        {"symbol": market_id(market), "fundingTime": t, "fundingRate": f"{r / 1e8:.8f}", "markPrice": f"{market.price:.8f}"}
        for t, r in zip(times[chosen].tolist(), rates[chosen].tolist(), strict=True)
    ]
    return Answer(rows)


def _time(world: World, query: Mapping[str, str]) -> Answer:
    return Answer({"serverTime": world.now_ms})


def _nothing(world: World, query: Mapping[str, str]) -> Answer:
    return Answer({})


def _no_symbols(world: World, query: Mapping[str, str]) -> Answer:
    return Answer({"timezone": "UTC", "serverTime": world.now_ms, "rateLimits": [], "exchangeFilters": [], "symbols": []})


def _hear(world: World, path: str, message: Any) -> Heard:
    if not isinstance(message, dict) or message.get("method") not in ("SUBSCRIBE", "UNSUBSCRIBE"):
        return Heard(({"error": {"code": 2, "msg": "Invalid request: unknown method"}},))
    reply = {"result": None, "id": message.get("id")}
    names = [str(name) for name in message.get("params", ())]
    if message["method"] == "UNSUBSCRIBE":
        return Heard((reply,), left=names)
    # Spot and contracts share ids; the host tells them apart, and `point_at` keeps it as the first part of the path.
    contracts = "fstream" in path or "/market/" in path
    taken = []
    for name in names:
        symbol, _, interval = name.partition("@kline_")
        market = _found(world.perpetuals() if contracts else world.spot(), symbol.upper())
        if market is None or interval not in INTERVALS:
            return Heard(({"error": {"code": 2, "msg": f"Invalid request: {name}"}, "id": message.get("id")},))
        taken.append(Subscription(market, Timeframe(interval), name))
    return Heard((reply,), taken)


def _tell(subscription: Subscription, bar: Bars, closed: bool, now_ms: int) -> dict[str, Any]:
    market, frame = subscription.market, subscription.timeframe
    (time, o, h, lo, c, amount, until, worth, trades, half, half_worth, _) = kline(market, frame, bar)[0]
    values = {
        "t": time, "T": until, "s": market_id(market), "i": frame.name, "f": -1, "L": -1, "o": o, "c": c, "h": h, "l": lo, "v": amount,
        "n": trades, "x": closed, "q": worth, "V": half, "Q": half_worth, "B": "0",
    }  # fmt: skip
    return {"e": "kline", "E": now_ms, "s": market_id(market), "k": values}


BINANCE: Final = Exchange(
    name="binance",
    routes={
        "/api/v3/ping": _nothing,
        "/api/v3/time": _time,
        "/api/v3/exchangeInfo": _info(perpetual=False),
        "/api/v3/klines": _klines(perpetual=False),
        "/fapi/v1/ping": _nothing,
        "/fapi/v1/time": _time,
        "/fapi/v1/exchangeInfo": _info(perpetual=True),
        "/fapi/v1/klines": _klines(perpetual=True),
        "/fapi/v1/fundingRate": _funding,
        "/dapi/v1/exchangeInfo": _no_symbols,
    },
    candle_paths=("/api/v3/klines", "/fapi/v1/klines"),
    failures={
        "internal": {"code": -1000, "msg": "An unknown error occurred while processing the request."},
        "timeout": {"code": -1001, "msg": "Internal error; unable to process your request. Please try again."},
        "busy": {"code": -1008, "msg": "Server is currently overloaded with other requests. Please try again in a few minutes."},
    },
    too_many={"code": -1003, "msg": "Too much request weight used; current limit is 1200 request weight per 1 MINUTE."},
    calls_per_second=20.0,
    burst=1200,
    page=1000,
    ban_status=418,
    socket=SocketGrammar(_hear, _tell, error={"error": {"code": -1003, "msg": "Too many requests."}}),
)
