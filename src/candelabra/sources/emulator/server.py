"""`Emulator`: exchanges on this machine, in a thread of their own, that answer, announce and fail as the real ones do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Self

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import MissingExtraError, SourceError, UsageError
from candelabra.sources.emulator.catalog import exchange_named
from candelabra.sources.emulator.clocks import SkewedClock
from candelabra.sources.emulator.faults import Faults
from candelabra.sources.emulator.log import Call, SocketFault
from candelabra.sources.emulator.market import AT_LAST, EmulatedMarket
from candelabra.sources.emulator.state import Pace, State
from candelabra.sources.exchanges.clock import Clock, WallClock

__all__ = ["Emulator"]


class Emulator:
    """An exchange (or several) at a free port of this machine: a context manager that serves from entering to leaving it.

    ``markets``: what is traded; ``exchange``: binance, kraken, coinbase, coinbaseexchange, okx, bybit, binance-vision, coingecko,
    cryptocompare, or several; ``clock``: by which candles form (one that begins in the past and runs fast saves waiting);
    ``clock_skew_ms``: how far the exchange's own time is ahead of it; ``clock_steps``: (time by ``clock``, skew from then on).
    ``calls_per_second`` and ``burst``: what the exchange allows, by its clock (None: about what the real one does; `math.inf`: anything);
    ``ban_s``: for how long it bans who calls before Retry-After is over; ``updates``: announcements of a candle on a socket, the one at
    its close included.

    >>> from candelabra.sources.exchanges.clock import FastClock
    >>> with Emulator([EmulatedMarket("BTC/USDT")], clock=FastClock(1_700_000_000_000)) as emulator:
    ...     emulator.url.startswith("http://127.0.0.1:")
    True

    Raises MissingExtraError on entering when aiohttp is not installed, UsageError for an exchange that cannot be emulated.
    """

    def __init__(
        self,
        markets: EmulatedMarket | Iterable[EmulatedMarket],
        *,
        exchange: str | Sequence[str] = "binance",
        clock: Clock | None = None,
        faults: Faults | None = None,
        clock_skew_ms: int = 0,
        clock_steps: Sequence[tuple[int, int]] = (),
        calls_per_second: float | None = None,
        burst: int | None = None,
        ban_s: int = 120,
        updates: int = 5,
    ) -> None:
        given = [markets] if isinstance(markets, EmulatedMarket) else list(markets)
        self.markets = {m.symbol: m for m in given}
        if len(self.markets) != len(given) or not given:
            raise UsageError("an emulator needs markets, each symbol once")
        if updates < 1:
            raise UsageError(f"updates = {updates}: a candle is announced at its close at least")
        self.exchanges = tuple(exchange_named(name) for name in ([exchange] if isinstance(exchange, str) else exchange))
        self.clock: Clock = clock if clock is not None else WallClock()
        own_clock = SkewedClock(self.clock, clock_skew_ms, clock_steps)
        pace = Pace(calls_per_second, burst, ban_s)
        self._state = State(self.markets, self.exchanges, self.clock, own_clock, pace, updates, faults or Faults())
        self._port = 0
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where it is: ``http://127.0.0.1:port``; see `point_at`."""
        if not self._port:
            raise UsageError("this emulator is not running: use it as `with Emulator(...) as emulator:`")
        return f"http://127.0.0.1:{self._port}"

    @property
    def log(self) -> tuple[Call, ...]:
        """Every request and dial so far, in order of arrival."""
        return self._state.calls()

    @property
    def socket_faults(self) -> tuple[SocketFault, ...]:
        """Every fault that a socket met so far."""
        return self._state.socket_faults()

    def restart(self, faults: Faults | None = None) -> None:
        """Another plan of faults: calls are counted from 0 again, the log is empty, nobody is banned. Connections stay."""
        self._state.restart(faults or Faults())

    def now_ms(self) -> int:
        """The exchange's time (ms UTC)."""
        return self._state.own_clock.now_ms()

    def truth(self, symbol: str, timeframe: str | Timeframe, start_ms: int, end_ms: int, now_ms: int = AT_LAST) -> Candles:
        """The right closed candles of ``[start_ms, end_ms)``, as this exchange (the first, if there are several) has them: at
        ``now_ms`` of its time, or after all revisions.
        """
        return self.markets[symbol].truth(timeframe, start_ms, end_ms, now_ms, quiet=self.exchanges[0].quiet_bars)

    def __enter__(self) -> Self:
        try:
            import aiohttp  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("aiohttp", "exchanges", "an emulated exchange") from error
        from candelabra.sources.emulator.serving import serve

        started: list[BaseException | int] = []
        ready = threading.Event()

        def report(result: BaseException | int) -> None:
            started.append(result)
            ready.set()

        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        served = serve(self._state, self._stop, report)
        self._thread = threading.Thread(target=_run, args=(self._loop, served, report), daemon=True)
        self._thread.start()
        ready.wait(timeout=30)
        if not started or isinstance(started[0], BaseException):
            raise SourceError(f"the emulator could not be started: {started[0] if started else 'no answer in 30 s'}")
        self._port = started[0]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._thread is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(timeout=10)
        self._thread, self._port = None, 0


def _run(loop: asyncio.AbstractEventLoop, serving: Any, report: Callable[[BaseException | int], None]) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(serving)
    except BaseException as error:
        report(error)
    finally:
        loop.close()
