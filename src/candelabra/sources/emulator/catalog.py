"""The exchanges that can be emulated, by name."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Final

from candelabra.errors import UsageError
from candelabra.sources.emulator.binance import BINANCE
from candelabra.sources.emulator.bybit import BYBIT
from candelabra.sources.emulator.coinbase import COINBASE, COINBASE_EXCHANGE
from candelabra.sources.emulator.coingecko import COINGECKO
from candelabra.sources.emulator.cryptocompare import CRYPTOCOMPARE
from candelabra.sources.emulator.kraken import KRAKEN
from candelabra.sources.emulator.okx import OKX
from candelabra.sources.emulator.vision import VISION
from candelabra.sources.emulator.wire import Exchange

__all__ = ["EXCHANGES", "exchange_named"]

EXCHANGES: Final = {e.name: e for e in (BINANCE, VISION, BYBIT, COINBASE, COINBASE_EXCHANGE, COINGECKO, CRYPTOCOMPARE, KRAKEN, OKX)}


def exchange_named(name: str) -> Exchange:
    """Raises UsageError for one that is not known, with the nearest name."""
    if name not in EXCHANGES:
        near = get_close_matches(name, EXCHANGES, 1)
        raise UsageError(f"{name!r} cannot be emulated: " + (f"did you mean {near[0]}?" if near else f"there are {', '.join(EXCHANGES)}"))
    return EXCHANGES[name]
