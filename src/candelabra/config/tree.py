"""`Config`: everything a run depends on beside its candles, in one frozen tree; the rooms' own settings are its sections.

Decisions: sections are the rooms' stdlib dataclasses, so that a room never imports this one; ``model`` is tagged by the
registered name, and its other keys are that model's settings; nothing here reads files (`layers`, `build` do).
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import UsageError
from candelabra.features.scaling import ScalerSettings
from candelabra.models.settings import ArmsSettings, Size
from candelabra.training.regime_settings import RegimeSettings
from candelabra.training.settings import TrainingSettings

if TYPE_CHECKING:
    from candelabra.windows.recipe import Recipe

__all__ = [
    "CandlesSection",
    "Config",
    "EnsembleSection",
    "EvaluationSection",
    "FeaturesSection",
    "ModelSection",
    "TimeframesSection",
    "TradingSection",
    "WindowsSection",
    "config_hash",
    "default_baselines",
    "duration_ms",
    "time_ms",
]

_UNIT_MS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


def duration_ms(text: str, key: str = "a duration") -> int:
    """Milliseconds of a length of time such as ``0h``, ``90m``, ``7d``; UsageError naming ``key`` otherwise.

    >>> duration_ms("7d"), duration_ms("0h")
    (604800000, 0)
    """
    match = re.fullmatch(r"(\d+)([smhdw])", text.strip())
    if not match:
        raise UsageError(f"{key} = {text!r} is not a length of time: write a whole number and one of s, m, h, d, w, as in 24h or 7d")
    return int(match[1]) * _UNIT_MS[match[2]]


def time_ms(text: str, key: str = "a time") -> int:
    """Milliseconds of a date or time (ISO 8601, UTC unless it says otherwise); UsageError naming ``key`` when it is none.

    >>> time_ms("2023-11-14"), time_ms("2023-11-14T22:13:20+01:00")
    (1699920000000, 1699996400000)
    """
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(f"{key} = {text!r} is not a date: write it as in 2023-11-14 or 2023-11-14T22:00 (UTC)") from error
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


@dataclass(frozen=True)
class CandlesSection:
    """Which candles: files or folders, and what of them; empty ``symbols`` or ``timeframes`` take all that is there.

    ``since``, ``until``: dates (UTC) between which bars open and close, empty: no bound.
    """

    paths: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    timeframes: tuple[str, ...] = ()
    on_bad: Literal["refuse", "drop"] = "refuse"
    since: str = ""
    until: str = ""

    def __post_init__(self) -> None:
        for name in self.timeframes:
            Timeframe(name)
        first, last = self.since_ms, self.until_ms
        if first is not None and last is not None and first >= last:
            raise UsageError(f"candles.since = {self.since!r} is not before candles.until = {self.until!r}: nothing lies between them")

    @property
    def since_ms(self) -> int | None:
        """Open time (ms) from which bars count; None: all."""
        return time_ms(self.since, "candles.since") if self.since else None

    @property
    def until_ms(self) -> int | None:
        """Close time (ms) up to which bars count; None: all."""
        return time_ms(self.until, "candles.until") if self.until else None


@dataclass(frozen=True)
class TimeframesSection:
    """The decision timeframe, the longer ones joined to it and the shorter ones inside it.

    ``volatility`` is whose returns realised volatility is made of; empty: the finest of ``fine``, or the base.
    """

    base: str = "1h"
    coarse: tuple[str, ...] = ("4h", "1d")
    fine: tuple[str, ...] = ()
    volatility: str = ""

    @property
    def volatility_timeframe(self) -> str:
        """``volatility`` with the empty word resolved."""
        return self.volatility or min((self.base, *self.fine), key=lambda name: Timeframe(name).milliseconds)


@dataclass(frozen=True)
class FeaturesSection:
    """Feature specs of each role; empty: the default ones of `windows.recipe.default_features`."""

    base: tuple[str, ...] = ()
    coarse: tuple[str, ...] = ()
    fine: tuple[str, ...] = ()


@dataclass(frozen=True)
class WindowsSection:
    """What is foretold, and how time is split into train, validation, calibration and test."""

    horizons: tuple[str, ...] = ("1h", "6h", "24h")
    shares: tuple[float, ...] = (0.6, 0.1, 0.1, 0.2)
    embargo: str = "0h"

    def __post_init__(self) -> None:
        if len(self.shares) != 4 or min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-6:
            raise UsageError(
                f"windows.shares = {list(self.shares)}: four positive numbers that sum to 1 are needed "
                "(train, validation, calibration, test)"
            )
        duration_ms(self.embargo, "windows.embargo")

    @property
    def embargo_ms(self) -> int:
        """The embargo in milliseconds."""
        return duration_ms(self.embargo)


@dataclass(frozen=True)
class ModelSection:
    """The model to train: its registered ``name``, and ``settings`` of that model's own class."""

    name: str = "arms"
    settings: Any = field(default_factory=ArmsSettings)


