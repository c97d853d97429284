"""What an emulated exchange is made of: paths with answers, a socket's grammar, its rules; and pages as exchanges cut them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from candelabra.candles.timeframe import Timeframe
from candelabra.sources.emulator.market import Bars, EmulatedMarket, joined

__all__ = [
    "FOREVER",
    "Answer",
    "Columns",
    "Exchange",
    "Heard",
    "SocketGrammar",
    "Subscription",
    "World",
    "first_bars",
    "last_bars",
    "texts",
]

_LONGEST_ABSENCE: Final = 40_000
"""Bars of one step of the search for a page beyond a long gap."""


@dataclass(frozen=True)
class World:
    """What there is to tell: the markets by symbol, the exchange's time (ms), and whether bars without a trade are told."""

    markets: Mapping[str, EmulatedMarket]
    now_ms: int
    quiet: bool = True

    def spot(self) -> list[EmulatedMarket]:
        """Markets that are no contracts."""
        return [m for m in self.markets.values() if not m.perpetual]

    def named(self, name: str | None, spelling: Callable[[EmulatedMarket], str], *, perpetual: bool = False) -> EmulatedMarket | None:
        """The market that an exchange spells so."""
        among = self.perpetuals() if perpetual else self.spot()
        return next((m for m in among if spelling(m) == name), None)

    def perpetuals(self) -> list[EmulatedMarket]:
        """Contracts."""
        return [m for m in self.markets.values() if m.perpetual]


@dataclass(frozen=True)
class Columns:
    """Where a row of an answer keeps what (list index or key), and in which unit its time is (ms)."""

    time: int | str = 0
    open: int | str = 1
    high: int | str = 2
    low: int | str = 3
    close: int | str = 4
    volume: int | str = 5
    unit_ms: int = 1


@dataclass(frozen=True)
class Answer:
    """The ``body`` of an answer, to be written as JSON, or bytes as they are; ``rows`` is the very list inside it that holds candles, if it
    does, laid out as ``columns`` say.
    """

    body: Any
    status: int = 200
    rows: list[Any] | None = None
    columns: Columns = field(default_factory=Columns)


@dataclass(frozen=True)
class Subscription:
    """What a socket was asked for; ``channel`` is how the exchange names it."""

    market: EmulatedMarket
    timeframe: Timeframe
    channel: str


@dataclass(frozen=True)
class Heard:
    """What follows from a client's message: replies (JSON, or text as it is), channels taken and left."""

    replies: Sequence[Any] = ()
    taken: Sequence[Subscription] = ()
    left: Sequence[str] = ()


@dataclass(frozen=True)
class SocketGrammar:
    """``hear(world, path, message)``; ``tell(subscription, one bar, closed, now_ms)``; ``error``: a frame that complains;
    ``greeting``: frames sent to whoever connects.
    """

    hear: Callable[[World, str, Any], Heard]
    tell: Callable[[Subscription, Bars, bool, int], Any]
    error: Any
    greeting: Sequence[Any] = ()


FOREVER: Final = 1 << 60
"""A time (ms) after all others."""

Handler = Callable[[World, Mapping[str, str]], Answer]


@dataclass(frozen=True)
class Exchange:
    """An exchange's ways. ``routes``: path (aiohttp's spelling) to handler; ``candle_paths``: what of it gives candles (how they begin);
    ``failures``: bodies of errors by kind (internal, timeout, busy); ``quiet_bars``: whether a bar without a trade has a row;
    ``calls_per_second`` and ``burst``: what is allowed; ``ban_status``: what those get who call before they may.
    """

    name: str
    routes: Mapping[str, Handler]
    candle_paths: Sequence[str]
    failures: Mapping[str, Any]
    too_many: Any
    calls_per_second: float
    burst: int
    page: int
    quiet_bars: bool = True
    ban_status: int = 429
    newest: int | None = None
    socket: SocketGrammar | None = None


def first_bars(world: World, market: EmulatedMarket, frame: Timeframe, start_ms: int, end_ms: int, count: int) -> Bars:
    """The first ``count`` bars that open in ``[start_ms, end_ms)`` by now: what exchanges give that page forwards."""
    begin = int(frame.ceil(max(start_ms, int(frame.floor(market.listed_ms)))))
    stop = min(end_ms, world.now_ms + 1)
    step = count
    found = market.bars(frame, 0, 0)
    while begin < stop and len(found.open_time) < count:
        edge = min(int(frame.after(begin, step)), stop)
        found = joined([found, market.bars(frame, begin, edge, world.now_ms, quiet=world.quiet)])
        begin, step = int(frame.ceil(edge)), min(2 * step, _LONGEST_ABSENCE)
    return found.rows(slice(0, count))


def last_bars(world: World, market: EmulatedMarket, frame: Timeframe, end_ms: int, count: int, start_ms: int = 0) -> Bars:
    """The last ``count`` bars that open in ``[start_ms, end_ms)`` by now, the one that is forming included."""
    stop = int(frame.ceil(min(end_ms, world.now_ms + 1)))
    least = int(frame.ceil(max(start_ms, int(frame.floor(market.listed_ms)))))
    step = count
    found = market.bars(frame, 0, 0)
    while stop > least and len(found.open_time) < count:
        begin = max(int(frame.after(stop, -step)), least)
        found = joined([market.bars(frame, begin, stop, world.now_ms, quiet=world.quiet), found])
        stop, step = begin, min(2 * step, _LONGEST_ABSENCE)
    return found.rows(slice(max(0, len(found.open_time) - count), len(found.open_time)))


def texts(market: EmulatedMarket, bars: Bars) -> Iterator[tuple[int, str, str, str, str, str, int]]:
    """Each bar as exchanges write it: open time (ms), open, high, low, close, volume, and how many trades."""
    scale, form = 10**market.decimals, f"%.{market.decimals}f"
    for time, o, h, lo, c, volume, trades in zip(*(column.tolist() for column in bars), strict=True):
        yield time, form % (o / scale), form % (h / scale), form % (lo / scale), form % (c / scale), "%.3f" % (volume / 8), trades
