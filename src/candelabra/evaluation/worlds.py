"""What an audit changes: candles by timeframe (`Market`) or named arrays over time (`Arrays`), and the ways to change what comes later.

Every way leaves what was known by a time as it was, to the bit, and gives lawful candles (but for ``nan``, which no `Candles` from outside
can hold; it is for functions that take frames).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import UsageError

__all__ = ["RESHAPING", "WAYS", "Arrays", "Market", "World", "perturbed_after", "shocked"]

Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

WAYS: Final = ("values", "constant", "shuffle", "mirror", "revise", "nan", "drop", "cut", "append")
"""``values``: a jump and noise in price, range and volume; ``constant``: standing still, nothing traded; ``shuffle``: the later bars in
another order; ``mirror``: falls for rises; ``revise``: one later bar, not the newest, corrected; ``nan``: unknown; ``drop``: a fifth of the
later bars absent; ``cut``: all of them absent; ``append``: bars added behind the newest."""
RESHAPING: Final = ("drop", "cut", "append")
"""Ways after which there are other rows: arithmetic of another shape may round otherwise."""


class World(Protocol):
    """Something known bit by bit over time, which can be changed from a moment on."""

    @property
    def times(self) -> NDArray[np.int64]:
        """When each bar of the finest part became known (ms, rising)."""
        ...

    @property
    def unit(self) -> str:
        """The name of a bar of the finest part, in which distances are told."""
        ...

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of what can be changed by itself: timeframes, arrays."""
        ...

    @property
    def fingerprint(self) -> str:
        """sha256 of all values."""
        ...

    def changed(self, way: str, after_ms: int, *, until_ms: int | None = None, part: str | None = None, seed: int = 0) -> World:
        """The same world with the bars known after ``after_ms`` (and by ``until_ms``) changed, of one part or of all."""
        ...

    def shocked(self, at_ms: int, size: float, part: str | None = None) -> World:
        """The bars that become known at ``at_ms`` moved by ``size`` (a share), of one part or of all that have one."""
        ...

    def since(self, bars: int, upto_ms: int) -> World:
        """The ``bars`` bars of the finest part up to a time, and what other parts know in that stretch."""
        ...


@dataclass(frozen=True, eq=False)
class Market:
    """Candles of one symbol by timeframe name."""

    candles: Mapping[str, Candles]

    def __post_init__(self) -> None:
        if not self.candles or not any(len(c) for c in self.candles.values()):
            raise UsageError("an audit needs candles: give at least one series that has bars")

    @classmethod
    def of(cls, candles: Candles | Mapping[str, Candles] | list[Candles] | tuple[Candles, ...]) -> Market:
        """A market of one series, several, or several by name."""
        if isinstance(candles, Candles):
            return cls({candles.timeframe.name: candles})
        if isinstance(candles, Mapping):
            return cls(dict(candles))
        return cls({c.timeframe.name: c for c in candles})

    @cached_property
    def finest(self) -> Candles:
        """The series of the shortest timeframe."""
        return min(self.candles.values(), key=lambda c: c.timeframe)

    @property
    def times(self) -> NDArray[np.int64]:
        """Close times of the finest bars."""
        return self.finest.close_time

    @property
    def unit(self) -> str:
        """The finest timeframe's name."""
        return self.finest.timeframe.name

    @property
    def parts(self) -> tuple[str, ...]:
        """Timeframes, shortest first."""
        return tuple(sorted(self.candles, key=lambda name: self.candles[name].timeframe))

    @property
    def fingerprint(self) -> str:
        """sha256 over the candles' own fingerprints."""
        return hashlib.sha256("".join(self.candles[p].fingerprint for p in self.parts).encode()).hexdigest()

    def changed(self, way: str, after_ms: int, *, until_ms: int | None = None, part: str | None = None, seed: int = 0) -> Market:
        """See `World`."""
        return Market({n: _changed(c, way, after_ms, until_ms, seed) if part in (None, n) else c for n, c in self.candles.items()})

    def shocked(self, at_ms: int, size: float, part: str | None = None) -> Market:
        """See `World`."""
        made = dict(self.candles)
        for name, c in self.candles.items():
            row = int(np.searchsorted(c.close_time, at_ms))
            if part in (None, name) and row < len(c) and c.close_time[row] == at_ms:
                made[name] = shocked(c, size, row)
        return Market(made)

    def since(self, bars: int, upto_ms: int) -> Market:
        """See `World`."""
        last = int(np.searchsorted(self.times, upto_ms, "right"))
        start = int(self.finest.open_time[max(0, last - bars)])
        return Market({n: c.between(start_ms=start, end_ms=upto_ms) for n, c in self.candles.items()})


