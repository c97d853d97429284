"""`check_source`: what a source of candles promises, checked on one market of it."""

from __future__ import annotations

import asyncio

import numpy as np

from candelabra.candles.frame import law_breaks
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.errors import CandelabraError
from candelabra.sources.exchanges.contract import Page, Source
from candelabra.testing.broken import require

__all__ = ["check_source"]


def check_source(source: Source, symbol: str, timeframe_: str | Timeframe, *, unknown: str = "NOSUCH/NOTHING") -> None:
    """LawBroken unless a source keeps its promises on the newest bars of a market; it is closed afterwards.

    - a page holds lawful, closed candles of what was asked for, at most ``rules.page`` of them, never the one in progress;
    - ``answered`` begins where it was asked to and holds every candle of the page;
    - two pages that overlap agree, and the future is empty;
    - ``first_ms`` is a candle that a page then has;
    - a symbol that is not there is one of candelabra's errors and not a page. ``unknown``: one that certainly is not.
    """
    asyncio.run(_check(source, symbol, timeframe(timeframe_), unknown))


async def _check(source: Source, symbol: str, frame: Timeframe, unknown: str) -> None:
    name = source.name
    try:
        rules = source.rules
        require(rules.page > 0 and rules.calls_per_second > 0, f"{name}: rules {rules} allow nothing")
        newest = int(frame.floor(await source.now_ms()))
        bars = min(rules.page, rules.newest_of.get(frame.name, rules.newest or rules.page)) - 5
        start = int(frame.after(newest, -max(2, bars)))
        whole = await source.page(symbol, frame, start, int(frame.after(newest, 3)))
        _check_page(name, whole, symbol, frame, start, int(frame.floor(await source.now_ms())), rules.page)
        middle = int(frame.after(start, max(1, bars // 2)))
        half = await source.page(symbol, frame, middle, newest)
        _check_page(name, half, symbol, frame, middle, newest, rules.page)
        end = min(whole.answered[1], half.answered[1])
        a, b = whole.candles.between(middle, end), half.candles.between(middle, end)
        same = np.array_equal(a.open_time, b.open_time) and all(map(np.array_equal, a.values(), b.values()))
        require(same, f"{name}: two pages do not agree on {symbol} {frame} from {middle} to {end} (ms)")
        later = int(frame.after(newest, 1000))
        ahead = await source.page(symbol, frame, later, int(frame.after(later, 10)))
        require(not len(ahead.candles), f"{name}: candles of the future: {ahead.candles!r}")
        require(ahead.answered[1] <= later, f"{name}: a page vouches for bars that have not closed: {ahead.answered}")
        first = await source.first_ms(symbol, frame, start)
        require(first is not None and first >= start, f"{name}: first_ms gave {first} for candles from {start} on")
        require(
            not len(whole.candles) or first == whole.candles.open_time[0], f"{name}: first_ms gave {first}, and a page begins otherwise"
        )
        try:
            page = await source.page(unknown, frame, start, newest)
        except CandelabraError:
            return
        require(False, f"{name}: {unknown} gave a page of {len(page.candles)} candles, and should be an error")
    finally:
        await source.close()


def _check_page(name: str, page: Page, symbol: str, frame: Timeframe, start: int, closed: int, most: int) -> None:
    candles, (begin, end) = page.candles, page.answered
    place = (candles.symbol, candles.timeframe, candles.source) == (symbol, frame, frame)
    require(place, f"{name}: asked for {symbol} {frame}, got {candles!r}")
    require(len(candles) <= most, f"{name}: a page of {len(candles)} candles, and rules.page is {most}")
    require(begin == start and end <= closed, f"{name}: answered {begin} .. {end} (ms), asked from {start}, closed by {closed}")
    require(not law_breaks(*candles.values()).any(), f"{name}: a page has rows that are no candles")
    times = candles.open_time
    require(bool((np.diff(times) > 0).all() and (frame.floor(times) == times).all()), f"{name}: times do not rise on the grid of {frame}")
    inside = not len(times) or (times[0] >= begin and int(frame.next(times[-1])) <= end)
    require(bool(inside), f"{name}: answered {begin} .. {end} does not hold the page's candles")
