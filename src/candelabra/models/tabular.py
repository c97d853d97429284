"""Rows of numbers for models that read tables: catalog features of the base bars, and of coarser bars gathered as-of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import UsageError
from candelabra.features.catalog import compute, parse
from candelabra.windows.series import Series

__all__ = ["columns", "network_columns", "warm_up"]

_made: Final[WeakKeyDictionary[Series, dict[str, NDArray[np.float32]]]] = WeakKeyDictionary()


def columns(series: Series, specs: Sequence[str], rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
    """Feature values float32 ``(rows, specs)`` at base bars ``rows`` (all when None), NaN where not yet known.

    A spec is one channel of the catalog at the base timeframe, or ``4h|spec``: that of the last 4h bar closed by then. Columns are
    computed once for a series and kept as long as it lives. Raises UsageError for an unknown feature or a timeframe the series lacks.
    """
    kept = _made.setdefault(series, {})
    wanted = [s for s in dict.fromkeys(specs) if s not in kept]
    for frame in dict.fromkeys(_split(s)[0] for s in wanted):
        mine = [s for s in wanted if _split(s)[0] == frame]
        kept.update(zip(mine, _compute(series, frame, [_split(s)[1] for s in mine]), strict=True))
    count = len(series) if rows is None else len(rows)
    table = np.empty((count, len(specs)), np.float32)
    for place, spec in enumerate(specs):
        table[:, place] = kept[spec] if rows is None else kept[spec][rows]
    return table


def network_columns(series: Series) -> tuple[str, ...]:
    """Specs of what a network reads of ``series``: its base features, and those of each coarser timeframe as-of."""
    names = list(series.features[series.base.name].names) if series.base.name in series.features else []
    for frame, table in series.features.items():
        if series.base < table.timeframe:
            names += [f"{frame}|{name}" for name in table.names]
    return tuple(names)


def warm_up(base: Timeframe, specs: Sequence[str]) -> int:
    """Base bars that must lie before a bar for all ``specs`` to be final there."""
    longest = 0
    for spec in specs:
        frame, feature = _split(spec)
        own = Timeframe(frame) if frame else base
        bars = parse(feature).warm_up(own)
        longest = max(longest, bars if not frame else -(-(bars + 1) * own.milliseconds // base.milliseconds))
    return longest


def _split(spec: str) -> tuple[str, str]:
    frame, bar, feature = spec.rpartition("|")
    return (frame, feature) if bar else ("", spec)


def _compute(series: Series, frame: str, features: list[str]) -> list[NDArray[np.float32]]:
    name = frame or series.base.name
    if name not in series.candles:
        raise UsageError(
            f"a table model reads {name} candles, which the series of {series.symbol} lacks (it has {', '.join(series.candles)})"
        )
    known = series.features.get(name)
    fresh = [f for f in features if known is None or f not in known.names]
    own = series.candles[name]
    finer = {n: c for n, c in series.candles.items() if c.timeframe < own.timeframe}
    table = compute(own, fresh, fine=finer) if fresh else None
    found = []
    for feature in features:
        if table is not None and feature in fresh:
            if len(parse(feature).names) != 1:
                raise UsageError(f"{feature} has several channels: name one, as in {parse(feature).names[0]}")
            values = table.values[:, table.names.index(parse(feature).names[0])]
        else:
            assert known is not None
            values = known.column(feature)
        if frame:
            asof = series.asof[name]
            values = np.where(asof >= 0, values[np.maximum(asof, 0)], np.float32(np.nan))
        found.append(np.ascontiguousarray(values, np.float32))
    return found
