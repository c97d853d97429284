"""What a run learns from and is judged on: series, targets and split of every symbol, made from candles by a config."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles, format_time
from candelabra.candles.quality import QualityReport, inspect
from candelabra.candles.timeframe import Timeframe
from candelabra.config.tree import Config
from candelabra.errors import DataError, UsageError
from candelabra.models.base import FitData
from candelabra.registry import did_you_mean
from candelabra.windows.recipe import Recipe, build_series
from candelabra.windows.series import Series
from candelabra.windows.splits import Split, chronological
from candelabra.windows.targets import Targets, make_targets

__all__ = ["Material", "advice", "by_symbol", "prepare"]

_LADDER: Final = tuple(map(Timeframe, ("1m", "5m", "15m", "1h", "4h", "1d", "1w")))
_INSIDE: Final = 12
"""Bars inside one of the base that a fine arm should have at least, when the candles can give them."""


@dataclass(frozen=True, eq=False)
class Material:
    """Everything of a run that comes from candles; tuples hold one entry per symbol."""

    recipe: Recipe
    candles: tuple[tuple[Candles, ...], ...]
    quality: tuple[QualityReport, ...]
    series: tuple[Series, ...]
    targets: tuple[Targets, ...]
    split: Split
    seed: int

    @property
    def symbols(self) -> tuple[str, ...]:
        """Names in the order of all tuples."""
        return tuple(s.symbol for s in self.series)

    @property
    def fit_data(self) -> FitData:
        """What a model may learn from."""
        return FitData(self.series, self.targets, self.split.train, self.split.validation, self.seed)

    @property
    def fingerprint(self) -> str:
        """sha256 over the candles of all symbols."""
        digest = hashlib.sha256()
        for own in self.candles:
            for candles in own:
                digest.update(candles.fingerprint.encode())
        return digest.hexdigest()

    def rows(self, *parts: str) -> tuple[NDArray[np.int64], ...]:
        """Rows of several parts of the split one after another, per symbol."""
        return tuple(np.concatenate([self.split.part(p)[i] for p in parts]) for i in range(len(self.series)))


def by_symbol(candles: Sequence[Candles], config: Config) -> dict[str, list[Candles]]:
    """The candles a config asks for, by symbol; UsageError when a symbol it names is not there."""
    found: dict[str, list[Candles]] = {}
    for one in candles:
        found.setdefault(one.symbol, []).append(one)
    for symbol in config.candles.symbols:
        if symbol not in found:
            raise UsageError(f"there are no candles of {symbol!r}: {did_you_mean(symbol, sorted(found))}")
    chosen = {s: found[s] for s in config.candles.symbols or sorted(found)}
    if not chosen:
        raise DataError("there are no candles: give at least one file with open time, open, high, low, close and volume")
    since, until = config.candles.since_ms, config.candles.until_ms
    if since is None and until is None:
        return chosen
    return {symbol: [_within(one, since, until) for one in own] for symbol, own in chosen.items()}


def _within(candles: Candles, since: int | None, until: int | None) -> Candles:
    kept = candles.between(since, until)
    if len(candles) and not len(kept):
        raise DataError(
            f"{candles.symbol} {candles.timeframe} has no bar between the dates asked for: it goes from "
            f"{format_time(candles.open_time[0])} to {format_time(candles.close_time[-1])}; change candles.since or candles.until"
        )
    return kept


def prepare(candles: Sequence[Candles], config: Config, *, split: bool = True) -> Material:
    """Check, resample, compute features and targets, and split (or leave every row in every part). Errors say which symbol lacks what."""
    recipe = config.recipe()
    chosen = by_symbol(candles, config)
    quality = []
    for symbol, own in chosen.items():
        for one in own:
            report = inspect(one)
            if report.verdict == "unusable":
                worst = "; ".join(f"{f.kind} ({f.count})" for f in report.findings if f.fatal)
                raise DataError(f"{symbol} {one.timeframe} cannot teach anything: {worst}: run `candelabra check` on the file for rows")
            quality.append(report)
    for symbol, own in chosen.items():
        _require_fine_enough(symbol, [c.timeframe for c in own], recipe)
    series = tuple(build_series({c.timeframe.name: c for c in own}, recipe) for own in chosen.values())
    for one_series in series:
        for tf in recipe.timeframes:
            have = one_series.candles[tf.name]
            if len(have) < 3:
                raise DataError(
                    f"{one_series.symbol} has {len(have)} closed {tf} bars up to {format_time(int(one_series.close_time[-1]))}: give "
                    f"more candles, or leave {tf} out of timeframes"
                )
    targets = tuple(make_targets(s, recipe) for s in series)
    times = [s.close_time for s in series]
    if split:
        parts = chronological(times, config.windows.shares, purge_ms=recipe.purge_ms, embargo_ms=config.windows.embargo_ms)
    else:
        rows = tuple(np.arange(len(t)) for t in times)
        parts = Split(rows, rows, rows, rows, cuts_ms=(0, 0, 0, 0, 0), purge_ms=recipe.purge_ms, embargo_ms=0)
    return Material(recipe, tuple(tuple(own) for own in chosen.values()), tuple(quality), series, targets, parts, config.seed)


def advice(candles: Sequence[Candles], config: Config) -> list[str]:
    """What the settings leave lying in these candles, in a sentence per symbol: bars finer than the base that no fine arm reads."""
    recipe = config.recipe()
    if recipe.fine or recipe.volatility_timeframe < recipe.base:
        return []
    lines = []
    for symbol, own in by_symbol(candles, config).items():
        finest = min(c.timeframe for c in own)
        if not finest < recipe.base or not finest.divides_into(recipe.base):
            continue
        able = [f for f in _LADDER if _makes(finest, f) and f.divides_into(recipe.base)]
        inside = [f for f in able if f.milliseconds * _INSIDE <= recipe.base.milliseconds]
        lines.append(
            f"{symbol}: the {finest} candles only make the {recipe.base} bars; for a model that looks inside those bars, "
            f"--set timeframes.fine={max(inside) if inside else finest}"
        )
    return lines


def _makes(have: Timeframe, frame: Timeframe) -> bool:
    return have == frame or (have < frame and have.divides_into(frame))


def _require_fine_enough(symbol: str, have: Sequence[Timeframe], recipe: Recipe) -> None:
    """UsageError when no candles of a symbol can make a timeframe of the recipe, with settings that these candles do fit."""
    lacking = [frame for frame in recipe.timeframes if not any(_makes(one, frame) for one in have)]
    if not lacking:
        return
    if recipe.base in lacking:
        finest = min(have)
        coarse = [f.name for f in _LADDER if finest < f and finest.divides_into(f)][:2]
        count, unit = int(finest.name[:-1]), finest.name[-1]
        steps = {"d": (1, 5, 20), "w": (1, 4, 13), "M": (1, 3, 6)}.get(unit, (1, 6, 24))
        words = {
            "timeframes.base": finest.name,
            "timeframes.coarse": ",".join(coarse),
            "timeframes.fine": "",
            "timeframes.volatility": "",
            "windows.horizons": ",".join(f"{n * count}{unit}" for n in steps),
        }
        kept = {"timeframes.fine": recipe.fine, "timeframes.volatility": recipe.volatility_timeframe != recipe.base}
        wanted = " ".join(f"--set {key}={value}" for key, value in words.items() if value or kept.get(key, True))
        way_out = f"or decide at every {finest} bar: {wanted}"
    else:
        fine = ",".join(f.name for f in recipe.fine if f not in lacking)
        way_out = f"or do without: --set timeframes.fine={fine}"
        way_out += " --set timeframes.volatility=" if recipe.volatility_timeframe in lacking else ""
    raise UsageError(
        f"{symbol}: {lacking[0]} candles cannot be made of {', '.join(map(str, have))}: give candles of {lacking[0]} or of a timeframe "
        f"that divides it, {way_out}"
    )
