"""Kraken as ccxt asks it: only the newest 720 rows whatever is asked for, own names of currencies, sockets of version 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from candelabra.candles.timeframe import Timeframe
from candelabra.sources.emulator.market import Bars, EmulatedMarket
from candelabra.sources.emulator.wire import (
    FOREVER,
    Answer,
    Columns,
    Exchange,
    Heard,
    SocketGrammar,
    Subscription,
    World,
    last_bars,
    texts,
)

__all__ = ["KRAKEN"]

NEWEST: Final = 720
MINUTES: Final = {1: "1m", 5: "5m", 15: "15m", 30: "30m", 60: "1h", 240: "4h", 1440: "1d", 10080: "1w"}
_OLD_NAMES: Final = {"BTC": "XXBT", "ETH": "XETH", "LTC": "XLTC", "XRP": "XXRP"} | {f: f"Z{f}" for f in ("USD", "EUR", "GBP", "CAD", "JPY")}
_COLUMNS: Final = Columns(volume=6, unit_ms=1000)


def _asset(code: str) -> str:
    return _OLD_NAMES.get(code, code)


def _short(code: str) -> str:
    return "XBT" if code == "BTC" else code


def _altname(market: EmulatedMarket) -> str:
    return _short(market.base) + _short(market.quote)


def market_id(market: EmulatedMarket) -> str:
    """XXBTZUSD for BTC/USD, XBTUSDT for BTC/USDT."""
    base, quote = _asset(market.base), _asset(market.quote)
    return base + quote if base != market.base and quote != market.quote else _altname(market)


def _error(text: str) -> Answer:
    return Answer({"error": [text]})


def _assets(world: World, query: Mapping[str, str]) -> Answer:
    codes = sorted({code for m in world.spot() for code in (m.base, m.quote)})
    assets = {
        _asset(c): {"aclass": "currency", "altname": _short(c), "decimals": 8, "display_decimals": 5, "status": "enabled"} for c in codes
    }
    return Answer({"error": [], "result": assets})


def _pairs(world: World, query: Mapping[str, str]) -> Answer:
    pairs = {
        market_id(m): {
            "altname": _altname(m), "wsname": f"{_short(m.base)}/{_short(m.quote)}", "aclass_base": "currency", "base": _asset(m.base),
            "aclass_quote": "currency", "quote": _asset(m.quote), "lot": "unit", "pair_decimals": m.decimals, "lot_decimals": 8,
            "lot_multiplier": 1, "leverage_buy": [], "leverage_sell": [], "fees": [[0, 0.4]], "fees_maker": [[0, 0.25]],
            "fee_volume_currency": "ZUSD", "ordermin": "0.0001", "costmin": "0.5", "tick_size": f"{10.0**-m.decimals:.{m.decimals}f}",
            "status": "online",
        }
        for m in world.spot()
    }  # fmt: skip
    return Answer({"error": [], "result": pairs})


def _ohlc(world: World, query: Mapping[str, str]) -> Answer:
    name = query.get("pair")
    market = world.named(name, market_id) or world.named(name, _altname)
    if market is None:
        return _error("EQuery:Unknown asset pair")
    minutes = int(query.get("interval", 1))
    if minutes not in MINUTES:
        return _error("EGeneral:Invalid arguments")
    frame = Timeframe(MINUTES[minutes])
    bars = last_bars(world, market, frame, FOREVER, NEWEST)
    since = int(query.get("since", 0)) * 1000
    bars = bars.rows(bars.open_time > since)
    rows: list[Any] = [[t // 1000, o, h, lo, c, c, v, n] for t, o, h, lo, c, v, n in texts(market, bars)]
    last = rows[-2][0] if len(rows) > 1 else since // 1000
    return Answer({"error": [], "result": {market_id(market): rows, "last": last}}, rows=rows, columns=_COLUMNS)


def _time(world: World, query: Mapping[str, str]) -> Answer:
    return Answer({"error": [], "result": {"unixtime": world.now_ms // 1000, "rfc1123": ""}})


def _hear(world: World, path: str, message: Any) -> Heard:
    if not isinstance(message, dict):
        return Heard(({"error": "Malformed request", "success": False},))
    method, given, number = message.get("method"), message.get("params") or {}, message.get("req_id")
    if method == "ping":
        return Heard(({"method": "pong", "req_id": number},))
    if method not in ("subscribe", "unsubscribe") or given.get("channel") != "ohlc":
        return Heard(({"error": "Unsupported request", "method": method, "req_id": number, "success": False},))
    minutes = int(given.get("interval", 1))
    replies: list[Any] = []
    taken: list[Subscription] = []
    left: list[str] = []
    for symbol in given.get("symbol", ()):
        market = world.markets.get(symbol)
        if market is None or market.perpetual or minutes not in MINUTES:
            complaint = f"Currency pair not supported {symbol}"
            replies.append({"error": complaint, "method": method, "req_id": number, "success": False, "symbol": symbol})
            continue
        frame, channel = Timeframe(MINUTES[minutes]), f"{symbol} {minutes}"
        result = {"channel": "ohlc", "interval": minutes, "snapshot": True, "symbol": symbol}
        replies.append({"method": method, "req_id": number, "result": result, "success": True})
        if method == "unsubscribe":
            left.append(channel)
            continue
        subscription = Subscription(market, frame, channel)
        taken.append(subscription)
        bars = last_bars(world, market, frame, FOREVER, 10)
        replies.append({"channel": "ohlc", "type": "snapshot", "timestamp": _iso(world.now_ms), "data": _data(subscription, bars)})
    return Heard(replies, taken, left)


def _iso(time_ms: int) -> str:
    return str(np.datetime64(time_ms, "ms")) + "000000Z"


def _data(subscription: Subscription, bars: Bars) -> list[dict[str, Any]]:
    frame, market = subscription.timeframe, subscription.market
    return [
        {
            "symbol": market.symbol, "open": float(o), "high": float(h), "low": float(lo), "close": float(c), "trades": trades,
            "volume": float(v), "vwap": float(c), "interval_begin": _iso(time), "interval": frame.milliseconds // 60_000,
            "timestamp": _iso(int(frame.next(time))),
        }
        for time, o, h, lo, c, v, trades in texts(market, bars)
    ]  # fmt: skip


def _tell(subscription: Subscription, bar: Bars, closed: bool, now_ms: int) -> dict[str, Any]:
    return {"channel": "ohlc", "type": "update", "timestamp": _iso(now_ms), "data": _data(subscription, bar)}


_STATUS: Final = {"version": "2.0.10", "system": "online", "api_version": "v2", "connection_id": 1}

KRAKEN: Final = Exchange(
    name="kraken",
    routes={
        "/0/public/Assets": _assets,
        "/0/public/AssetPairs": _pairs,
        "/0/public/OHLC": _ohlc,
        "/0/public/Time": _time,
    },
    candle_paths=("/0/public/OHLC",),
    failures={
        "internal": {"error": ["EGeneral:Internal error"]},
        "timeout": {"error": ["EService:Timeout"]},
        "busy": {"error": ["EService:Busy"]},
    },
    too_many={"error": ["EGeneral:Too many requests"]},
    calls_per_second=1.0,
    burst=15,
    page=NEWEST,
    quiet_bars=False,
    newest=NEWEST,
    socket=SocketGrammar(
        _hear,
        _tell,
        error={"error": "Exceeded msg rate", "method": "subscribe", "success": False},
        greeting=({"channel": "status", "type": "update", "data": [_STATUS]},),
    ),
)
