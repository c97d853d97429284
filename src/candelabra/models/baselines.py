"""The baselines every model must beat, as models in their own right: constants, volatility-scaled quantiles of many kinds.

All share one shape: a forecast of log volatility, and quantiles of the return divided by that volatility, taken from train. (Constant
volatility gives the unconditional quantiles.) A saved baseline is ``model.json``, with trees as ``.onnx`` beside it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.timeframe import Timeframe
from candelabra.errors import BundleError, DataError, UsageError
from candelabra.models import garch, linear
from candelabra.models.base import QUANTILE_LEVELS, FitData, ModelOutput
from candelabra.models.linear import HarxSettings
from candelabra.models.volatility import ConstantVolatility, Volatility, volatility_from_json
from candelabra.windows.series import Series

__all__ = ["Drift", "Ewma", "FittedBaseline", "Garch", "Har", "Harx", "Historical", "NoSettings", "Persistence", "Seasonal", "Zero", "load"]

Floats = NDArray[np.float64]
_FORMAT: Final = 1


@dataclass(frozen=True)
class NoSettings:
    """Nothing to choose."""


@dataclass(frozen=True, eq=False)
class FittedBaseline:
    """A forecast of the scale, and the distribution of return / scale.

    ``standard_quantiles`` ``(horizons, levels)`` and ``standard_mean`` ``(horizons,)`` are of the return over ``volatility``'s forecast.
    ``responds`` is False for constant models, which no candle can move. ``warm_up`` base bars are needed before a row.
    """

    name: str
    base: str
    horizons: tuple[str, ...]
    volatility: Volatility
    standard_quantiles: Floats
    standard_mean: Floats

    @property
    def responds(self) -> bool:
        """Whether candles can move the forecast at all."""
        return self.volatility.responds

    @property
    def warm_up(self) -> int:
        """Base bars that must lie before a row."""
        return self.volatility.warm_up(Timeframe(self.base))

    def predict(self, series: Series, rows: NDArray[np.int64]) -> ModelOutput:
        """Forecasts at the closes of base bars ``rows``; NaN where history is too short. UsageError for another base timeframe."""
        if series.base.name != self.base:
            raise UsageError(f"{self.name} was fitted on {self.base} bars and cannot forecast {series.base} bars: fit it on {series.base}")
        log_volatility = self.volatility.log_volatility(series, np.asarray(rows, np.int64))
        scale = np.exp(log_volatility)
        return ModelOutput(
            (scale[..., None] * self.standard_quantiles).astype(np.float32),
            (scale * self.standard_mean).astype(np.float32),
            log_volatility.astype(np.float32),
        )

    def save(self, folder: Path) -> None:
        """Write ``model.json`` (and trees beside it) into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        values = {
            "format": _FORMAT,
            "model": self.name,
            "base": self.base,
            "horizons": list(self.horizons),
            "levels": list(QUANTILE_LEVELS),
            "volatility": self.volatility.to_json(folder),
            "standard_quantiles": self.standard_quantiles.tolist(),
            "standard_mean": self.standard_mean.tolist(),
        }
        (folder / "model.json").write_text(json.dumps(values, indent=1), encoding="utf-8")


