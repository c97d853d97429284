"""Binance Vision: zip archives of klines and funding rates by month and by day, each with its checksum; over HTTP and as a folder."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.errors import UsageError
from candelabra.sources.emulator.binance import INTERVALS, kline, market_id
from candelabra.sources.emulator.market import AT_LAST, EmulatedMarket
from candelabra.sources.emulator.wire import Answer, Exchange, World

__all__ = ["VISION", "write_vision"]

MICROSECONDS_FROM: Final = 1_735_689_600_000  # 2025-01-01: from then on archives of spot count in microseconds
_DAY_MS: Final = 86_400_000
_KLINES_HEADER: Final = "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
_NAME: Final = re.compile(r"(?P<symbol>[A-Z0-9]+)-(?P<what>\w+)-(?P<date>\d{4}-\d{2}(-\d{2})?)\.zip")


@lru_cache(maxsize=64)
def archive(market: EmulatedMarket, what: str, date: str) -> bytes:
    """The zip of a month (2024-01) or a day (2024-01-31): klines of an interval, or what = fundingRate."""
    start, end = _span(date)
    text = _funding(market, start, end) if what == "fundingRate" else _klines(market, Timeframe(what), start, end)
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as packed:
        # A fixed date: the same archive has the same checksum.
        packed.writestr(zipfile.ZipInfo(f"{market_id(market)}-{what}-{date}.csv", (2020, 1, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)
    return held.getvalue()


def _klines(market: EmulatedMarket, frame: Timeframe, start_ms: int, end_ms: int) -> str:
    rows = kline(market, frame, market.bars(frame, start_ms, end_ms, AT_LAST))
    if not market.perpetual and start_ms >= MICROSECONDS_FROM:
        for row in rows:
            row[0], row[6] = row[0] * 1000, row[6] * 1000 + 999
    head = [_KLINES_HEADER] if market.perpetual else []
    return "\n".join([*head, *(",".join(map(str, row)) for row in rows)]) + "\n"


def _funding(market: EmulatedMarket, start_ms: int, end_ms: int) -> str:
    times, rates = market.funding(start_ms, end_ms)
    lines = (f"{t},{market.funding_hours},{r / 1e8:.8f}" for t, r in zip(times.tolist(), rates.tolist(), strict=True))
    return "\n".join(["calc_time,funding_interval_hours,last_funding_rate", *lines]) + "\n"


def _span(date: str) -> tuple[int, int]:
    start = int(np.datetime64(date, "ms").astype(np.int64))
    return start, int(Timeframe("1d" if len(date) == 10 else "1M").next(start))


def _folder(market: EmulatedMarket, what: str, date: str) -> str:
    """Where an archive lies, from the tree's root on."""
    part = "futures/um" if market.perpetual else "spot"
    period = "daily" if len(date) == 10 else "monthly"
    group = f"fundingRate/{market_id(market)}" if what == "fundingRate" else f"klines/{market_id(market)}/{what}"
    return f"data/{part}/{period}/{group}"


def _get(world: World, query: Mapping[str, str]) -> Answer:
    folder, _, name = query["path"].rpartition("/")
    checksum = name.endswith(".CHECKSUM")
    parts = _NAME.fullmatch(name.removesuffix(".CHECKSUM"))
    if parts is not None:
        what, date = parts["what"], parts["date"]
        known = what in INTERVALS or what == "fundingRate"
        named = [m for m in world.markets.values() if known and market_id(m) == parts["symbol"]]
        market = next((m for m in named if _folder(m, what, date) == f"data/{folder}"), None)
        if market is not None and _span(date)[1] <= world.now_ms and _span(date)[1] > market.listed_ms:
            made = archive(market, what, date)
            return Answer(_checksum(made, name.removesuffix(".CHECKSUM")) if checksum else made)
    return Answer(b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchKey</Code></Error>", 404)


def _checksum(made: bytes, name: str) -> bytes:
    return f"{hashlib.sha256(made).hexdigest()}  {name}\n".encode()


def _dates(start_ms: int, end_ms: int) -> Iterator[str]:
    """Whole months, and days where a month is not whole."""
    month = Timeframe("1M")
    day = -(-start_ms // _DAY_MS) * _DAY_MS
    while day + _DAY_MS <= end_ms:
        until = int(month.next(day))
        whole = int(month.floor(day)) == day and until <= end_ms
        yield str(np.datetime64(day, "ms").astype("datetime64[M]" if whole else "datetime64[D]"))
        day = until if whole else day + _DAY_MS


def write_vision(
    folder: str | Path, market: EmulatedMarket, intervals: Sequence[str | Timeframe], start_ms: int, end_ms: int
) -> list[Path]:
    """Write the archives of ``[start_ms, end_ms)`` under ``folder`` as Binance Vision lays them out: months, and days of broken months.

    ``intervals``: timeframes of klines; ``fundingRate`` for a perpetual's funding (months only). Each ``.zip`` has its ``.zip.CHECKSUM``
    beside it. Gives the paths of the zips. Raises UsageError for an interval that Binance does not have.
    """
    written = []
    for asked in intervals:
        what = asked if asked == "fundingRate" else timeframe(asked).name
        if what not in (*INTERVALS, "fundingRate") or (what == "fundingRate" and not market.perpetual):
            raise UsageError(f"Binance Vision has no {what} archives of {market.symbol}: there are {', '.join(INTERVALS)}")
        for date in _dates(max(start_ms, market.listed_ms), end_ms):
            if what == "fundingRate" and len(date) == 10:
                continue
            made, name = archive(market, what, date), f"{market_id(market)}-{what}-{date}.zip"
            path = Path(folder) / _folder(market, what, date) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(made)
            path.with_name(name + ".CHECKSUM").write_bytes(_checksum(made, name))
            written.append(path)
    return written


VISION: Final = Exchange(
    name="binance-vision",
    routes={"/data/{path:.*}": _get},
    candle_paths=("/data/",),
    failures={kind: {"Error": {"Code": kind}} for kind in ("internal", "timeout", "busy")},
    too_many={"Error": {"Code": "SlowDown"}},
    calls_per_second=50.0,
    burst=500,
    page=44_640,
)
