"""`check_feature`: the laws of a feature, checked on a small simulated market."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.features.catalog import compute, compute_tail, parse
from candelabra.features.kind import Feature, FeatureKind
from candelabra.features.table import FeatureTable
from candelabra.testing.broken import require
from candelabra.testing.markets import example_candles, perturbed_after, shocked

__all__ = ["check_feature"]

_TOLERANCE: Final = 1e-5


def check_feature(
    feature: str | Feature | FeatureKind, *, candles: Candles | None = None, fine: Mapping[str, Candles] | None = None, fresh: bool = True
) -> None:
    """LawBroken, with what, where and by how much, unless the feature keeps the laws.

    - the channels are what it said, float32, never infinite, and known at the end;
    - point in time: changing every bar after *t* moves nothing at or before *t*, to the bit;
    - tail: recomputing from its declared warm-up gives the value of the full history within 1e-5 of its spread (law 3);
    - ``fresh``: a shock to the newest bar moves the newest value (False for what knows only the calendar);
    - prices that never move give finite numbers or NaN.

    ``feature``: a spec, a `Feature`, or a `FeatureKind` (with its default arguments). ``candles``: what to check on, default a
    simulated hourly market with gaps; ``fine``: finer candles by timeframe for features that read them.
    """
    chosen = _feature(feature)
    market = example_candles() if candles is None else candles
    finer = dict(fine or {})
    table = compute(market, [chosen], fine=finer)
    _check_values(chosen, table, market)
    _check_point_in_time(chosen, table, market, finer)
    _check_tail(chosen, table, market, finer)
    if fresh:
        _check_fresh(chosen, table, market, finer)
    _check_still(chosen, market, finer)


def _feature(given: str | Feature | FeatureKind) -> Feature:
    if isinstance(given, str | Feature):
        return parse(given)
    arguments = tuple(parse(p.default) if p.type == "feature" else p.default for p in given.parameters)
    return Feature(given, arguments)


def _check_values(feature: Feature, table: FeatureTable, market: Candles) -> None:
    spec = feature.spec
    require(table.values.dtype == np.float32 and len(table) == len(market), f"{spec}: {table.values.shape} {table.values.dtype}")
    require(len(set(table.names)) == len(table.names), f"{spec}: channel names repeat: {table.names}")
    require(not np.isinf(table.values).any(), f"{spec}: infinite at row {int(np.argmax(np.isinf(table.values).any(axis=1)))}")
    require(all(w >= 0 for w in table.warm_up), f"{spec}: a warm-up below 0: {table.warm_up}")
    require(
        table.longest_warm_up < len(market), f"{spec}: its warm-up is {table.longest_warm_up}: check it on more than {len(market)} bars"
    )
    require(bool(np.isfinite(table.values[-1]).all()), f"{spec}: not known at the newest bar, {len(market)} bars from the start")


def _check_point_in_time(feature: Feature, table: FeatureTable, market: Candles, fine: Mapping[str, Candles]) -> None:
    for after in (len(market) // 3, (2 * len(market)) // 3, len(market) - 2):
        time = int(market.close_time[after])
        other = compute(perturbed_after(market, time), [feature], fine={tf: perturbed_after(c, time) for tf, c in fine.items()})
        same = _same_bits(table.values[: after + 1], other.values[: after + 1])
        require(bool(same.all()), f"{feature.spec}: row {int(np.argmax(~same.all(axis=1)))} moved when only bars after {after} changed")


def _check_tail(feature: Feature, table: FeatureTable, market: Candles, fine: Mapping[str, Candles]) -> None:
    spread = np.nanstd(table.values.astype(np.float64), axis=0)
    for row in np.linspace(table.longest_warm_up, len(market) - 1, 12).astype(int):
        past = market.rows(slice(0, int(row) + 1))
        cut = {tf: c.between(end_ms=int(past.close_time[-1])) for tf, c in fine.items()}
        tail = compute_tail(past, [feature], fine=cut).values[0].astype(np.float64)
        full = table.values[row].astype(np.float64)
        unknown = np.isnan(full)
        require(bool((np.isnan(tail) == unknown).all()), f"{feature.spec}: row {row} is {full}, recomputed from its tail {tail}")
        distance = np.abs(tail - full)[~unknown] / np.maximum(np.maximum(np.abs(full), spread), 1e-12)[~unknown]
        require(
            bool((distance <= _TOLERANCE).all()),
            f"{feature.spec}: row {row} recomputed from {table.longest_warm_up} bars before it is off by {distance.max(initial=0.0):.1e}: "
            "its warm-up is too short, or its memory has no end",
        )


def _check_fresh(feature: Feature, table: FeatureTable, market: Candles, fine: Mapping[str, Candles]) -> None:
    def shocks(c: Candles) -> list[Candles]:
        return [*(shocked(c, size) for size in (0.05, -0.05, 0.3)), perturbed_after(c, int(market.close_time[-2]))]

    others = {tf: shocks(c) for tf, c in fine.items()}
    for k, candles in enumerate(shocks(market)):
        moved = compute(candles, [feature], fine={tf: own[k] for tf, own in others.items()})
        if not _same_bits(table.values[-1:], moved.values[-1:]).all():
            return
    require(False, f"{feature.spec}: shocks to the newest bar do not move the newest value: it is at least one bar stale")


def _check_still(feature: Feature, market: Candles, fine: Mapping[str, Candles]) -> None:
    def still(c: Candles) -> Candles:
        price = np.full(len(c), 7.25)
        return Candles.of(c.symbol, c.timeframe, c.open_time, price, price, price, price, np.zeros(len(c)))

    values = compute(still(market), [feature], fine={tf: still(c) for tf, c in fine.items()}).values
    require(not np.isinf(values).any(), f"{feature.spec}: infinite where prices never move and nothing is traded")


def _same_bits(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray((a == b) | (np.isnan(a) & np.isnan(b)))
