"""`Forming`: coarser bars made of finer candles as these close, at a cost that does not grow with history."""

from __future__ import annotations

import numpy as np

from candelabra.candles.frame import Candles, format_time
from candelabra.candles.resample import resample
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import DataError

__all__ = ["Forming"]


class Forming:
    """The bar of ``frame`` that is still forming, of one symbol; pushing gives what `resample` gives of the whole history, to the bit."""

    def __init__(self, frame: Timeframe) -> None:
        self.frame = frame
        self.held: Candles | None = None
        """Candles of the bar that has not closed; the end of their span is how far this has heard. None before the first."""

    def push(self, fine: Candles) -> Candles:
        """Hear of candles that have closed: the bars of ``frame`` that closed with them, possibly none.

        Candles without a row but with a span say that time has passed in which nothing traded. DataError unless they come after those
        before, of one symbol and timeframe.
        """
        held = self.held = fine if self.held is None else _joined(self.held, fine)
        if held.timeframe == self.frame:  # each is closed already
            self.held = _spanning(held.rows(slice(len(held), None)), held.span)
            return held
        start, end = held.span
        if not len(held) or int(self.frame.next(self.frame.floor(int(held.open_time[0])))) > end:
            empty = held.rows(slice(0, 0))
            columns = (empty.open_time, list(empty.values()), empty.missing)
            return Candles.sealed(held.symbol, self.frame, *columns, held.source, held.span, held.simulated)
        closed = resample(held, self.frame)
        border = int(self.frame.floor(end))
        rest = held.rows(slice(int(np.searchsorted(held.open_time, border)), None))
        self.held = _spanning(rest, (max(start, border), end))
        return closed


def _joined(before: Candles, later: Candles) -> Candles:
    if (later.symbol, later.timeframe) != (before.symbol, before.timeframe):
        raise DataError(
            f"{later.symbol} {later.timeframe} candles were pushed to a stream of {before.symbol} {before.timeframe}: open one for each"
        )
    if len(later) and later.open_time[0] < later.timeframe.floor(before.span[1]):
        raise DataError(
            f"{later.symbol} {later.timeframe}: the bar of {format_time(int(later.open_time[0]))} does not come after what was heard up to "
            f"{format_time(before.span[1])}: push each closed candle once, in order"
        )
    span = (before.span[0], max(before.span[1], later.span[1]))
    if not len(later):
        return _spanning(before, span)
    if not len(before):
        return _spanning(later, span)
    times, missing = np.concatenate([before.open_time, later.open_time]), np.concatenate([before.missing, later.missing])
    values = [np.concatenate([a, b]) for a, b in zip(before.values(), later.values(), strict=True)]
    return Candles.sealed(before.symbol, before.timeframe, times, values, missing, before.source, span, before.simulated or later.simulated)


def _spanning(candles: Candles, span: tuple[int, int]) -> Candles:
    c = candles
    return Candles.sealed(c.symbol, c.timeframe, c.open_time, list(c.values()), c.missing, c.source, span, c.simulated)