@dataclass(frozen=True)
class EnsembleSection:
    """The product: ``members`` weighed on validation, weights moved by ``shrink`` towards equal ones; no members: the model alone."""

    members: tuple[str, ...] = ("arms", "harx_lightgbm")
    shrink: float = 0.2

    def __post_init__(self) -> None:
        if len(set(self.members)) != len(self.members):
            raise UsageError(f"ensemble.members = {list(self.members)} names a model twice: name each once")
        if not 0 <= self.shrink <= 1:
            raise UsageError(f"ensemble.shrink = {self.shrink}: a number from 0 (as fitted) to 1 (equal weights) is needed")


@dataclass(frozen=True)
class EvaluationSection:
    """How figures are judged.

    ``block``: length of a bootstrap block; ``resamples``: how many. (The number of trials is not a setting: the program counts the
    openings of a test range.)
    """

    block: str = "7d"
    resamples: int = 2000

    def __post_init__(self) -> None:
        if duration_ms(self.block, "evaluation.block") <= 0:
            raise UsageError(f"evaluation.block = {self.block!r}: a length above 0 is needed, as in 7d")
        if self.resamples < 100:
            raise UsageError(f"evaluation.resamples = {self.resamples}: intervals of 95 % need at least 100")

    @property
    def block_ms(self) -> int:
        """The length of a bootstrap block in milliseconds."""
        return duration_ms(self.block)


@dataclass(frozen=True)
class TradingSection:
    """Costs of the backtest, in basis points: ``fee_bps`` and ``slippage_bps`` of each order, ``funding_bps`` per 8 hours of a position."""

    fee_bps: float = 10.0
    slippage_bps: float = 5.0
    funding_bps: float = 0.0

    def __post_init__(self) -> None:
        for name in ("fee_bps", "slippage_bps", "funding_bps"):
            value = getattr(self, name)
            if not 0.0 <= value < 1000.0:
                raise UsageError(f"trading.{name} = {value}: basis points from 0 to 1,000 are needed (10 = 0.1 %)")


def default_baselines() -> tuple[str, ...]:
    """Models judged beside every other; GARCH when the library ``arch`` is installed (looked for, not imported)."""
    found = ("garch",) if importlib.util.find_spec("arch") else ()
    return ("zero", "drift", "historical", "ewma", "har", "harx", *found, "lightgbm", "harx_lightgbm")


@dataclass(frozen=True)
class Config:
    """The tree; `config.build.configure` makes one from plain values and applies ``size``.

    >>> Config().recipe().steps
    (1, 6, 24)
    """

    seed: int = 0
    size: Size = "small"
    candles: CandlesSection = field(default_factory=CandlesSection)
    timeframes: TimeframesSection = field(default_factory=TimeframesSection)
    features: FeaturesSection = field(default_factory=FeaturesSection)
    windows: WindowsSection = field(default_factory=WindowsSection)
    scaling: ScalerSettings = field(default_factory=lambda: ScalerSettings(fill=0.0))
    model: ModelSection = field(default_factory=ModelSection)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    ensemble: EnsembleSection = field(default_factory=EnsembleSection)
    baselines: tuple[str, ...] = field(default_factory=default_baselines)
    evaluation: EvaluationSection = field(default_factory=EvaluationSection)
    trading: TradingSection = field(default_factory=TradingSection)
    regimes: RegimeSettings = field(default_factory=RegimeSettings)

    def recipe(self) -> Recipe:
        """What a model sees and must say, checked: UsageError for timeframes, horizons or features that cannot be."""
        from candelabra.windows.recipe import Recipe

        frames, features = self.timeframes, self.features
        return Recipe(
            frames.base,
            coarse=frames.coarse,
            fine=frames.fine,
            horizons=self.windows.horizons,
            volatility_timeframe=frames.volatility_timeframe,
            base_features=features.base,
            coarse_features=features.coarse,
            fine_features=features.fine,
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain nested values (lists, numbers, text, None); the model's settings lie beside its name."""
        values: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        settings = values["model"].pop("settings")
        values["model"] |= settings
        return values


def config_hash(config: Config) -> str:
    """Ten hex digits that change with every setting but where candles and labels lie (their fingerprints tell what they are).

    >>> len(config_hash(Config()))
    10
    """
    values = config.as_dict()
    del values["candles"]["paths"], values["regimes"]["labels"]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:10]
