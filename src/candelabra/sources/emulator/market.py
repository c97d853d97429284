"""A market whose candles are a pure function of their time and a seed: any stretch at once, without state, and the truth known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.errors import UsageError
from candelabra.sources.emulator.noise import draw, level, salted, share

__all__ = ["AT_LAST", "MINUTE_MS", "Bars", "EmulatedMarket", "joined"]

MINUTE_MS: Final = 60_000
LONG_AGO: Final = 1_577_836_800_000  # 2020-01-01
AT_LAST: Final = 1 << 62
"""An instant by which every candle is closed and revised."""

_TRADES: Final = 6  # in each minute, the first at its open; their prices make the candle
_QUIET_BLOCK: Final = 64
_OUTAGE_BLOCK: Final = 1024
_BLOCK_MS: Final = 28 * 86_400_000


class Bars(NamedTuple):
    """Bars as an exchange counts, all int64 ``(n,)``: ``open_time`` ms, prices in ticks, volume in eighths of a coin (sums are exact)."""

    open_time: NDArray[np.int64]
    open: NDArray[np.int64]
    high: NDArray[np.int64]
    low: NDArray[np.int64]
    close: NDArray[np.int64]
    volume: NDArray[np.int64]
    trades: NDArray[np.int64]

    def rows(self, chosen: slice | NDArray[np.bool_]) -> Bars:
        """Some of them."""
        return Bars(*(column[chosen] for column in self))


@dataclass(frozen=True)
class EmulatedMarket:
    """A symbol (``BTC/USDT``, a perpetual as ``BTC/USDT:USDT``) and how its candles come about.

    ``listed_ms``: before it there is nothing; ``price`` about which it wanders, with ``decimals``. ``outages``: share of stretches of 1,024
    minutes that hold an outage of the exchange of 3 to 40 minutes, in which no bars exist; ``gaps``: further outages, as (from, to) in
    ms. ``quiet``: share of stretches of 64 minutes that hold 1 to 6 minutes without a trade: flat bars of volume 0 on some exchanges, no
    bars on others. ``revised``: share of closed minutes whose last trade becomes known ``revised_after_ms`` after the close only.

    >>> market = EmulatedMarket("BTC/USDT", seed=7)
    >>> market.truth("1m", 1_700_000_040_000, 1_700_000_160_000).close.tolist()
    [38854.13, 38866.39]
    """

    symbol: str = "BTC/USDT"
    seed: int = 0
    listed_ms: int = LONG_AGO
    price: float = 30_000.0
    decimals: int = 2
    outages: float = 0.0
    gaps: tuple[tuple[int, int], ...] = ()
    quiet: float = 0.0
    revised: float = 0.0
    revised_after_ms: int = 90_000
    funding_hours: int = 8

    def __post_init__(self) -> None:
        pair, _, settle = self.symbol.partition(":")
        if pair.count("/") != 1 or not all(pair.split("/")) or (settle and settle != self.quote):
            raise UsageError(
                f"{self.symbol!r} cannot be emulated: write BTC/USDT, or BTC/USDT:USDT for a perpetual settled in its quote currency"
            )
        if self.price * 10**self.decimals < 1_000:
            raise UsageError(
                f"{self.symbol}: a price of {self.price:g} with {self.decimals} decimals has too few steps: give more decimals"
            )

    @cached_property
    def base(self) -> str:
        """BTC of BTC/USDT."""
        return self.symbol.partition("/")[0]

    @cached_property
    def quote(self) -> str:
        """USDT of BTC/USDT."""
        return self.symbol.partition(":")[0].partition("/")[2]

    @property
    def perpetual(self) -> bool:
        """Whether it is a perpetual contract."""
        return ":" in self.symbol

    def bars(self, timeframe_: str | Timeframe, start_ms: int, end_ms: int, now_ms: int = AT_LAST, *, quiet: bool = True) -> Bars:
        """What the exchange says at ``now_ms`` of the bars that open in ``[start_ms, end_ms)``, the one that is forming included.

        ``quiet``: whether bars without a trade are told (flat, volume 0).
        """
        frame = timeframe(timeframe_)
        first, last = int(frame.ceil(start_ms)), int(frame.ceil(min(end_ms, now_ms + 1)))
        first = max(first, int(frame.floor(self.listed_ms)))
        if not Timeframe("1m").divides_into(frame):
            raise UsageError(f"{self.symbol} {frame}: emulated bars are made of minutes: ask for 1m or coarser")
        if not Timeframe("1h").divides_into(frame):
            fine = self._told(first, last, now_ms, quiet)
            return fine if frame.milliseconds == MINUTE_MS else _coarser(fine, frame)
        # Hours that change no more are kept by the block: a page of days needs a million minutes.
        settled = max(first, min(last, now_ms - self.revised_after_ms) // _BLOCK_MS * _BLOCK_MS)
        parts = [_settled_hours(self, block, quiet) for block in range(first // _BLOCK_MS, settled // _BLOCK_MS)]
        hours = joined([*parts, _coarser(self._told(settled, last, now_ms, quiet), Timeframe("1h"))])
        return _coarser(hours.rows(hours.open_time >= first), frame)

    def truth(self, timeframe_: str | Timeframe, start_ms: int, end_ms: int, now_ms: int = AT_LAST, *, quiet: bool = True) -> Candles:
        """The right candles that open at or after ``start_ms`` and close by ``end_ms`` (and by ``now_ms``), to compare with.

        Without ``now_ms``: their last word, after every revision. ``quiet``: whether bars without a trade have a row.
        """
        frame = timeframe(timeframe_)
        start, end = int(frame.ceil(start_ms)), int(frame.floor(min(end_ms, now_ms)))
        made = self.bars(frame, start, end, now_ms, quiet=quiet)
        made = made.rows(frame.next(made.open_time) <= end)
        o, h, lo, c = (column / 10**self.decimals for column in made[1:5])
        span = (start, max(start, end))
        return Candles.of(self.symbol, frame, made.open_time, o, h, lo, c, made.volume / 8, span=span, simulated=True)

    def funding(self, start_ms: int, end_ms: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Times (ms) in ``[start_ms, end_ms)`` at which a perpetual's funding was due, and its rates in 1e-8."""
        step = self.funding_hours * 3_600_000
        due = np.arange(-(-max(start_ms, self.listed_ms) // step), -(-end_ms // step), dtype=np.int64)
        rates = (draw(salted(self.seed, self.symbol, "funding"), due) % np.uint64(40_001)).astype(np.int64) - 10_000
        return due * step, rates

    def _told(self, start_ms: int, end_ms: int, now_ms: int, quiet: bool) -> Bars:
        minutes = self._minutes(max(start_ms, self.listed_ms), end_ms, now_ms)
        return minutes if quiet else minutes.rows(minutes.trades > 0)

    def _minutes(self, start_ms: int, end_ms: int, now_ms: int) -> Bars:
        first, last = -(-start_ms // MINUTE_MS), -(-min(end_ms, now_ms + 1) // MINUTE_MS)
        if last <= first:
            return Bars(*(np.zeros(0, np.int64) for _ in range(7)))
        index = np.arange(first, last, dtype=np.int64)
        key = salted(self.seed, self.symbol)
        earliest = first - _QUIET_BLOCK - 1
        wander = level(salted(self.seed, self.base, self.quote), earliest, last - earliest)
        ticks = np.rint(wander * (self.price * 10**self.decimals)).astype(np.int64)
        quiet, held = self._quiet(key, np.arange(first - 1, last, dtype=np.int64))
        settled = ticks[held - earliest]
        open_, close = settled[:-1], settled[1:]

        trade = np.arange(_TRADES, dtype=np.int64)
        bits = draw(key, index[:, None] * 8 + trade)
        spread = np.maximum(1, open_ >> 10)[:, None]
        prices = open_[:, None] + (close - open_)[:, None] * trade // (_TRADES - 1)
        inner = slice(1, _TRADES - 1)
        prices[:, inner] += (bits[:, inner] % (2 * spread + 1).astype(np.uint64)).astype(np.int64) - spread
        amounts = 1 + (bits >> np.uint64(40)).astype(np.int64) % 2_000

        seen = np.clip((now_ms - index * MINUTE_MS) // (MINUTE_MS // _TRADES) + 1, 1, _TRADES)
        if self.revised:
            early = now_ms < (index + 1) * MINUTE_MS + self.revised_after_ms
            seen = np.where(early & (share(key ^ 3, index) < self.revised), np.minimum(seen, _TRADES - 1), seen)
        row, newest = np.arange(len(index)), seen - 1
        columns = [
            open_,
            np.maximum.accumulate(prices, axis=1)[row, newest],
            np.minimum.accumulate(prices, axis=1)[row, newest],
            prices[row, newest],
            np.cumsum(amounts, axis=1)[row, newest],
            seen,
        ]
        still = quiet[1:]
        for column in columns[1:4]:
            column[still] = open_[still]
        for column in columns[4:]:
            column[still] = 0
        return Bars(index * MINUTE_MS, *columns).rows(self._open_for_trade(key, index))

    def _quiet(self, key: int, index: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Minutes without a trade, and for each minute the last one with a trade."""
        if not self.quiet:
            return np.zeros(len(index), np.bool_), index
        block = index // _QUIET_BLOCK
        bits = draw(key ^ 1, block)
        begin = block * _QUIET_BLOCK + 1 + (bits % np.uint64(50)).astype(np.int64)
        count = 1 + (bits >> np.uint64(32)).astype(np.int64) % 6
        still = (share(key ^ 5, block) < self.quiet) & (index >= begin) & (index < begin + count)
        return still, np.where(still, begin - 1, index)

    def _open_for_trade(self, key: int, index: NDArray[np.int64]) -> NDArray[np.bool_]:
        there = index * MINUTE_MS >= self.listed_ms
        if self.outages:
            block = index // _OUTAGE_BLOCK
            bits = draw(key ^ 2, block)
            begin = block * _OUTAGE_BLOCK + (bits % np.uint64(960)).astype(np.int64)
            count = 3 + (bits >> np.uint64(32)).astype(np.int64) % 38
            there &= ~((share(key ^ 6, block) < self.outages) & (index >= begin) & (index < begin + count))
        for begin_ms, end_ms in self.gaps:
            there &= (index * MINUTE_MS < begin_ms) | (index * MINUTE_MS >= end_ms)
        return there


@lru_cache(maxsize=512)
def _settled_hours(market: EmulatedMarket, block: int, quiet: bool) -> Bars:
    """The hours of a block of four weeks, after all revisions."""
    return _coarser(market._told(block * _BLOCK_MS, (block + 1) * _BLOCK_MS, AT_LAST, quiet), Timeframe("1h"))


def joined(parts: Sequence[Bars]) -> Bars:
    """Bars one after another."""
    return Bars(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _coarser(minutes: Bars, frame: Timeframe) -> Bars:
    if not len(minutes.open_time):
        return minutes
    opens = frame.floor(minutes.open_time)
    starts = np.flatnonzero(np.append(True, opens[1:] != opens[:-1]))
    ends = np.append(starts[1:], len(opens)) - 1
    return Bars(
        opens[starts],
        minutes.open[starts],
        np.maximum.reduceat(minutes.high, starts),
        np.minimum.reduceat(minutes.low, starts),
        minutes.close[ends],
        np.add.reduceat(minutes.volume, starts),
        np.add.reduceat(minutes.trades, starts),
    )
