"""What is answered, and how it is made of a bundle."""

from __future__ import annotations

import math
import threading
import time
from importlib import metadata
from typing import Any, Final

import msgspec
import numpy as np

from candelabra.bundles.predictor import Predictor
from candelabra.bundles.sequence import SequenceForecaster
from candelabra.candles.frame import Candles
from candelabra.errors import DataError, UsageError
from candelabra.models.base import QUANTILE_LEVELS
from candelabra.serving.bodies import PredictBody
from candelabra.windows.recipe import features_of

__all__ = ["VERSION", "BundleAnswer", "ForecastAnswer", "Health", "PredictAnswer", "SequenceNeeds", "Service"]

VERSION: Final = metadata.version("candelabra")


class ForecastAnswer(msgspec.Struct):
    """A `Prediction`, as ``candelabra forecast --json`` prints it, and what to know before using it (``notes``)."""

    symbol: str
    as_of: str
    as_of_ms: int
    close: float
    horizons: list[str]
    levels: list[float]
    quantiles: list[list[float]]
    prices: list[list[float]]
    mean: list[float]
    volatility: list[float]
    log_volatility: list[float]
    bundle: str
    simulated: bool
    newest_ms: int
    regimes: dict[str, dict[str, float]]
    notes: list[str]


class PredictAnswer(msgspec.Struct):
    """What the network says of a sequence: the median at the shortest horizon, and at all of them.

    Without ``last_close`` in the request, closes are null. ``volatility``: of one base bar, as given. ``notes``: what was assumed.
    """

    predicted_close: float | None
    predicted_return: float
    horizon: str
    horizons: list[str]
    returns: list[float]
    closes: list[float] | None
    levels: list[float]
    quantiles: list[list[float]]
    member: str
    scaled: bool
    volatility: float | None
    bundle: str
    simulated: bool
    notes: list[str]


class Health(msgspec.Struct):
    """Whether forecasts can be asked for; ``waiting`` of them run or wait; times in ms."""

    status: str
    bundle: str
    model: str
    simulated: bool
    version: str
    started_ms: int
    forecasts: int
    last_forecast_ms: int | None
    last_as_of_ms: int | None
    waiting: int


class SequenceNeeds(msgspec.Struct):
    """What ``POST /predict`` needs: so many rows of these numbers, in this order."""

    member: str
    timeframe: str
    rows: int
    features: list[str]


class BundleAnswer(msgspec.Struct):
    """What the bundle is, what it learned from, and what it needs (closed candles of each timeframe)."""

    bundle: str
    model: str
    version: str
    created_ms: int
    simulated: bool
    symbols: list[str]
    base: str
    coarse: list[str]
    fine: list[str]
    horizons: list[str]
    levels: list[float]
    needs: dict[str, int]
    features: dict[str, list[str]]
    ranges: dict[str, list[int]]
    sequence: SequenceNeeds | None
    body_limit: int


class Service:
    """An opened bundle and what has been asked of it."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.sequence = SequenceForecaster.of(predictor)
        self._started_ms, self._lock = _now_ms(), threading.Lock()
        self._forecasts = 0
        self._last_ms: int | None = None
        self._last_as_of_ms: int | None = None

    def forecast(self, candles: list[Candles], at_ms: int | None) -> ForecastAnswer:
        """What `Predictor.forecast` says of one symbol's candles, bit for bit; DataError when it is not finite."""
        (prediction,) = self.predictor.forecast(candles, at_ms)
        notes = []
        if prediction.symbol not in self.predictor.manifest.symbols:
            notes.append(
                f"this bundle never saw {prediction.symbol}: it learned from {', '.join(self.predictor.manifest.symbols)}, and nobody has "
                "measured what its forecasts and intervals are worth elsewhere"
            )
        answer = ForecastAnswer(**prediction.to_dict(), notes=notes + self._notes())
        _require_finite(answer.quantiles, answer.prices, answer.mean, answer.volatility, answer.log_volatility)
        with self._lock:
            self._forecasts, self._last_ms, self._last_as_of_ms = self._forecasts + 1, _now_ms(), prediction.as_of_ms
        return answer

    def predict(self, body: PredictBody) -> PredictAnswer:
        """What the bundle's network says of a sequence of features; UsageError for a bundle without a network."""
        if self.sequence is None:
            raise UsageError("this bundle holds no network that reads a sequence of features: send candles to POST /v1/forecast")
        output = self.sequence.forecast(body.sequence, scaled=body.scaled, volatility=body.volatility)
        quantiles = output.quantiles[0].astype(float)
        medians = quantiles[:, QUANTILE_LEVELS.index(0.5)].tolist()
        closes = None if body.last_close is None else [body.last_close * _exp(value) for value in medians]
        _require_finite(quantiles.tolist(), closes or [])
        volatility = body.volatility
        notes = [f"{self.sequence.name} alone answers, without the product's calibration: it was fitted for candles"]
        if self.sequence.network.spec.coarse or self.sequence.network.spec.fine:
            notes.append("bars of other timeframes are not in a sequence: coarse arms are silent, finer bars taken for typical")
        if volatility is None:
            notes.append("features are level-free: the training range's typical volatility is assumed; give volatility to say today's")
        with self._lock:
            self._forecasts, self._last_ms = self._forecasts + 1, _now_ms()
        return PredictAnswer(
            predicted_close=None if closes is None else closes[0],
            predicted_return=medians[0],
            horizon=self.predictor.manifest.horizons[0],
            horizons=list(self.predictor.manifest.horizons),
            returns=medians,
            closes=closes,
            levels=list(output.levels),
            quantiles=quantiles.tolist(),
            member=self.sequence.name,
            scaled=body.scaled,
            volatility=volatility,
            bundle=self.predictor.manifest.id,
            simulated=self.predictor.manifest.simulated,
            notes=notes + self._notes(),
        )

    def health(self, waiting: int) -> Health:
        """How the service is."""
        manifest = self.predictor.manifest
        with self._lock:
            return Health(
                "ready", manifest.id, manifest.model, manifest.simulated, VERSION, self._started_ms, self._forecasts, self._last_ms,
                self._last_as_of_ms, waiting,
            )  # fmt: skip

    def bundle(self, body_limit: int) -> BundleAnswer:
        """What the bundle needs."""
        manifest, recipe, asked = self.predictor.manifest, self.predictor.recipe, self.sequence
        return BundleAnswer(
            bundle=manifest.id,
            model=manifest.model,
            version=manifest.version,
            created_ms=manifest.created_ms,
            simulated=manifest.simulated,
            symbols=list(manifest.symbols),
            base=recipe.base.name,
            coarse=[f.name for f in recipe.coarse],
            fine=[f.name for f in recipe.fine],
            horizons=list(manifest.horizons),
            levels=list(QUANTILE_LEVELS),
            needs=dict(manifest.needs),
            features={f.name: list(features_of(recipe, f)) for f in (recipe.base, *recipe.coarse, *recipe.fine)},
            ranges={name: list(span) for name, span in manifest.ranges.items()},
            sequence=None if asked is None else SequenceNeeds(asked.name, recipe.base.name, asked.rows, list(asked.features)),
            body_limit=body_limit,
        )

    def _notes(self) -> list[str]:
        simulated = "this bundle learned from a simulated market; its forecasts mean nothing for a real one"
        return [simulated] if self.predictor.manifest.simulated else []


def _require_finite(*values: Any) -> None:
    if not all(np.isfinite(np.asarray(value, float)).all() for value in values):
        raise DataError(
            "the forecast from these numbers is not finite: prices or features are far outside what any market has had; check them"
        )


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