@dataclass(frozen=True, eq=False)
class Arrays:
    """Arrays ``(n, ...)`` by name, row *i* known at ``time_ms[i]``: what a decision rule reads."""

    time_ms: NDArray[np.int64]
    values: Mapping[str, NDArray[Any]]
    unit: str = "row"

    @property
    def times(self) -> NDArray[np.int64]:
        """When each row became known."""
        return self.time_ms

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the arrays."""
        return tuple(self.values)

    @property
    def fingerprint(self) -> str:
        """sha256 over times and values."""
        digest = hashlib.sha256(np.ascontiguousarray(self.time_ms).tobytes())
        for name, array in self.values.items():
            digest.update(name.encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def changed(self, way: str, after_ms: int, *, until_ms: int | None = None, part: str | None = None, seed: int = 0) -> Arrays:
        """See `World`."""
        later = _later(self.time_ms, after_ms, until_ms)
        random = np.random.default_rng(seed)
        if way == "append":
            step = int(np.median(np.diff(self.time_ms))) if len(self.time_ms) > 1 else 1
            more = min(16, len(self.time_ms))
            times = np.concatenate([self.time_ms, self.time_ms[-1] + step * np.arange(1, more + 1)])
            return Arrays(times, {n: np.concatenate([a, a[:more]]) for n, a in self.values.items()}, self.unit)
        if way in RESHAPING:
            keep = ~later | ((random.uniform(size=len(later)) > 0.2) if way == "drop" else False)
            return Arrays(self.time_ms[keep], {n: a[keep] for n, a in self.values.items()}, self.unit)
        made = {n: _tampered(a, way, later, random) if part in (None, n) else a for n, a in self.values.items()}
        return Arrays(self.time_ms, made, self.unit)

    def shocked(self, at_ms: int, size: float, part: str | None = None) -> Arrays:
        """See `World`."""
        row = int(np.searchsorted(self.time_ms, at_ms, "right")) - 1
        made = {}
        for name, array in self.values.items():
            made[name] = np.array(array, np.float64)
            if part in (None, name):
                spread = float(np.nanstd(made[name])) or 1.0
                made[name][row] += 40 * size * spread
        return Arrays(self.time_ms, made, self.unit)

    def since(self, bars: int, upto_ms: int) -> Arrays:
        """See `World`."""
        last = int(np.searchsorted(self.time_ms, upto_ms, "right"))
        rows = slice(max(0, last - bars), last)
        return Arrays(self.time_ms[rows], {n: a[rows] for n, a in self.values.items()}, self.unit)


def perturbed_after(candles: Candles, time_ms: int, seed: int = 0) -> Candles:
    """The same candles up to those that close at ``time_ms``; prices, range and volume of every later one changed, and valid."""
    return _values(candles, candles.close_time > time_ms, np.random.default_rng(seed))


def shocked(candles: Candles, size: float = 0.05, row: int = -1) -> Candles:
    """The same candles with the close of one bar (the newest) moved by ``size``, and its range and volume with it."""
    open_, high, low, close, volume = (np.array(values) for values in candles.values())
    close[row] *= 1 + size
    high[row], low[row] = max(high[row], close[row]), min(low[row], close[row])
    volume[row] = 3 * volume[row] + 1
    return _remade(candles, open_, high, low, close, volume)


def _changed(candles: Candles, way: str, after_ms: int, until_ms: int | None, seed: int) -> Candles:
    later = _later(candles.close_time, after_ms, until_ms)
    random = np.random.default_rng(seed)
    if way == "append":
        return _extended(candles, random)
    if not later.any():
        return candles
    if way in RESHAPING:
        keep = ~later | ((random.uniform(size=len(later)) > 0.2) if way == "drop" else False)
        return candles.rows(keep)
    if way == "values":
        return _values(candles, later, random)
    columns = [np.array(v) for v in candles.values()]
    open_, high, low, close, volume = columns
    rows = np.flatnonzero(later)
    before = float(close[rows[0] - 1]) if rows[0] else float(open_[0])
    if way == "constant":
        open_[rows] = high[rows] = low[rows] = close[rows] = before
        volume[rows] = 0.0
    elif way == "shuffle":
        order = random.permutation(rows)
        for column in columns:
            column[rows] = column[order]
    elif way == "mirror":
        high[rows], low[rows] = before * before / low[rows], before * before / high[rows]
        open_[rows], close[rows] = before * before / open_[rows], before * before / close[rows]
    elif way == "revise":
        row = int(rows[0] if len(rows) < 3 else rows[random.integers(0, len(rows) - 1)])
        return shocked(candles, float(random.choice([-0.08, 0.08])), row)
    elif way == "nan":
        for column in columns:
            column[rows] = np.nan
    else:
        raise UsageError(f"unknown way to change candles {way!r}: choose one of {', '.join(WAYS)}")
    return _remade(candles, *columns)


def _values(candles: Candles, later: Mask, random: np.random.Generator) -> Candles:
    factor = np.where(later, np.exp(0.3 + random.normal(0, 0.05, len(candles))), 1.0)
    volume = candles.volume * np.where(later, random.uniform(0, 9, len(candles)), 1.0)
    wider = np.where(later, np.exp(np.abs(random.normal(0, 0.03, len(candles)))), 1.0)
    open_, high, low, close = (values * factor for values in candles.values()[:4])
    return _remade(candles, open_, high * wider, low / wider, close, volume)


def _extended(candles: Candles, random: np.random.Generator, bars: int = 48) -> Candles:
    frame: Timeframe = candles.timeframe
    times = [int(candles.close_time[-1])]
    for _ in range(max(1, min(bars, len(candles))) - 1):
        times.append(int(frame.next(times[-1])))
    close = float(candles.close[-1]) * np.exp(np.cumsum(random.normal(0.02, 0.05, len(times))))
    open_ = np.append(candles.close[-1], close[:-1])
    volume = candles.volume[-len(times) :] * 5 + 1
    later = Candles.of(
        candles.symbol, frame, times, open_, np.maximum(open_, close) * 1.01, np.minimum(open_, close) / 1.01, close, volume,
        source=candles.source, simulated=candles.simulated,
    )  # fmt: skip
    return candles.append(later)


def _remade(candles: Candles, *columns: Floats) -> Candles:
    """The same bars with other values: lawful by construction, so not checked again (and ``nan`` could not pass)."""
    c = candles
    return Candles.sealed(c.symbol, c.timeframe, c.open_time, list(columns), c.missing, c.source, c.span, c.simulated)


def _tampered(array: NDArray[Any], way: str, later: Mask, random: np.random.Generator) -> NDArray[Any]:
    made = np.array(array, np.float64)
    rows = np.flatnonzero(later)
    if not len(rows):
        return made
    spread = float(np.nanstd(made)) or 1.0
    if way == "values":
        made[rows] += spread * (2.0 + random.normal(0, 3, made[rows].shape))
    elif way == "constant":
        made[rows] = made[max(0, rows[0] - 1)]
    elif way == "shuffle":
        made[rows] = made[random.permutation(rows)]
    elif way == "mirror":
        made[rows] = -made[rows]
    elif way == "revise":
        made[rows[random.integers(0, len(rows))]] += 5 * spread
    elif way == "nan":
        made[rows] = np.nan
    else:
        raise UsageError(f"unknown way to change arrays {way!r}: choose one of {', '.join(WAYS)}")
    return made


def _later(times: NDArray[np.int64], after_ms: int, until_ms: int | None) -> Mask:
    later: Mask = times > after_ms
    return later if until_ms is None else later & (times <= until_ms)
