"""CryptoCompare: history by minute, hour, day; one row more than asked for, zeros where there was nothing, errors with status 200."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from candelabra.candles.timeframe import Timeframe
from candelabra.sources.emulator.market import EmulatedMarket
from candelabra.sources.emulator.wire import Answer, Columns, Exchange, World

__all__ = ["CRYPTOCOMPARE"]

MOST: Final = 2000
_KEPT_MINUTES_MS: Final = 7 * 86_400_000
_COLUMNS: Final = Columns("time", "open", "high", "low", "close", "volumefrom", unit_ms=1000)


def _failure(text: str, kind: int = 2) -> dict[str, Any]:
    return {"Response": "Error", "Message": text, "HasWarning": False, "Type": kind, "RateLimit": {}, "Data": {}}


def _found(world: World, query: Mapping[str, str]) -> EmulatedMarket | None:
    base, quote = query.get("fsym"), query.get("tsym", "")
    return next((m for q in (quote, f"{quote}T") for m in world.spot() if (m.base, m.quote) == (base, q)), None)


def _history(unit: str) -> Callable[[World, Mapping[str, str]], Answer]:
    def answer(world: World, query: Mapping[str, str]) -> Answer:
        market = _found(world, query)
        if market is None:
            return Answer(_failure(f"There is no data for the symbol {query.get('fsym')} ."))
        limit = int(query.get("limit", 168))
        if not 1 <= limit <= MOST:
            return Answer(_failure(f"limit is larger than max value. limit is greater than {MOST}."))
        frame = Timeframe(f"{int(query.get('aggregate', 1))}{unit}")
        last = int(frame.floor(min(int(query.get("toTs", 1 << 50)) * 1000, world.now_ms)))
        first = int(frame.after(last, -limit))
        if unit == "m" and last < world.now_ms - _KEPT_MINUTES_MS:
            return Answer(_failure("histominute data is only available for the last 7 days"))
        bars = market.bars(frame, first, last + 1, world.now_ms)
        told = {t: row for t, *row in zip(*(column.tolist() for column in bars[:6]), strict=True)}
        scale = 10**market.decimals
        rows: list[Any] = []
        for time in range(first, last + 1, frame.milliseconds):
            o, h, lo, c, v = told.get(time, (0, 0, 0, 0, 0))
            rows.append(
                {
                    "time": time // 1000, "high": h / scale, "low": lo / scale, "open": o / scale, "volumefrom": v / 8,
                    "volumeto": round(v / 8 * c / scale, 2), "close": c / scale, "conversionType": "direct", "conversionSymbol": "",
                }
            )  # fmt: skip
        data = {"Aggregated": frame.count > 1, "TimeFrom": first // 1000, "TimeTo": last // 1000, "Data": rows}
        body = {"Response": "Success", "Message": "", "HasWarning": False, "Type": 100, "RateLimit": {}, "Data": data}
        return Answer(body, rows=rows, columns=_COLUMNS)

    return answer


CRYPTOCOMPARE: Final = Exchange(
    name="cryptocompare",
    routes={
        "/data/v2/histominute": _history("m"),
        "/data/v2/histohour": _history("h"),
        "/data/v2/histoday": _history("d"),
    },
    candle_paths=("/data/v2/histo",),
    failures={
        "internal": _failure("Internal error", 1),
        "timeout": _failure("Request timed out", 1),
        "busy": _failure("Service busy", 1),
    },
    too_many=_failure("You are over your rate limit please upgrade your account!", 99),
    calls_per_second=5.0,
    burst=50,
    page=MOST,
)
