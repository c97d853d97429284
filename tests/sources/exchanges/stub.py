"""A source in memory whose candles are a function of their time, and which misbehaves by seed as far as a `Source` may."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import SourceError
from candelabra.sources.exchanges.contract import Page, Rules
from candelabra.sources.exchanges.pages import Asked, BadPage, checked

MINUTE = 60_000
START = 1_700_000_040_000 // MINUTE * MINUTE


def rows(frame: Timeframe, start: int, end: int, holes: Sequence[tuple[int, int]] = ()) -> list[list[float]]:
    """Candles of a made-up market, which depend on their time alone."""
    first, last = int(frame.ceil(start)), int(frame.ceil(end))
    made, at = [], first
    while at < last:
        if not any(a <= at < b for a, b in holes):
            k = int(frame.index(at)) % 1000
            made.append([at, 100.0 + k, 103.0 + k, 99.0 + k, 101.0 + k, float(1 + k % 7)])
        at = int(frame.next(at))
    return made


class StubSource:
    """``faults``: share of answers that are wrong; ``listed``: the first candle; ``holes``: stretches that are absent in truth."""

    name, label = "stub", "stub"
    skew_ms = 0

    def __init__(
        self,
        now: int,
        listed: int = START,
        holes: Sequence[tuple[int, int]] = (),
        faults: float = 0.0,
        seed: int = 0,
        rules: Rules | None = None,
    ) -> None:
        self.rules = rules or Rules(50, jumps=True)
        self.now, self.listed, self.holes, self.faults = now, listed, list(holes), faults
        self.random = random.Random(seed)
        self.asked: list[tuple[int, int]] = []
        self.changed: dict[int, float] = {}

    async def now_ms(self) -> int:
        return self.now

    async def symbols(self) -> Sequence[str]:
        return ["BTC/USDT"]

    async def page(self, symbol: str, timeframe: Timeframe, start_ms: int, end_ms: int) -> Page:
        self.asked.append((start_ms, end_ms))
        end = min(end_ms, int(timeframe.after(start_ms, self.rules.page)))
        made = rows(timeframe, max(start_ms, int(timeframe.floor(self.listed))), min(end, self.now), self.holes)
        for row in made:
            row[5] = self.changed.get(int(row[0]), row[5])
        if self.random.random() < self.faults:
            made = self._damaged(made, start_ms)
        return checked(made, Asked(self.name, symbol, timeframe, start_ms, end, self.now))

    def _damaged(self, made: list[list[float]], start: int) -> list[list[float]]:
        what = self.random.randrange(9)
        if what == 0:
            raise SourceError("the line broke", retryable=True)
        if what == 1:
            raise BadPage("no list")
        if what == 2 or len(made) < 3:
            return []
        at = self.random.randrange(1, len(made) - 1)
        damaged = [list(row) for row in made]
        if what == 3:
            del damaged[at]
        elif what == 4:
            damaged = damaged[:at]
        elif what == 5:
            damaged[at] = damaged[at - 1]
        elif what == 6:
            damaged[at][4] = float("nan")
        elif what == 7:
            self.random.shuffle(damaged)
        else:
            damaged[at][0] /= 1000
        return damaged

    async def first_ms(self, symbol: str, timeframe: Timeframe, after_ms: int) -> int | None:
        made = rows(timeframe, max(after_ms, self.listed), self.now, self.holes)
        return int(made[0][0]) if made else None

    async def close(self) -> None: ...


def truth(source: StubSource, frame: Timeframe, start: int, end: int) -> np.ndarray:
    return np.array(rows(frame, max(start, source.listed), end, source.holes)).reshape(-1, 6)


def table(candles: Candles) -> np.ndarray:
    return np.column_stack([candles.open_time.astype(float), *candles.values()])
