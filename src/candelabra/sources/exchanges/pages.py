"""What an exchange answered, as a checked `Page`, or the reason why it cannot be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import VALUE_COLUMNS, Candles, format_time, law_breaks
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import SourceError
from candelabra.sources.exchanges.contract import Page

__all__ = ["Asked", "BadPage", "checked"]

_EARLIEST_MS = 1_230_768_000_000
"""2009-01-01: no candle of a coin is older; a time in seconds is."""


class BadPage(SourceError):
    """An answer that cannot be believed: ask again. ``without``: the page less its unlawful rows, when these are all that is wrong with
    it, and ``unlawful`` are their open times (ms); whoever gets the same again and again may take it and say so.
    """

    def __init__(self, message: str, *, without: Page | None = None, unlawful: tuple[int, ...] = ()) -> None:
        super().__init__(message, retryable=True)
        self.without, self.unlawful = without, unlawful


@dataclass(frozen=True)
class Asked:
    """A request for the candles of ``[start_ms, end_ms)``, of which those may be believed that had closed by ``closed_ms``.

    ``loose``: the exchange gives rows outside of what was asked, which are left aside (from strict ones they are a sign of a wrong answer).
    ``volume``: whether rows have one. ``simulated``: an emulator is asked.
    """

    exchange: str
    symbol: str
    timeframe: Timeframe
    start_ms: int
    end_ms: int
    closed_ms: int
    loose: bool = False
    volume: bool = True
    simulated: bool = False

    @property
    def end_closed_ms(self) -> int:
        """End of what can be vouched for: no bar that was forming."""
        return max(self.start_ms, min(self.end_ms, int(self.timeframe.floor(self.closed_ms))))

    def __str__(self) -> str:
        return f"{self.exchange}: {self.symbol} {self.timeframe} from {format_time(self.start_ms)}"


def checked(rows: Any, asked: Asked) -> Page:
    """``rows`` of (open time ms, open, high, low, close, volume), as they came, as a page; BadPage with the first thing that is wrong.

    The answer must be a list; each row of six numbers, its time on the grid and inside what was asked, a lawful candle; times must rise
    or fall throughout, without repeats. Candles that had not closed are left out. What lies between the last candle and the end of what
    was asked is not vouched for (the answer may have been cut), unless there is no candle at all.
    """
    if not isinstance(rows, list | tuple):
        raise BadPage(f"{asked}: the answer has no list of candles in it, but {type(rows).__name__}: ask again")
    table = _table(rows, asked)
    times = _times(table, asked)
    order = np.diff(times)
    if len(times) > 1 and (order < 0).all():
        times, table = times[::-1], table[::-1]
    elif (order <= 0).any():
        at = int(np.argmax(order <= 0))
        what = "twice" if (order == 0).any() or len(np.unique(times)) < len(times) else "out of order"
        raise BadPage(f"{asked}: the answer has {format_time(int(times[at]))} or the row after it {what}: ask again")
    inside = (times >= asked.start_ms) & (times < asked.end_ms)
    if not asked.loose and not inside.all():
        at = int(np.argmin(inside))
        raise BadPage(f"{asked}: the answer has a candle of {format_time(int(times[at]))}, which was not asked for: ask again")
    inside &= times < asked.end_closed_ms
    return _page(times[inside], table[inside], asked)


def _table(rows: Sequence[Any], asked: Asked) -> NDArray[np.float64]:
    if not rows:
        return np.zeros((0, 6))
    try:
        table = np.array(rows, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadPage(f"{asked}: the answer has rows that are not six numbers ({error}): ask again") from error
    if table.ndim != 2 or table.shape[1] != 6:
        raise BadPage(f"{asked}: the answer has rows that are not six numbers (shape {table.shape}): ask again")
    if not asked.volume:
        table[:, 5] = 0.0
    return table


def _times(table: NDArray[np.float64], asked: Asked) -> NDArray[np.int64]:
    raw = table[:, 0]
    if not np.isfinite(raw).all():
        raise BadPage(f"{asked}: row {int(np.argmin(np.isfinite(raw)))} of the answer has no time: ask again")
    possible = (raw >= _EARLIEST_MS) & (raw < 1 << 53) & (raw == np.floor(raw))
    if not possible.all():
        at = int(np.argmin(possible))
        raise BadPage(f"{asked}: row {at} of the answer has the time {raw[at]:.12g}, which is none of a candle in ms: ask again")
    times = raw.astype(np.int64)
    off = asked.timeframe.floor(times) != times
    if off.any():
        at = int(np.argmax(off))
        raise BadPage(
            f"{asked}: row {at} of the answer opens at {format_time(int(times[at]))}, where no {asked.timeframe} bar does: ask again"
        )
    return times


def _page(times: NDArray[np.int64], table: NDArray[np.float64], asked: Asked) -> Page:
    values = [np.ascontiguousarray(table[:, k]) for k in range(1, 6)]
    bad = law_breaks(*values)
    if not bad.any():
        return _made(times, values, asked, _vouched(times, asked))
    at = int(np.argmax(bad))
    numbers = " ".join(f"{name} {v[at]:g}" for name, v in zip(VALUE_COLUMNS, values, strict=True))
    # The stretch reaches as far as the answer with its unlawful rows did: they are absent, not unasked.
    rest = _made(times[~bad], [v[~bad] for v in values], asked, _vouched(times, asked))
    raise BadPage(
        f"{asked}: {format_time(int(times[at]))} is no candle: {numbers} ({int(bad.sum())} such rows): ask again",
        without=rest,
        unlawful=tuple(times[bad].tolist()),
    )


def _vouched(times: NDArray[np.int64], asked: Asked) -> tuple[int, int]:
    return asked.start_ms, int(asked.timeframe.next(times[-1])) if len(times) else asked.end_closed_ms


def _made(times: NDArray[np.int64], values: list[NDArray[np.float64]], asked: Asked, vouched: tuple[int, int]) -> Page:
    missing = np.zeros(len(times), np.int32)
    candles = Candles.sealed(asked.symbol, asked.timeframe, times, values, missing, asked.timeframe, vouched, asked.simulated)
    return Page(candles, vouched, asked.closed_ms)
