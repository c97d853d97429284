"""`Recipe`: which timeframes, features and horizons a model is about, and the `Series` it makes of candles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from candelabra.candles.frame import Candles
from candelabra.candles.resample import resample
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.errors import DataError, UsageError
from candelabra.features.catalog import compute, parse
from candelabra.features.volatility import level, level_warm_up
from candelabra.registry import did_you_mean
from candelabra.windows.alignment import asof_indices
from candelabra.windows.series import Series

__all__ = ["Recipe", "build_series", "candles_needed", "default_features", "features_of", "horizon_steps", "spans"]

Frames = tuple[Timeframe, ...]


@dataclass(frozen=True)
class Recipe:
    """What a model sees and must say, before any number is known.

    ``base``: the decision timeframe. ``coarse`` and ``fine``: longer and shorter timeframes, as-of joined and patched. ``horizons``:
    durations, whole numbers of base bars. ``volatility_timeframe``: whose returns realised volatility is made of (None: the base).
    ``base_features``, ``coarse_features``, ``fine_features``: names of the feature catalog for each role; empty: `default_features`.
    Timeframes may be given as names. Raises UsageError for what cannot be.

    >>> recipe = Recipe("1h", coarse=("4h", "1d"), horizons=("1h", "24h"))
    >>> Recipe.from_json(recipe.to_json()) == recipe
    True
    >>> recipe.steps
    (1, 24)
    """

    base: Timeframe
    coarse: Frames = ()
    fine: Frames = ()
    horizons: Frames = (Timeframe("1h"), Timeframe("6h"), Timeframe("24h"))
    volatility_timeframe: Timeframe = None  # type: ignore[assignment]
    base_features: tuple[str, ...] = ()
    coarse_features: tuple[str, ...] = ()
    fine_features: tuple[str, ...] = ()

    def __init__(
        self,
        base: str | Timeframe,
        coarse: tuple[str | Timeframe, ...] = (),
        fine: tuple[str | Timeframe, ...] = (),
        horizons: tuple[str | Timeframe, ...] = ("1h", "6h", "24h"),
        volatility_timeframe: str | Timeframe | None = None,
        base_features: tuple[str, ...] = (),
        coarse_features: tuple[str, ...] = (),
        fine_features: tuple[str, ...] = (),
    ) -> None:
        values: dict[str, Any] = {
            "base": timeframe(base),
            "coarse": tuple(timeframe(t) for t in coarse),
            "fine": tuple(timeframe(t) for t in fine),
            "horizons": tuple(timeframe(t) for t in horizons),
            "volatility_timeframe": timeframe(base if volatility_timeframe is None else volatility_timeframe),
            "base_features": tuple(base_features),
            "coarse_features": tuple(coarse_features),
            "fine_features": tuple(fine_features),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        self._check()

    @property
    def steps(self) -> tuple[int, ...]:
        """The horizons in base bars."""
        return tuple(horizon_steps(self.base, h) for h in self.horizons)

    @property
    def timeframes(self) -> Frames:
        """Every timeframe whose candles are needed, shortest first."""
        return tuple(sorted({self.base, *self.coarse, *self.fine, self.volatility_timeframe}))

    @property
    def purge_ms(self) -> int:
        """The longest span of a target (ms): what a split must purge. A calendar month counts 31 days."""
        return max(h.count * 31 * 86_400_000 if h.is_calendar else h.milliseconds for h in self.horizons)

    def to_json(self) -> str:
        """One JSON object with names of timeframes; `from_json` gives the same recipe back."""

        def plain(value: Any) -> Any:
            if isinstance(value, tuple):
                return [plain(v) for v in value]
            return value.name if isinstance(value, Timeframe) else value

        return json.dumps({f.name: plain(getattr(self, f.name)) for f in fields(self)})

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """The recipe that `to_json` wrote; UsageError for a key that does not exist or a text that is no JSON object."""
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise UsageError(f"a recipe must be a JSON object, got {text[:60]!r}: {error}") from error
        return cls.of(values)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Recipe:
        """A recipe from plain values, as in a config file or JSON (lists count as tuples)."""
        known = [f.name for f in fields(cls)]
        if not isinstance(values, Mapping) or "base" not in values:
            raise UsageError('a recipe needs at least the key "base", the decision timeframe')
        for name in values:
            if name not in known:
                raise UsageError(f"a recipe has no key {name!r}: {did_you_mean(name, known)}")
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**plain)

    def _check(self) -> None:
        for role, frames in (("coarse", self.coarse), ("fine", self.fine), ("horizons", self.horizons)):
            if len(set(frames)) != len(frames):
                raise UsageError(f"{role} names a timeframe twice ({', '.join(map(str, frames))}): name each once")
        for tf in self.coarse:
            if not self.base < tf:
                raise UsageError(
                    f"coarse timeframe {tf} is not longer than the base {self.base}: move it to fine, or choose a shorter base"
                )
            if not self.base.divides_into(tf):
                raise UsageError(
                    f"{tf} bars are not made of whole {self.base} bars: choose a coarse timeframe that is a multiple of {self.base}"
                )
        for tf in (*self.fine, self.volatility_timeframe):
            role = "fine timeframe" if tf in self.fine else "volatility timeframe"
            if tf == self.base and role == "volatility timeframe":
                continue
            if not tf < self.base:
                raise UsageError(f"{role} {tf} is not shorter than the base {self.base}: choose one that {self.base} is a multiple of")
            if not tf.divides_into(self.base):
                raise UsageError(f"{self.base} bars are not made of whole {tf} bars: choose a {role} that {self.base} is a multiple of")
        if not self.horizons:
            raise UsageError("a recipe needs at least one horizon, e.g. horizons=('1h', '24h')")
        if list(self.steps) != sorted(self.steps):
            raise UsageError(f"horizons {', '.join(map(str, self.horizons))} must be in rising order")


def horizon_steps(base: Timeframe, horizon: Timeframe) -> int:
    """How many base bars a horizon is long; UsageError unless it is a whole number of them.

    >>> horizon_steps(Timeframe("1h"), Timeframe("1d"))
    24
    """
    if base.is_calendar or horizon.is_calendar:
        whole = base.is_calendar and horizon.is_calendar and horizon.count % base.count == 0
        steps = horizon.count // base.count if whole else 0
    else:
        steps, rest = divmod(horizon.milliseconds, base.milliseconds)
        whole = rest == 0
    if not whole or steps < 1:
        raise UsageError(
            f"horizon {horizon} is not a whole number of {base} base bars: choose a multiple of {base}, e.g. {2 * base.count}{base.unit}"
        )
    return steps


def spans(base: Timeframe) -> tuple[int, int, int]:
    """A short, a middle and a long span in bars: a day, a week and 30 days, or 6, 24 and 96 bars where a day has fewer than 4.

    >>> spans(Timeframe("1h")), spans(Timeframe("1d"))
    ((24, 168, 720), (6, 24, 96))
    """
    day = round(86_400_000 / base.milliseconds)
    return (day, 7 * day, 30 * day) if day >= 4 else (6, 24, 96)


def default_features(recipe: Recipe, timeframe_: Timeframe) -> tuple[str, ...]:
    """The features of a role when the recipe names none: level-free shapes, a few spans, the calendar of the target window."""
    volume = spans(timeframe_)[1] if timeframe_ == recipe.base else 24
    shape = ("scaled_return(1)", "scaled(upper_wick)", "scaled(lower_wick)", "rel_log_parkinson(1)", f"rel_volume({volume})")
    if timeframe_ < recipe.base:
        return shape
    if timeframe_ > recipe.base:
        return (*shape, "scaled_return(6)", "rel_log_rv(6)", "rv_ratio(6,24)")
    short, middle, long = spans(recipe.base)
    quarter = max(2, short // 4)
    returns = tuple(f"scaled_return({n})" for n in (quarter, short, middle))
    volatility = (*(f"rel_log_rv({n})" for n in (quarter, short, 3 * short, middle, long)), f"rv_ratio({short},{long})")
    # what HAR-X reads too: a network that must find these sums by itself first learns the noise of its training years
    volatility += tuple(f"relative(log_parkinson({n}))" for n in (quarter, short, middle))
    volatility += (f"rel_dollar_volume({quarter},{short})", f"rel_dollar_volume({short},{middle})", f"up_share({short})")
    finer = tuple(f"rel_fine_log_rv({tf},{n})" for tf in recipe.fine for n in (1, short))
    ahead = tuple(f"window_week({s})" for s in recipe.steps if s > 1)
    calendar = ("close_hour", "close_weekday", "target_hour", "target_weekday", *ahead, f"window_weekend({recipe.steps[-1]})")
    return (*shape, *returns, *volatility, f"jump_share({short})", "gap", "bars_since_gap", *finer, *calendar)


def features_of(recipe: Recipe, timeframe_: Timeframe) -> tuple[str, ...]:
    """The feature specs of one timeframe of a recipe; none for one that only the volatility target reads."""
    named = {recipe.base: recipe.base_features}
    named |= dict.fromkeys(recipe.coarse, recipe.coarse_features) | dict.fromkeys(recipe.fine, recipe.fine_features)
    if timeframe_ not in named:
        return ()
    return named[timeframe_] or default_features(recipe, timeframe_)


def build_series(candles: Candles | Mapping[str, Candles], recipe: Recipe) -> Series:
    """Candles of every timeframe of the recipe, their features, and the as-of links, of one symbol.

    ``candles``: one series, or several by timeframe name. What is given is used as it is; the rest is resampled from the given series
    that reaches back furthest (the finest of those). Raises UsageError when nothing given is fine enough, DataError for mixed symbols
    or an empty base.
    """
    given = [candles] if isinstance(candles, Candles) else list(candles.values())
    symbols = sorted({c.symbol for c in given})
    if len(symbols) != 1:
        raise DataError(f"a series is of one symbol, got {', '.join(symbols) or 'no candles at all'}: build one series for each")
    made = {c.timeframe: c for c in given}
    for frame in recipe.timeframes:
        if frame not in made:
            made[frame] = resample(_source(given, frame, symbols[0]), frame)
    base = made[recipe.base]
    if not len(base):
        raise DataError(f"{symbols[0]} has no closed {recipe.base} bar: give more candles")
    by_name = {frame.name: made[frame] for frame in recipe.timeframes}
    features = {}
    for frame in recipe.timeframes:
        specs = features_of(recipe, frame)
        if specs:
            features[frame.name] = compute(made[frame], specs, fine={n: c for n, c in by_name.items() if c.timeframe < frame})
    asof = asof_indices(base.close_time, {n: c.close_time for n, c in by_name.items() if c.timeframe != recipe.base})
    return Series(symbols[0], recipe.base, by_name, features, asof, level(base))


def candles_needed(recipe: Recipe, receptive_field: Mapping[str, int], base_warm_up: int = 0) -> dict[str, int]:
    """How many candles of each timeframe a forecast needs: the warm-up of its features and the bars the model itself looks at.

    ``receptive_field``: bars of each timeframe (by name) that can move an output, 1 where unnamed; ``base_warm_up``: base bars
    that a model's own inputs remember (HAR-X and table models: their ``warm_up``).
    """
    needed: dict[str, int] = {}
    for frame in sorted((recipe.base, *recipe.coarse, *recipe.fine), reverse=True):
        features = [parse(spec) for spec in features_of(recipe, frame)]
        memory = max((f.warm_up(frame) for f in features), default=0)
        if frame == recipe.base:
            memory = max(memory, level_warm_up(frame), base_warm_up)
        bars = memory + max(1, receptive_field.get(frame.name, 1))
        for finer in recipe.fine:
            inside = [f.warm_up(frame) for f in features if finer.name in f.arguments]
            if inside:
                span = (max(inside) + max(1, receptive_field.get(frame.name, 1))) * frame.milliseconds
                needed[finer.name] = max(needed.get(finer.name, 0), span // finer.milliseconds + 1)
        needed[frame.name] = max(needed.get(frame.name, 0), bars)
    return needed


def _source(given: list[Candles], frame: Timeframe, symbol: str) -> Candles:
    able = [c for c in given if c.timeframe < frame and c.timeframe.divides_into(frame) and len(c)]
    if not able:
        have = ", ".join(str(c.timeframe) for c in given)
        raise UsageError(f"{symbol}: {frame} candles cannot be made of {have}: give candles of {frame} or of a timeframe that divides it")
    return min(able, key=lambda c: (c.span[0], c.timeframe.milliseconds))
