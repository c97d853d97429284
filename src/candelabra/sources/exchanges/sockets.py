"""Sockets of exchanges, by ccxt's pro part: who says when a candle closed; a client for each session, thrown away whole when it ends.

Of what comes only the newest open time is looked at: ccxt's rows change in place, may be half built after a reconnect, and carry no mark of
having closed. A frame that cannot be read ends ccxt's receiving without a word to whoever waits, so that a session must be watched from
outside and left when it is silent. One timeframe a symbol: ccxt files some exchanges' candles without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import MissingExtraError, SourceError
from candelabra.sources.exchanges.contract import Connection, Notice

__all__ = ["SocketStream"]

_KEPT_ROWS: Final = 16
_FREEING_S: Final = 5.0
_BREATH_S: Final = 0.01


class SocketStream:
    """The `Stream` of an exchange that ccxt has a candle socket of."""

    def __init__(self, connection: Connection) -> None:
        """MissingExtraError when ccxt is not installed, SourceError when it knows no socket of the exchange."""
        try:
            import ccxt.pro as pro
        except ImportError as error:
            raise MissingExtraError("ccxt", "exchanges", "the sockets of exchanges") from error
        kind = getattr(pro, connection.exchange, None)
        if kind is None or not kind().has.get("watchOHLCV"):
            raise SourceError(f"{connection.exchange} has no socket for candles: follow it by the clock (--schedule)")
        self._kind, self._connection = kind, connection
        self._client: Any = None
        self._tasks: list[asyncio.Task[None]] = []
        self._markets: tuple[Any, Any] | None = None

    async def notices(self, symbols: Sequence[str], timeframe: Timeframe) -> AsyncIterator[Notice]:
        """Notices of one session; SourceError (retryable) when it breaks."""
        await self.close()
        client = self._client = self._dialled()
        newest: dict[str, int] = {}
        told = asyncio.Event()
        try:
            await self._open(client)
            tasks = self._tasks = [asyncio.create_task(_watch(client, symbol, timeframe, newest, told)) for symbol in symbols]
            said: dict[str, int] = {}
            while True:
                waiting = asyncio.create_task(told.wait())
                done, _ = await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                told.clear()
                for symbol, open_ms in newest.items():
                    if said.get(symbol) != open_ms:
                        said[symbol] = open_ms
                        yield Notice(symbol, open_ms, self._connection.clock.now_ms())
                for task in done & set(tasks):
                    task.result()
        except (asyncio.CancelledError, GeneratorExit, SourceError):
            raise
        except Exception as error:  # ccxt lets errors of the line through as they are
            text = " ".join(str(error).split())[:160] or type(error).__name__
            raise SourceError(f"the socket of {self._connection.exchange} broke: {text}", retryable=True) from error
        finally:
            if self._client is client:
                await self.close()

    async def close(self) -> None:
        """Let go of the client, also of one that hangs; what it still has open is cut off."""
        client, self._client = self._client, None
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # who still asks a closed client would open it again
        if client is None:
            return
        with contextlib.suppress(Exception):
            await asyncio.wait_for(client.close(), _FREEING_S)
        session = getattr(client, "session", None)
        if session is not None and not session.closed:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(session.close(), _FREEING_S)
            client.session = None  # it has been let go of as far as it can be

    def _dialled(self) -> Any:
        options = {k: v for k, v in self._connection.options.items() if k != "calls_per_second"}
        values = {"newUpdates": True, "timeout": int(1000 * self._connection.timeout_s), "enableRateLimit": True, **options}
        values["options"] = {"OHLCVLimit": _KEPT_ROWS, **dict(options.get("options", {}))}
        client = self._kind(values)
        if self._connection.base_url is not None:
            from candelabra.sources.emulator import point_at

            point_at(client, self._connection.base_url)
            client.timeout_on_exit = 0
        return client

    async def _open(self, client: Any) -> None:
        """The markets, asked for once and handed to every later client."""
        if self._markets is None:
            await client.load_markets()
            self._markets = client.markets, client.currencies
        else:
            client.set_markets(*self._markets)


async def _watch(client: Any, symbol: str, timeframe: Timeframe, newest: dict[str, int], told: asyncio.Event) -> None:
    """Note the newest open time of a symbol whenever something comes."""
    while True:
        began = time.monotonic()
        rows = await client.watch_ohlcv(symbol, timeframe.name)
        times = [int(row[0]) for row in list(rows) if row and isinstance(row[0], int | float)]
        if times and max(times) > newest.get(symbol, -1):
            newest[symbol] = max(times)
            told.set()
        if time.monotonic() - began < _BREATH_S:  # a client that answers at once, again and again, must not keep others from running
            await asyncio.sleep(_BREATH_S / 10)
