"""CoinGecko: candles without volume, as long as the stretch asked for makes them, stamped at their *end*; prices and rolling volumes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from candelabra.candles.timeframe import Timeframe
from candelabra.sources.emulator.market import Bars, EmulatedMarket
from candelabra.sources.emulator.wire import Answer, Columns, Exchange, World

__all__ = ["COINGECKO"]

IDS: Final = {
    "BTC": ("bitcoin", "Bitcoin"), "ETH": ("ethereum", "Ethereum"), "SOL": ("solana", "Solana"), "XRP": ("ripple", "XRP"),
    "BNB": ("binancecoin", "BNB"), "DOGE": ("dogecoin", "Dogecoin"), "ADA": ("cardano", "Cardano"), "LTC": ("litecoin", "Litecoin"),
}  # fmt: skip
_DAY_MS: Final = 86_400_000
_OHLC_DAYS: Final = ("1", "7", "14", "30", "90", "180", "365", "max")
_COLUMNS: Final = Columns(volume=4)  # there is none: what spoils a volume spoils the close


def coin_id(market: EmulatedMarket) -> str:
    """Bitcoin for BTC/USD."""
    return IDS.get(market.base, (market.base.lower(), ""))[0]


def _found(world: World, query: Mapping[str, str]) -> EmulatedMarket | None:
    coin, money = query["id"], query.get("vs_currency", "").upper()
    among = [m for m in world.spot() if coin_id(m) == coin]
    # A price in dollars is also that of a coin that stands for a dollar, where no other market has one.
    return next((m for quote in (money, f"{money}T") for m in among if m.quote == quote), None)


def _missing(world: World, query: Mapping[str, str]) -> Answer:
    known = any(coin_id(m) == query["id"] for m in world.spot())
    return Answer({"error": "invalid vs_currency"}, 422) if known else Answer({"error": "coin not found"}, 404)


def _list(world: World, query: Mapping[str, str]) -> Answer:
    coins = {m.base: {"id": coin_id(m), "symbol": m.base.lower(), "name": IDS.get(m.base, ("", m.base))[1]} for m in world.spot()}
    return Answer(list(coins.values()))


def _ohlc(world: World, query: Mapping[str, str]) -> Answer:
    market = _found(world, query)
    if market is None:
        return _missing(world, query)
    days = query.get("days", "")
    if days not in _OHLC_DAYS:
        return Answer({"error": "Invalid days parameter"}, 422)
    reach = (world.now_ms - market.listed_ms) / _DAY_MS if days == "max" else float(days)
    frame = Timeframe("30m" if reach <= 2 else "4h" if reach <= 30 else "4d")
    bars = market.bars(frame, int(frame.floor(world.now_ms - int(reach * _DAY_MS))), world.now_ms, world.now_ms, quiet=False)
    scale = 10**market.decimals
    ends = frame.next(bars.open_time)
    rows: list[Any] = [
        [t, o / scale, h / scale, lo / scale, c / scale]
        for t, o, h, lo, c in zip(ends.tolist(), *(column.tolist() for column in bars[1:5]), strict=True)
    ]
    return Answer(rows, rows=rows, columns=_COLUMNS)


def _chart(world: World, query: Mapping[str, str]) -> Answer:
    market = _found(world, query)
    if market is None:
        return _missing(world, query)
    if "from" in query:
        start, end = int(float(query["from"]) * 1000), min(int(float(query["to"]) * 1000), world.now_ms)
    else:
        days = (world.now_ms - market.listed_ms) / _DAY_MS if query["days"] == "max" else float(query["days"])
        start, end = world.now_ms - int(days * _DAY_MS), world.now_ms
    reach = (end - start) / _DAY_MS
    told = {"daily": "1d", "hourly": "1h"}.get(query.get("interval", ""))
    frame = Timeframe(told or ("5m" if reach <= 1 else "1h" if reach <= 90 else "1d"))
    bars = market.bars(frame, int(frame.floor(start)) - _DAY_MS, end, world.now_ms, quiet=False)
    return Answer(_series(market, frame, bars, start))


def _series(market: EmulatedMarket, frame: Timeframe, bars: Bars, start_ms: int) -> dict[str, Any]:
    """Prices at the end of each stretch, and the money that changed hands in the 24 hours before."""
    ends = frame.next(bars.open_time)
    price = bars.close / 10**market.decimals
    total = np.append(0, np.cumsum(bars.volume)) / 8
    since = np.searchsorted(bars.open_time, ends - _DAY_MS)
    volume = (total[1:] - total[since]) * price
    told = np.flatnonzero(ends >= start_ms)
    pairs = {"prices": price, "market_caps": price * 19_000_000, "total_volumes": volume}
    return {name: [[int(ends[i]), float(values[i])] for i in told] for name, values in pairs.items()}


COINGECKO: Final = Exchange(
    name="coingecko",
    routes={
        "/api/v3/ping": lambda world, query: Answer({"gecko_says": "(V3) To the Moon!"}),
        "/api/v3/coins/list": _list,
        "/api/v3/simple/supported_vs_currencies": lambda world, query: Answer(sorted({m.quote.lower() for m in world.spot()} | {"usd"})),
        "/api/v3/coins/{id}/ohlc": _ohlc,
        "/api/v3/coins/{id}/market_chart": _chart,
        "/api/v3/coins/{id}/market_chart/range": _chart,
    },
    candle_paths=("/api/v3/coins/",),
    failures={
        "internal": {"error": "Internal Server Error"},
        "timeout": {"status": {"error_code": 504, "error_message": "Gateway Timeout"}},
        "busy": {"status": {"error_code": 503, "error_message": "Service Unavailable"}},
    },
    too_many={"status": {"error_code": 429, "error_message": "You've exceeded the Rate Limit."}},
    calls_per_second=0.5,
    burst=30,
    page=180,
    quiet_bars=False,
)
