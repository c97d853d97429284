"""When a market's candles begin, found without paging through years of nothing: from months and days down to the bars themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from candelabra.candles.timeframe import Timeframe
from candelabra.sources.exchanges.contract import Page, Source
from candelabra.sources.exchanges.pace import Patience, persist

__all__ = ["VOTES", "first_by_pages"]

VOTES: Final = 3
"""Separate clean answers that must agree that something is not there."""


async def first_by_pages(
    source: Source, symbol: str, timeframe: Timeframe, after_ms: int, offered: Sequence[Timeframe], patience: Patience
) -> int | None:
    """Open time of the first candle at or after ``after_ms`` (on the grid), None when there is none, from pages of bounded stretches.

    ``offered``: coarser timeframes that may be asked for.
    """
    frames = sorted((f for f in offered if timeframe < f and timeframe.divides_into(f)), key=lambda f: f.milliseconds)
    now = await source.now_ms()
    at = after_ms
    while at < now:
        # The bar that is forming is in no page, so that each step down begins where the coarser bars end.
        begin, end = at, int(timeframe.floor(now))
        for frame in reversed(frames):
            first = await _first(source, symbol, frame, int(frame.floor(begin)), int(frame.floor(now)), patience)
            begin = max(begin, int(frame.floor(now)) if first is None else first)
            if first is not None:
                end = int(frame.next(first))
        found = await _first(source, symbol, timeframe, int(timeframe.ceil(begin)), max(end, begin), patience)
        if found is not None or end >= int(timeframe.floor(now)):
            return found
        at = end  # that coarse bar had its candles before the time asked for
    return None


async def _first(source: Source, symbol: str, frame: Timeframe, start_ms: int, end_ms: int, patience: Patience) -> int | None:
    """The first candle of a stretch, page by page; each page's word for absence is asked for again."""
    at = start_ms
    while at < end_ms:
        edge = min(end_ms, int(frame.after(at, source.rules.page)))
        firsts: list[int] = []
        vouched = edge
        for _ in range(VOTES):
            page: Page = await persist(lambda a=at, b=edge: source.page(symbol, frame, a, b), patience)  # type: ignore[misc]
            if len(page.candles):
                firsts.append(int(page.candles.open_time[0]))
                if firsts[-1] == at:
                    return at
            else:
                vouched = min(vouched, page.answered[1])
        if firsts:
            return min(firsts)
        if vouched <= at:
            return None
        at = vouched
    return None