def load(folder: Path) -> FittedBaseline:
    """The baseline saved in ``folder``; BundleError when it is not there, is damaged or of another format."""
    try:
        values = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if values["format"] != _FORMAT or tuple(values["levels"]) != QUANTILE_LEVELS:
            raise BundleError(f"{folder / 'model.json'} has format {values['format']}, this version reads {_FORMAT}: seal the model again")
        return FittedBaseline(
            values["model"],
            values["base"],
            tuple(values["horizons"]),
            volatility_from_json(values["volatility"], folder),
            np.array(values["standard_quantiles"], np.float64),
            np.array(values["standard_mean"], np.float64),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{folder / 'model.json'} cannot be read as a baseline ({error!r}): restore it from the sealed bundle") from error


def standard_returns(data: FitData, volatility: Volatility) -> list[Floats]:
    """Train returns divided by the forecast volatility, one array a horizon over all symbols."""
    found: list[list[Floats]] = [[] for _ in data.targets[0].steps]
    for series, targets, rows in zip(data.series, data.targets, data.train_rows, strict=True):
        scaled = targets.returns[rows] / np.exp(volatility.log_volatility(series, rows))
        for h, column in enumerate(scaled.T):
            found[h].append(column[np.isfinite(column)])
    arrays = [np.concatenate(parts) for parts in found]
    if min(len(a) for a in arrays) < 2 / QUANTILE_LEVELS[0]:
        raise DataError(
            f"{min(len(a) for a in arrays)} training rows are too few for a {QUANTILE_LEVELS[0]:.0%} quantile "
            f"({2 / QUANTILE_LEVELS[0]:.0f} are needed): give more candles or a larger train share"
        )
    return arrays


def scaled_baseline(name: str, data: FitData, volatility: Volatility, shape: Volatility | None = None) -> FittedBaseline:
    """A model of the return as train quantiles times ``volatility``, with mean 0; ``shape``: whose volatility standardises train returns.

    A forecast that was fitted closely to train (trees) would make train returns look too regular; then ``shape`` is a linear one.
    """
    standard = standard_returns(data, shape or volatility)
    quantiles = np.array([np.quantile(z, QUANTILE_LEVELS) for z in standard])
    return _fitted(name, data, volatility, quantiles, np.zeros(len(standard)))


def _fitted(name: str, data: FitData, volatility: Volatility, quantiles: Floats, mean: Floats) -> FittedBaseline:
    horizons = tuple(h.name for h in data.targets[0].horizons)
    return FittedBaseline(name, data.series[0].base.name, horizons, volatility, quantiles, mean)


def _constant(data: FitData) -> tuple[ConstantVolatility, list[Floats]]:
    logs = [t.log_volatility[r] for t, r in zip(data.targets, data.train_rows, strict=True)]
    stacked = np.concatenate(logs)
    if not np.isfinite(stacked).any(0).all():
        raise DataError("no training row has a known target at every horizon: give more candles, or shorter horizons")
    volatility = ConstantVolatility(np.nanmean(stacked, axis=0))
    return volatility, standard_returns(data, volatility)


def _symmetric(values: Floats) -> Floats:
    """Quantiles of a distribution made symmetric about 0."""
    return np.asarray(np.quantile(np.concatenate([values, -values]), QUANTILE_LEVELS))


@dataclass(frozen=True)
class Zero:
    """The price stays: mean 0, train quantiles made symmetric, mean train volatility."""

    settings: NoSettings = field(default_factory=NoSettings)
    name: ClassVar[str] = "zero"

    def fit(self, data: FitData) -> FittedBaseline:
        """Spread from train returns."""
        volatility, standard = _constant(data)
        return _fitted(self.name, data, volatility, np.array([_symmetric(z) for z in standard]), np.zeros(len(standard)))


@dataclass(frozen=True)
class Drift:
    """The price goes on as on average over train, with a symmetric spread about that."""

    settings: NoSettings = field(default_factory=NoSettings)
    name: ClassVar[str] = "drift"

    def fit(self, data: FitData) -> FittedBaseline:
        """Mean and spread of train returns."""
        volatility, standard = _constant(data)
        means = np.array([z.mean() for z in standard])
        quantiles = np.array([m + _symmetric(z - m) for z, m in zip(standard, means, strict=True)])
        return _fitted(self.name, data, volatility, quantiles, means)


@dataclass(frozen=True)
class Historical:
    """Unconditional train quantiles of the return, and their mean."""

    settings: NoSettings = field(default_factory=NoSettings)
    name: ClassVar[str] = "historical"

    def fit(self, data: FitData) -> FittedBaseline:
        """Quantiles of train returns."""
        volatility, standard = _constant(data)
        quantiles = np.array([np.quantile(z, QUANTILE_LEVELS) for z in standard])
        return _fitted(self.name, data, volatility, quantiles, np.array([z.mean() for z in standard]))


@dataclass(frozen=True)
class Persistence:
    """Volatility of the last day goes on."""

    settings: NoSettings = field(default_factory=NoSettings)
    name: ClassVar[str] = "persistence"

    def fit(self, data: FitData) -> FittedBaseline:
        """Quantiles of train returns over the last day's volatility."""
        return scaled_baseline(self.name, data, linear.persistence(data))


@dataclass(frozen=True)
class Seasonal:
    """Volatility of the same hours a week ago."""

    settings: NoSettings = field(default_factory=NoSettings)
    name: ClassVar[str] = "seasonal"

    def fit(self, data: FitData) -> FittedBaseline:
        """Quantiles of train returns over last week's volatility."""
        return scaled_baseline(self.name, data, linear.seasonal(data))


@dataclass(frozen=True)
class Ewma:
    """Exponentially weighted volatility (RiskMetrics 1996)."""

    settings: NoSettings = field(default_factory=NoSettings)
    name: ClassVar[str] = "ewma"

    def fit(self, data: FitData) -> FittedBaseline:
        """Half-life and bias per horizon from train."""
        return scaled_baseline(self.name, data, linear.ewma(data))


@dataclass(frozen=True)
class Har:
    """A day's, a week's and a month's volatility (Corsi 2009)."""

    settings: NoSettings = field(default_factory=NoSettings)
    name: ClassVar[str] = "har"

    def fit(self, data: FitData) -> FittedBaseline:
        """Least squares per horizon on train."""
        return scaled_baseline(self.name, data, linear.har(data))


@dataclass(frozen=True)
class Garch:
    """GARCH(1,1) with Student-t innovations, fitted by ``arch`` (extra ``baselines``)."""

    settings: NoSettings = field(default_factory=NoSettings)
    name: ClassVar[str] = "garch"

    def fit(self, data: FitData) -> FittedBaseline:
        """Maximum likelihood on train; MissingExtraError without ``arch``."""
        return scaled_baseline(self.name, data, garch.garch(data))


@dataclass(frozen=True)
class Harx:
    """HAR-X: about thirty linear terms, with the calendar of the target window."""

    settings: HarxSettings = field(default_factory=HarxSettings)
    name: ClassVar[str] = "harx"

    def fit(self, data: FitData) -> FittedBaseline:
        """Ridge per horizon, chosen on validation."""
        return scaled_baseline(self.name, data, linear.harx(data, self.settings))
