"""Exchanges and aggregators by name: those read up here, all that ccxt knows, and what third parties add."""

from __future__ import annotations

from typing import Any, Final, cast

from candelabra.errors import MissingExtraError, SourceError, UsageError
from candelabra.registry import Entry, Registry, did_you_mean
from candelabra.sources.exchanges.contract import Connection, Source, Stream

__all__ = ["SOURCES", "STREAMS", "open_source", "open_stream"]

SOURCES: Final = Registry("source")
"""Sources by name; third parties add theirs through the entry-point group ``candelabra.source``.

``target`` is called with a `Connection` and gives a `Source`.
"""

STREAMS: Final = Registry("stream")
"""Who announces closing candles, by the exchange's name, where that is not ccxt; third parties add theirs through the entry-point group
``candelabra.stream``.

``target`` is called with a `Connection` and gives a `Stream`.
"""

_ROOM: Final = "candelabra.sources.exchanges"
_CONNECTION: Final = f"{_ROOM}.contract:Connection"
for _name, _summary in {
    "binance": "all history, perpetuals, funding rates",
    "bybit": "all history, perpetuals, funding rates",
    "coinbase": "all history; bars without a trade are left out",
    "coinbaseexchange": "all history; bars without a trade are left out",
    "kraken": "the newest 720 candles only",
    "okx": "all history, perpetuals, funding rates",
}.items():
    SOURCES.add(Entry(_name, _CONNECTION, f"{_ROOM}.rest:RestSource", _summary))
SOURCES.add(Entry("coingecko", _CONNECTION, f"{_ROOM}.coingecko:CoinGecko", "an average; 30m of a day, 4h of a month, without volume"))
SOURCES.add(
    Entry(
        "cryptocompare", _CONNECTION, f"{_ROOM}.cryptocompare:CryptoCompare", "an average; minutes of a week, hours and days of all years"
    )
)


def open_source(connection: Connection) -> Source:
    """The source of ``connection.exchange``; close it after use. UsageError with the nearest name for one that nobody knows,
    MissingExtraError when ccxt, which knows the exchanges, is not installed.
    """
    name = connection.exchange
    if name in SOURCES.names():
        made: Any = SOURCES.load(name)
        return cast("Source", made(connection))
    from candelabra.sources.exchanges.rest import RestSource, load_ccxt

    try:
        known = list(load_ccxt().exchanges)
    except MissingExtraError:
        known = []
    if name not in known:
        hint = did_you_mean(name, sorted({*SOURCES.names(), *known}))
        if not hint.startswith("did"):
            hint = f"there are {', '.join(SOURCES.names())}, and the others that ccxt knows"
        raise UsageError(f"there is no exchange {name!r}: {hint}")
    return RestSource(connection)


def open_stream(connection: Connection, source: Source) -> Stream | None:
    """Who announces closing candles of ``source``; None where nobody does, and it is followed by the clock. Close it after use."""
    if connection.exchange in STREAMS.names():
        made: Any = STREAMS.load(connection.exchange)
        return cast("Stream", made(connection))
    if not source.rules.socket:
        return None
    from candelabra.sources.exchanges.sockets import SocketStream

    try:
        return SocketStream(connection)
    except SourceError:  # ccxt knows no socket of it
        return None
