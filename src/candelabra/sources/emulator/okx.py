"""OKX as ccxt asks it: newest first, ``after`` (older than) and ``before`` (newer than), perpetuals with funding, sockets of candles."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

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

__all__ = ["OKX"]

PAGE: Final = 300
NEWEST_OF_CANDLES: Final = 1440
BARS: Final = {
    "1m": "1m", "3m": "3m", "5m": "5m", "15m": "15m", "30m": "30m", "1H": "1h", "2H": "2h", "4H": "4h",
    "6Hutc": "6h", "12Hutc": "12h", "1Dutc": "1d", "1Wutc": "1w", "1Mutc": "1M",
}  # fmt: skip


def market_id(market: EmulatedMarket) -> str:
    """BTC-USDT, BTC-USDT-SWAP."""
    return f"{market.base}-{market.quote}" + ("-SWAP" if market.perpetual else "")


def _frame(name: str | None) -> Timeframe | None:
    found = BARS.get(name or "1m") or BARS.get(f"{name}utc")
    return Timeframe(found) if found else None


def _found(world: World, name: str | None) -> EmulatedMarket | None:
    return next((m for m in world.markets.values() if market_id(m) == name), None)


def _data(data: list[Any]) -> dict[str, Any]:
    return {"code": "0", "msg": "", "data": data}


def _error(code: str, text: str, status: int = 200) -> Answer:
    return Answer({"code": code, "msg": text, "data": []}, status)


def _instruments(world: World, query: Mapping[str, str]) -> Answer:
    among = {"SPOT": world.spot(), "SWAP": world.perpetuals()}.get(query.get("instType", ""), [])
    data = []
    for m in among:
        contract = {"uly": market_id(m).removesuffix("-SWAP"), "settleCcy": m.quote, "ctVal": "1", "ctMult": "1", "ctType": "linear"}
        data.append(
            {
                "instType": query["instType"], "instId": market_id(m), "instFamily": market_id(m).removesuffix("-SWAP"), "uly": "",
                "baseCcy": "" if m.perpetual else m.base, "quoteCcy": "" if m.perpetual else m.quote, "settleCcy": "", "ctVal": "",
                "listTime": str(m.listed_ms), "expTime": "", "lever": "10", "tickSz": f"{10.0**-m.decimals:.{m.decimals}f}",
                "lotSz": "0.001", "minSz": "0.001", "state": "live", "maxLmtSz": "9999",
            }
            | (contract if m.perpetual else {})
        )  # fmt: skip
    return Answer(_data(data))


def _row(market: EmulatedMarket, frame: Timeframe, now_ms: int, bar: tuple[int, str, str, str, str, str, int]) -> list[str]:
    time, o, h, lo, c, v, _ = bar
    worth = f"{float(v) * float(c):.3f}"
    # Contracts of one coin each: the sixth field counts contracts, the seventh coins; on spot the sixth coins, the seventh money.
    return [str(time), o, h, lo, c, v, v if market.perpetual else worth, worth, "1" if frame.next(time) <= now_ms else "0"]


def _candles(newest: int | None) -> Callable[[World, Mapping[str, str]], Answer]:
    def answer(world: World, query: Mapping[str, str]) -> Answer:
        market, frame = _found(world, query.get("instId")), _frame(query.get("bar"))
        if market is None:
            return _error("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")
        if frame is None:
            return _error("51000", "Parameter bar error")
        limit = min(int(query.get("limit", 100)), PAGE)
        start = int(query["before"]) + 1 if "before" in query else 0
        end = int(query.get("after", FOREVER))
        if newest is not None:
            start = max(start, int(frame.after(int(frame.floor(world.now_ms)), 1 - newest)))
        bars = last_bars(world, market, frame, end, limit, start)
        rows: list[Any] = [_row(market, frame, world.now_ms, bar) for bar in texts(market, bars)][::-1]
        return Answer(_data(rows), rows=rows, columns=Columns(volume=6 if market.perpetual else 5))

    return answer


def _rate(rate: int) -> str:
    return f"{rate / 1e8:.8f}"


def _funding(world: World, query: Mapping[str, str]) -> Answer:
    market = _found(world, query.get("instId"))
    if market is None or not market.perpetual:
        return _error("51001", "Instrument ID doesn't exist.")
    start = int(query["before"]) + 1 if "before" in query else 0
    end = min(int(query.get("after", FOREVER)), world.now_ms + 1)
    limit = min(int(query.get("limit", 400)), 400)
    times, rates = market.funding(start, end)
    data = [
        {"instType": "SWAP", "instId": market_id(market), "fundingTime": str(t), "fundingRate": _rate(r), "realizedRate": _rate(r)}
        for t, r in zip(times[-limit:].tolist(), rates[-limit:].tolist(), strict=True)
    ]  # fmt: skip
    return Answer(_data(data[::-1]))


def _time(world: World, query: Mapping[str, str]) -> Answer:
    return Answer(_data([{"ts": str(world.now_ms)}]))


def _hear(world: World, path: str, message: Any) -> Heard:
    if message == "ping":
        return Heard(("pong",))
    if not isinstance(message, dict) or message.get("op") not in ("subscribe", "unsubscribe"):
        return Heard(({"event": "error", "code": "60012", "msg": f"Illegal request: {message}"},))
    replies: list[Any] = []
    taken: list[Subscription] = []
    left: list[str] = []
    for asked in message.get("args", ()):
        name = str(asked.get("channel", ""))
        market, frame = _found(world, asked.get("instId")), _frame(name.removeprefix("candle"))
        if market is None or frame is None or not name.startswith("candle"):
            text = f"Wrong URL or channel:{name},instId:{asked.get('instId')} doesn't exist."
            replies.append({"event": "error", "code": "60018", "msg": text})
            continue
        channel = f"{name} {market_id(market)}"
        replies.append({"event": message["op"], "arg": asked, "connId": "1"})
        if message["op"] == "unsubscribe":
            left.append(channel)
        else:
            taken.append(Subscription(market, frame, channel))
    return Heard(replies, taken, left)


def _tell(subscription: Subscription, bar: Bars, closed: bool, now_ms: int) -> dict[str, Any]:
    channel, _, name = subscription.channel.partition(" ")
    until = now_ms if closed else 0
    rows = [_row(subscription.market, subscription.timeframe, until, text) for text in texts(subscription.market, bar)]
    return {"arg": {"channel": channel, "instId": name}, "data": rows}


OKX: Final = Exchange(
    name="okx",
    routes={
        "/api/v5/public/instruments": _instruments,
        "/api/v5/public/time": _time,
        "/api/v5/public/funding-rate-history": _funding,
        "/api/v5/market/candles": _candles(NEWEST_OF_CANDLES),
        "/api/v5/market/history-candles": _candles(None),
    },
    candle_paths=("/api/v5/market/",),
    failures={
        "internal": {"code": "50026", "msg": "System error. Try again later.", "data": []},
        "timeout": {"code": "50004", "msg": "API endpoint request timeout.", "data": []},
        "busy": {"code": "50013", "msg": "Systems are busy. Please try again later.", "data": []},
    },
    too_many={"code": "50011", "msg": "Too Many Requests", "data": []},
    calls_per_second=10.0,
    burst=20,
    page=PAGE,
    socket=SocketGrammar(_hear, _tell, error={"event": "error", "code": "50011", "msg": "Too Many Requests"}),
)
