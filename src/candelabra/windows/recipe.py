"""`Recipe`: which timeframes, features and horizons a model is about; small, frozen, written into every bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.errors import UsageError
from candelabra.registry import did_you_mean

__all__ = ["Recipe", "horizon_steps"]

Frames = tuple[Timeframe, ...]


@dataclass(frozen=True)
class Recipe:
    """What a model sees and must say, before any number is known.

    ``base``: the decision timeframe. ``coarse`` and ``fine``: longer and shorter timeframes, as-of joined and patched. ``horizons``:
    durations, whole numbers of base bars. ``volatility_timeframe``: whose returns realised volatility is made of (None: the base).
    ``base_features``, ``coarse_features``, ``fine_features``: names of the feature catalog for each role; ``tabular_features``: the
    base timeframe's features that only table models read (LightGBM). Empty: the catalog's default for that role.
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
    tabular_features: tuple[str, ...] = ()

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
        tabular_features: tuple[str, ...] = (),
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
            "tabular_features": tuple(tabular_features),
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
