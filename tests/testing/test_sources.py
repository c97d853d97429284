"""`check_source` passes the sources there are, and sees what a bad one does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from candelabra.candles.timeframe import Timeframe
from candelabra.sources.emulator import EmulatedMarket, Emulator
from candelabra.sources.exchanges.clock import FastClock
from candelabra.sources.exchanges.contract import Connection, Page
from candelabra.sources.exchanges.pages import Asked, checked
from candelabra.sources.exchanges.registry import open_source
from candelabra.testing import LawBroken, check_source

pytest.importorskip("ccxt", reason="ccxt is not installed: pip install 'candelabra[exchanges]'")

NOW = 1_700_000_005_000


@pytest.mark.parametrize(
    ("name", "symbol", "frame"), [("binance", "BTC/USD", "1m"), ("kraken", "BTC/USD", "1h"), ("cryptocompare", "BTC/USD", "1h")]
)
def test_the_sources_there_are_keep_their_promises(name: str, symbol: str, frame: str) -> None:
    with Emulator(EmulatedMarket(symbol), exchange=name, clock=FastClock(NOW, rate=1.0), calls_per_second=math.inf) as emulator:
        check_source(open_source(Connection(name, emulator.url, options={"calls_per_second": 500.0})), symbol, frame)


class Forming:
    """A source that gives the candle in progress, and vouches for it."""

    def __init__(self, source: Any) -> None:
        self._source = source

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    async def page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
        page = await self._source.page(symbol, timeframe, start_ms, end_ms)
        if not len(page.candles):
            return page
        rows = np.column_stack([page.candles.open_time, *page.candles.values()]).tolist()
        rows.append([page.answered[1], *rows[-1][1:]])
        return checked(rows, Asked("x", symbol, timeframe, start_ms, page.answered[1] + 60_000, 1 << 50))


def test_a_candle_in_progress_is_seen() -> None:
    with Emulator(EmulatedMarket("BTC/USDT"), clock=FastClock(NOW, rate=1.0), calls_per_second=math.inf) as emulator:
        source = open_source(Connection("binance", emulator.url, options={"calls_per_second": 500.0}))
        with pytest.raises(LawBroken, match=r"answered .* closed by"):
            check_source(Forming(source), "BTC/USDT", "1m")  # type: ignore[arg-type]
