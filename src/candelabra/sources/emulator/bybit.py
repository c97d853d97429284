"""Bybit as ccxt asks it (version 5): newest first, 1,000 rows, perpetuals with funding, sockets of klines."""

from __future__ import annotations

from collections.abc import Mapping
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

__all__ = ["BYBIT"]

PAGE: Final = 1000
INTERVALS: Final = {
    "1": "1m", "3": "3m", "5": "5m", "15": "15m", "30": "30m", "60": "1h", "120": "2h", "240": "4h", "360": "6h", "720": "12h",
    "D": "1d", "W": "1w", "M": "1M",
}  # fmt: skip


def market_id(market: EmulatedMarket) -> str:
    """BTCUSDT."""
    return market.base + market.quote


def _told(world: World, result: Any) -> dict[str, Any]:
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": world.now_ms}


def _failure(code: int, text: str) -> dict[str, Any]:
    return {"retCode": code, "retMsg": text, "result": {}, "retExtInfo": {}, "time": 0}


def _instruments(world: World, query: Mapping[str, str]) -> Answer:
    category = query.get("category", "linear")
    entries: list[dict[str, Any]] = []
    among = {"spot": world.spot(), "linear": world.perpetuals()}.get(category, []) if query.get("status") != "PreLaunch" else []
    for m in among:
        tick = f"{10.0**-m.decimals:.{m.decimals}f}"
        entry: dict[str, Any] = {
            "symbol": market_id(m), "baseCoin": m.base, "quoteCoin": m.quote, "status": "Trading",
            "lotSizeFilter": {"basePrecision": "0.001", "quotePrecision": tick, "minOrderQty": "0.001", "qtyStep": "0.001"},
            "priceFilter": {"minPrice": tick, "maxPrice": "999999", "tickSize": tick},
        }  # fmt: skip
        if category == "linear":
            entry |= {
                "contractType": "LinearPerpetual", "launchTime": str(m.listed_ms), "deliveryTime": "0", "settleCoin": m.quote,
                "fundingInterval": m.funding_hours * 60,
            }  # fmt: skip
        entries.append(entry)
    return Answer(_told(world, {"category": category, "list": entries, "nextPageCursor": ""}))


def _klines(world: World, query: Mapping[str, str]) -> Answer:
    category = query.get("category", "linear")
    market = world.named(query.get("symbol"), market_id, perpetual=category != "spot")
    if market is None:
        return Answer(_failure(10001, "params error: symbol invalid"))
    if query.get("interval") not in INTERVALS:
        return Answer(_failure(10001, "params error: interval invalid"))
    frame = Timeframe(INTERVALS[query["interval"]])
    limit = min(int(query.get("limit", 200)), PAGE)
    if "start" in query and "end" not in query:
        bars = first_bars(world, market, frame, int(frame.floor(int(query["start"]))), FOREVER, limit)
    else:
        start = int(frame.floor(int(query.get("start", 0))))
        bars = last_bars(world, market, frame, int(query.get("end", FOREVER)) + 1, limit, start)
    rows: list[Any] = [
        [str(t), o, h, lo, c, v, f"{float(v) * float(c):.3f}"] for t, o, h, lo, c, v, _ in texts(market, bars)
    ][::-1]  # fmt: skip
    body = _told(world, {"category": category, "symbol": market_id(market), "list": rows})
    return Answer(body, rows=rows)


def _funding(world: World, query: Mapping[str, str]) -> Answer:
    market = world.named(query.get("symbol"), market_id, perpetual=True)
    if market is None:
        return Answer(_failure(10001, "params error: symbol invalid"))
    if "startTime" in query and "endTime" not in query:
        return Answer(_failure(10001, "params error: endTime is needed with startTime"))
    limit = min(int(query.get("limit", 200)), 200)
    times, rates = market.funding(int(query.get("startTime", 0)), min(int(query.get("endTime", FOREVER)), world.now_ms) + 1)
    entries = [
        {"symbol": market_id(market), "fundingRate": f"{r / 1e8:.8f}", "fundingRateTimestamp": str(t)}
        for t, r in zip(times[-limit:].tolist(), rates[-limit:].tolist(), strict=True)
    ]
    return Answer(_told(world, {"category": "linear", "list": entries[::-1]}))


def _tickers(world: World, query: Mapping[str, str]) -> Answer:
    category = query.get("category", "linear")
    entries = []
    for m in {"spot": world.spot(), "linear": world.perpetuals()}.get(category, []):
        if query.get("symbol", market_id(m)) == market_id(m):
            (time, *_, price, _, _) = next(texts(m, last_bars(world, m, Timeframe("1m"), FOREVER, 1)), (0, "", "", "", "", "", 0))
            entries.append({"symbol": market_id(m), "lastPrice": price, "bid1Price": price, "ask1Price": price, "time": str(time)})
    return Answer(_told(world, {"category": category, "list": entries}))


def _time(world: World, query: Mapping[str, str]) -> Answer:
    return Answer(_told(world, {"timeSecond": str(world.now_ms // 1000), "timeNano": str(world.now_ms * 1_000_000)}))


def _hear(world: World, path: str, message: Any) -> Heard:
    if not isinstance(message, dict):
        return Heard(({"success": False, "ret_msg": "error:invalid request", "op": "", "conn_id": "1"},))
    number, op = message.get("req_id"), message.get("op")
    if op == "ping":
        return Heard(({"success": True, "ret_msg": "pong", "conn_id": "1", "req_id": number, "op": "ping"},))
    reply = {"success": True, "ret_msg": "", "conn_id": "1", "req_id": number, "op": op}
    names = [str(name) for name in message.get("args", ())]
    if op == "unsubscribe":
        return Heard((reply,), left=names)
    taken = []
    for name in names:
        _, interval, symbol = (*name.split("."), "", "")[:3]
        market = world.named(symbol, market_id, perpetual="spot" not in path)
        if op != "subscribe" or market is None or interval not in INTERVALS:
            return Heard((reply | {"success": False, "ret_msg": f"error:handler not found,topic:{name}"},))
        taken.append(Subscription(market, Timeframe(INTERVALS[interval]), name))
    return Heard((reply,), taken)


def _tell(subscription: Subscription, bar: Bars, closed: bool, now_ms: int) -> dict[str, Any]:
    frame, interval = subscription.timeframe, subscription.channel.split(".")[1]
    data = [
        {
            "start": t, "end": int(frame.next(t)) - 1, "interval": interval, "open": o, "close": c, "high": h, "low": lo, "volume": v,
            "turnover": f"{float(v) * float(c):.3f}", "confirm": closed, "timestamp": now_ms,
        }
        for t, o, h, lo, c, v, _ in texts(subscription.market, bar)
    ]  # fmt: skip
    return {"topic": subscription.channel, "data": data, "ts": now_ms, "type": "snapshot"}


BYBIT: Final = Exchange(
    name="bybit",
    routes={
        "/v5/market/instruments-info": _instruments,
        "/v5/market/kline": _klines,
        "/v5/market/tickers": _tickers,
        "/v5/market/time": _time,
        "/v5/market/funding/history": _funding,
    },
    candle_paths=("/v5/market/kline",),
    failures={
        "internal": _failure(10016, "Server error."),
        "timeout": _failure(10000, "Server Timeout"),
        "busy": _failure(10016, "Service not available, please try again later."),
    },
    too_many=_failure(10006, "Too many visits!"),
    calls_per_second=50.0,
    burst=600,
    page=PAGE,
    socket=SocketGrammar(_hear, _tell, error={"success": False, "ret_msg": "error:too many visits", "conn_id": "1", "op": "subscribe"}),
)
