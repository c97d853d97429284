"""`plant`: anomalies put into candles with their truth: pumps, flash crashes, fat fingers, stuck feeds, volume that bursts or is lost.

Sizes are in units of the usual move nearby (the median absolute log return of the 168 bars before, as a standard deviation). Every bar
outside an event keeps its values to the bit, and what is made is valid candles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.errors import UsageError
from candelabra.features.kernels import window_median
from candelabra.registry import did_you_mean

__all__ = ["KINDS", "Planted", "plant"]

Array: TypeAlias = NDArray[np.float64]
_LONGEST: Final = 14
_WINDOW: Final = 168
_TO_SD: Final = 1.4826


@dataclass(frozen=True, eq=False)
class Planted:
    """Candles with anomalies. Event ``i`` is of ``kinds[i]`` and spans rows ``first[i] : stop[i]``."""

    candles: Candles
    kinds: tuple[str, ...]
    first: NDArray[np.int64]
    stop: NDArray[np.int64]

    def mask(self, *kinds: str) -> NDArray[np.bool_]:
        """Rows ``(n,)`` inside an event of one of ``kinds`` (of any when none is given)."""
        edges = np.zeros(len(self.candles) + 1, np.int64)
        chosen = np.array([not kinds or kind in kinds for kind in self.kinds], np.bool_)
        np.add.at(edges, self.first[chosen], 1)
        np.add.at(edges, self.stop[chosen], -1)
        return np.cumsum(edges)[:-1] > 0

    def echo(self, bars: int) -> NDArray[np.bool_]:
        """Rows ``(n,)`` that follow an event within ``bars`` bars and are in none: neither planted nor clean."""
        edges = np.zeros(len(self.candles) + 1, np.int64)
        np.add.at(edges, self.stop, 1)
        np.add.at(edges, np.minimum(self.stop + bars, len(self.candles)), -1)
        return (np.cumsum(edges)[:-1] > 0) & ~self.mask()


@dataclass(frozen=True, eq=False)
class _Stretch:
    """The bars of an event, changed in place; ``sd``: the usual move nearby; ``before``: the values of the bar before."""

    random: np.random.Generator
    sd: float
    open: Array
    high: Array
    low: Array
    close: Array
    volume: Array
    before: tuple[float, ...]

    def move(self, path: Array) -> None:
        """Shift the log closes by ``path`` (0 at its end), the opens by the step before it, and the extremes with both."""
        back = np.concatenate([[0.0], path[:-1]])
        self.open[:] *= np.exp(back)
        self.close[:] *= np.exp(path)
        self.high[:] *= np.exp(np.maximum(back, path))
        self.low[:] *= np.exp(np.minimum(back, path))


def _pump(s: _Stretch) -> None:
    """Up in 3 to 6 bars by 8 to 16 usual moves with 3 to 8 times the volume, down again in as many."""
    half = len(s.close) // 2
    top = s.random.uniform(8, 16) * s.sd
    up = np.cumsum(s.random.dirichlet(np.full(half, 4.0)))
    down = np.cumsum(s.random.dirichlet(np.full(len(s.close) - half, 4.0)))
    path = top * np.concatenate([up, 1 - down])
    path[-1] = 0.0
    s.move(path)
    s.volume[:] *= s.random.uniform(3, 8) * s.random.uniform(0.7, 1.3, len(s.close))


def _flash_crash(s: _Stretch) -> None:
    """Down by 6 to 12 usual moves in a bar, most of it still there at its close; back in 1 to 3 bars; 2 to 6 times the volume."""
    depth = s.random.uniform(6, 12) * s.sd
    path = -depth * s.random.uniform(0.7, 1.0) * np.linspace(1, 0, len(s.close))
    s.move(path)
    s.low[0] = min(s.low[0], s.open[0] * np.exp(-depth))
    s.volume[:] *= s.random.uniform(2, 6)


def _fat_finger(s: _Stretch) -> None:
    """A high or low 8 to 20 usual moves away within a bar; all else as it was."""
    wick = s.random.uniform(8, 20) * s.sd
    if s.random.random() < 0.5:
        s.high[0] = max(s.high[0], max(s.open[0], s.close[0]) * np.exp(wick))
    else:
        s.low[0] = min(s.low[0], min(s.open[0], s.close[0]) * np.exp(-wick))


def _stuck_feed(s: _Stretch) -> None:
    """For 4 to 12 bars the candle before again, or its close without a move, with its volume or with none."""
    open_, high, low, close, volume = s.before
    form = s.random.integers(3)
    for column, value in zip((s.open, s.high, s.low, s.close), (open_, high, low, close), strict=True):
        column[:] = value if form == 0 else close
    s.volume[:] = 0.0 if form == 2 else volume


def _volume_burst(s: _Stretch) -> None:
    """For 1 or 2 bars 8 to 25 times the volume; prices as they were."""
    s.volume[:] *= s.random.uniform(8, 25)


def _missing_volume(s: _Stretch) -> None:
    """For 1 to 6 bars at most a fiftieth of the volume; prices as they were."""
    s.volume[:] *= s.random.uniform(0, 0.02, len(s.volume))


_MAKERS: Final[dict[str, tuple[Callable[[_Stretch], None], int, int]]] = {
    "pump": (_pump, 6, 12),
    "flash crash": (_flash_crash, 2, 4),
    "fat finger": (_fat_finger, 1, 1),
    "stuck feed": (_stuck_feed, 4, 12),
    "volume burst": (_volume_burst, 1, 2),
    "missing volume": (_missing_volume, 1, 6),
}
KINDS: Final = tuple(_MAKERS)
"""What can be planted."""


def plant(
    candles: Candles, kinds: Sequence[str] = KINDS, *, every: int = 200, size: float = 1.0, since: int = _WINDOW, seed: int = 0
) -> Planted:
    """The candles with an event about ``every`` bars, kinds in turn; the same seed plants the same.

    ``size`` scales all price moves of pumps, crashes and fat fingers: at 1 they are as large as the makers here say. Nothing is planted
    before row ``since``, nor in the first 168 bars. Raises UsageError for unknown kinds, events that would touch, or too few bars for one.

    >>> from candelabra.candles import simulate
    >>> planted = plant(simulate(bars=1_000, seed=1).candles, ["flash crash", "stuck feed"], seed=1)
    >>> planted.kinds, int(planted.mask("flash crash").sum())
    (('flash crash', 'stuck feed', 'flash crash', 'stuck feed'), 6)
    """
    for kind in kinds:
        if kind not in _MAKERS:
            raise UsageError(f"unknown kind of anomaly {kind!r}: {did_you_mean(str(kind), list(KINDS))}")
    if not kinds or every < 2 * _LONGEST or size <= 0:
        raise UsageError(
            f"planting needs a kind, {2 * _LONGEST} or more bars from event to event and a size above 0, got {len(kinds)} kinds, every "
            f"{every}, size {size:g}"
        )
    start = max(since, _WINDOW)
    count = (len(candles) - start) // every
    if count < 1:
        raise UsageError(
            f"{candles.symbol} {candles.timeframe} has {len(candles)} bars: an event every {every} bars after the first {start} needs "
            f"{start + every}: give more candles or a smaller `every`"
        )
    random = np.random.default_rng([seed, 41])
    columns = [np.array(c) for c in candles.values()]
    move = np.diff(np.log(candles.close), prepend=np.log(candles.close[:1]))
    sd = _TO_SD * window_median(np.abs(move), _WINDOW)
    chosen = tuple(kinds[i % len(kinds)] for i in range(count))
    first, stop = np.empty(count, np.int64), np.empty(count, np.int64)
    for i, kind in enumerate(chosen):
        make, shortest, longest = _MAKERS[kind]
        begin = start + i * every + int(random.integers(0, every - _LONGEST))
        rows = slice(begin, begin + int(random.integers(shortest, longest + 1)))
        before = tuple(float(c[begin - 1]) for c in columns)
        o, h, lo, c, v = (column[rows] for column in columns)
        make(_Stretch(random, size * max(float(sd[begin - 1]), 1e-5), o, h, lo, c, v, before))
        # A product rounds: the extremes are set once more.
        columns[1][rows] = np.max([c[rows] for c in columns[:4]], axis=0)
        columns[2][rows] = np.min([c[rows] for c in columns[:4]], axis=0)
        first[i], stop[i] = begin, rows.stop
    open_, high, low, close, volume = columns
    made = Candles.of(
        candles.symbol,
        candles.timeframe,
        candles.open_time,
        open_,
        high,
        low,
        close,
        volume,
        candles.missing,
        source=candles.source,
        span=candles.span,
        simulated=candles.simulated,
    )
    return Planted(made, chosen, first, stop)
