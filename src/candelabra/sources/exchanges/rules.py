"""What is known of exchanges' candles: five read up in their documentation, the others as ccxt describes them."""

from __future__ import annotations

from typing import Any, Final

from candelabra.candles.timeframe import Timeframe
from candelabra.sources.exchanges.contract import Rules

__all__ = ["KNOWN", "oldest_ms", "rules_of"]

_SPARE: Final = 3
"""Bars at the old end of what can be had that are not counted on: they drop out while one asks."""
_KRAKEN: Final = (
    "Kraken answers with its newest 720 candles whatever was asked; older ones are in the archives it offers for download "
    "(`candelabra import` reads them), or take a coarser timeframe"
)

KNOWN: Final = {
    # 6,000 of weight a minute, 2 a request: 50 a second would be allowed. Less than half, for others use this address too.
    "binance": Rules(1000, funding=True, calls_per_second=20.0, jumps=True),
    # Rows of volume 0 have been seen, and rows left out where nobody traded: an absent one is neither for sure.
    "kraken": Rules(720, newest=720, absent="unknown", calls_per_second=0.8, loose=True, advice=_KRAKEN),
    # Bars without a trade are left out of answers; there is no socket for candles.
    "coinbase": Rules(300, absent="no trade", socket=False, calls_per_second=8.0),
    "coinbaseexchange": Rules(300, absent="no trade", socket=False, calls_per_second=8.0),
    "okx": Rules(300, funding=True, calls_per_second=9.0),
    "bybit": Rules(1000, funding=True, calls_per_second=10.0),
}
"""By ccxt's name. Pages of OKX, Bybit and Coinbase are the newest of what was asked, newest first: never ask for more than a page."""


def rules_of(name: str, exchange: Any) -> Rules:
    """The rules of an exchange; for one that is not known, careful ones from its ccxt object."""
    if name in KNOWN:
        return KNOWN[name]
    features = getattr(exchange, "features", None) or {}
    spot = (features.get("spot") or {}).get("fetchOHLCV") or {}
    swap = ((features.get("swap") or {}).get("linear") or {}).get("fetchOHLCV") or {}
    pages = [int(f["limit"]) for f in (spot, swap) if f.get("limit")]
    return Rules(
        page=min(pages, default=100),
        absent="unknown",
        socket=False,
        funding=bool(exchange.has.get("fetchFundingRateHistory")),
        calls_per_second=min(5.0, 1000.0 / max(1.0, float(exchange.rateLimit))),
        loose=True,
    )


def oldest_ms(rules: Rules, timeframe: Timeframe, now_ms: int, spare: int = _SPARE) -> int | None:
    """Open time of the oldest candle that can be had where only the newest ones can; None where all can.

    >>> oldest_ms(Rules(720, newest=720), Timeframe("1m"), 720 * 60_000, spare=0) == 60_000
    True
    """
    newest = rules.newest_of.get(timeframe.name, rules.newest)
    return None if newest is None else int(timeframe.after(int(timeframe.floor(now_ms)), 1 + spare - newest))
