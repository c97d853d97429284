"""What fetching and the live loop ask of an exchange: `Source` (what a candle is) and `Stream` (when one closed).

Third parties add exchanges through the entry-point group ``candelabra.source``: an `Entry` whose target is called with a `Connection`
and gives a `Source`; a socket that ccxt does not know through ``candelabra.stream``, whose target gives a `Stream` alike. What a source
says is checked here and by whoever asks; it may fail, it may not guess.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.sources.exchanges.clock import Clock, WallClock
from candelabra.sources.provenance import Span

__all__ = ["Connection", "Notice", "Page", "Rules", "Source", "Stream"]

Absence = Literal["exchange gap", "no trade", "unknown"]


@dataclass(frozen=True)
class Rules:
    """What one exchange's candles do and do not: ``page`` rows a request at most; ``newest``: only so many of the newest rows can be had
    at all (None: all history), ``newest_of`` a timeframe where that differs; ``absent``: why a clean answer lacks a bar (unknown where
    nobody has read it up); ``socket``: whether closing candles are announced; ``volume``: whether there is one; ``calls_per_second``: what
    is allowed, requests of all symbols together; ``jumps``: a request from long ago is answered with the first candle there is;
    ``loose``: answers may hold rows outside of what was asked; ``advice``: what to tell whoever meets their limits.
    """

    page: int
    newest: int | None = None
    absent: Absence = "exchange gap"
    socket: bool = True
    funding: bool = False
    volume: bool = True
    calls_per_second: float = 1.0
    jumps: bool = False
    loose: bool = False
    advice: str = ""
    newest_of: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Connection:
    """How to reach an exchange: ``base_url`` (``http://127.0.0.1:port``) puts an emulator in the place of every host, and marks the candles
    as simulated; ``timeout_s`` in the world's seconds; ``options`` for ccxt's constructor, and ``calls_per_second`` in place of the rules'.
    Keys: none are needed, public data alone is read.
    """

    exchange: str
    base_url: str | None = None
    clock: Clock = field(default_factory=WallClock)
    timeout_s: float = 10.0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Page:
    """One clean answer: ``candles`` are closed, lawful, on the grid and inside ``answered`` (ms UTC, whole bars), the stretch that the
    answer vouches for: a bar that is not in it was not there to be had. ``answered`` begins where it was asked to and may end earlier.
    """

    candles: Candles
    answered: Span
    received_ms: int


@runtime_checkable
class Source(Protocol):
    """Candles by asking. Every method raises SourceError: ``retryable`` when asking again can help, and never gives a half-right answer."""

    name: str
    rules: Rules

    async def now_ms(self) -> int:
        """The exchange's time, by which candles close."""
        ...

    @property
    def skew_ms(self) -> int:
        """How far the exchange's time was ahead of the clock's when last heard of; 0 before."""
        ...

    async def symbols(self) -> Sequence[str]:
        """What is traded, as in BTC/USDT and BTC/USDT:USDT; UsageError elsewhere for others, with the nearest name."""
        ...

    async def page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
        """The closed candles that open in ``[start_ms, end_ms)`` (on the grid), at most ``rules.page`` of them from the start on: one
        request, checked. The candle in progress is never among them.
        """
        ...

    async def first_ms(self, symbol: str, timeframe: Timeframe, after_ms: int) -> int | None:
        """Open time of the first candle at or after ``after_ms`` that can be had; None when there is none."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(frozen=True)
class Notice:
    """A socket said something of a symbol's candles: the bar that was forming opened at ``open_ms``; heard at ``heard_ms`` (clock)."""

    symbol: str
    open_ms: int
    heard_ms: int


@runtime_checkable
class Stream(Protocol):
    """Who says *when*: a socket's notices. Its numbers are not used: rows of a forming candle change in place and may be half built."""

    def notices(self, symbols: Sequence[str], timeframe: Timeframe) -> AsyncIterator[Notice]:
        """Notices of one session of the socket; ends, or raises SourceError, when the session does. Ask again for the next session."""
        ...

    async def close(self) -> None:
        """Let go of the connection, also one that hangs."""
        ...
