"""`Predictor`: raw candles in, `Prediction` out, by the one code path that evaluation, serving and live share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from candelabra.bundles.engines import load_engine
from candelabra.bundles.format import Manifest, read_manifest
from candelabra.bundles.verify import require_models, require_sealed
from candelabra.candles.frame import Candles, format_time
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import BundleError, DataError, UsageError
from candelabra.metrics.calibration import Calibration, apply_calibration
from candelabra.models.base import FittedModel, ModelOutput
from candelabra.windows.recipe import Recipe, build_series
from candelabra.windows.series import Series

if TYPE_CHECKING:
    from candelabra.models.segmenter import Segmenter

__all__ = ["Prediction", "Predictor"]


@dataclass(frozen=True)
class Prediction:
    """What a bundle says at one close, per horizon; log returns and log volatility turned into what people read.

    ``quantiles``: of the log return, ``(horizons, levels)``; ``prices`` the same as prices; ``volatility``: expected standard
    deviation of the
    return over each horizon (scaled on the calibration range); ``mean``: expected log return, shrunk; ``newest_ms``: close of the
    newest candle that was given (data freshness); ``regimes``: probabilities by timeframe, filtered, at the newest close of each; empty for
    a bundle without them, and where fewer candles are given than they need (`Segmenter.needs`, far more than a forecast's).
    """

    symbol: str
    as_of_ms: int
    close: float
    horizons: tuple[str, ...]
    levels: tuple[float, ...]
    quantiles: tuple[tuple[float, ...], ...]
    prices: tuple[tuple[float, ...], ...]
    mean: tuple[float, ...]
    volatility: tuple[float, ...]
    log_volatility: tuple[float, ...]
    bundle: str
    simulated: bool
    newest_ms: int
    regimes: dict[str, dict[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, with times also for people."""
        return asdict(self) | {"as_of": format_time(self.as_of_ms) + " UTC"}


@dataclass(frozen=True, eq=False)
class Predictor:
    """An opened bundle. ``model`` runs on ONNX Runtime; ``calibration`` is what was fitted before the test range.

    ``segmenter``: the filtered regimes, where they were learned beside the forecast.
    """

    manifest: Manifest
    recipe: Recipe
    model: FittedModel
    calibration: Calibration
    segmenter: Segmenter | None = None

    @classmethod
    def open(cls, bundle: str | Path) -> Predictor:
        """Open a bundle after checking every file against its seal; BundleError says what is wrong."""
        folder = Path(bundle)
        require_sealed(folder)
        manifest = read_manifest(folder)
        if not manifest.horizons:
            raise BundleError(f"the bundle {manifest.id} holds regimes and no forecast: use `candelabra segment {folder}`")
        recipe = Recipe.of(manifest.recipe)
        require_models(manifest, folder / "parts")
        model = load_engine(folder / "parts" / manifest.model)
        segmenter = None
        if (folder / "parts" / "regimes-filtered").is_dir():
            from candelabra.bundles.segmenting import open_segmenter  # heavy, and most bundles have none

            segmenter = open_segmenter(folder)[1]
        return cls(manifest, recipe, model, Calibration.load(folder / "calibration.json"), segmenter)

    def series(self, candles: Candles | Sequence[Candles]) -> Series:
        """Candles of one symbol as the model sees them; BundleError when this installation computes features differently."""
        given = [candles] if isinstance(candles, Candles) else list(candles)
        series = build_series({c.timeframe.name: c for c in given}, self.recipe)
        now = {tf: table.version for tf, table in series.features.items()}
        wrong = {tf: (was, now.get(tf)) for tf, was in self.manifest.feature_versions.items() if now.get(tf) != was}
        if wrong:
            listed = ", ".join(f"{tf}: sealed {was}, here {here}" for tf, (was, here) in wrong.items())
            raise BundleError(
                f"this candelabra computes other features than the bundle was trained on ({listed}): use candelabra "
                f"{self.manifest.version}, or train again"
            )
        return series

    def outputs(self, series: Series, rows: NDArray[np.int64]) -> ModelOutput:
        """Calibrated forecasts at base rows, in natural units."""
        return apply_calibration(self.model.predict(series, rows), self.calibration)

    def forecast(self, candles: Candles | Sequence[Candles], at: int | None = None) -> list[Prediction]:
        """A prediction per symbol at the newest base close (or the newest one at or before ``at``, ms).

        The candles are cut to exactly what the bundle needs, so that the answer has the same bits however much history is given.
        Raises DataError when there is too little of it.
        """
        given = [candles] if isinstance(candles, Candles) else list(candles)
        return [self._forecast([c for c in given if c.symbol == symbol], at) for symbol in dict.fromkeys(c.symbol for c in given)]

    def _forecast(self, candles: list[Candles], at: int | None) -> Prediction:
        newest = max(int(c.close_time[-1]) for c in candles if len(c)) if any(len(c) for c in candles) else 0
        if not newest:
            raise DataError(f"{candles[0].symbol}: there are no closed candles: give more")
        past = [c.between(end_ms=at) for c in candles] if at is not None else candles
        if not any(len(c) for c in past):
            raise DataError(f"{candles[0].symbol}: no candle has closed by {format_time(at or 0)}: the first closes later")
        series = self.series(self.cut(past))
        self.require_enough(series)
        row = len(series) - 1
        output = self.outputs(series, np.array([row]))
        if not np.isfinite(output.log_volatility).all():
            raise DataError(self._too_short(series))
        return self.prediction(series, row, output, newest, self._regimes(past))

    def _regimes(self, candles: list[Candles]) -> dict[str, dict[str, float]]:
        """Filtered chances at the newest closes, from exactly as many candles as they need; empty where there are fewer."""
        given = self.regime_candles(candles)
        if self.segmenter is None or given is None:
            return {}
        from candelabra.models.regime_inputs import candles_at

        if len(candles_at(given, self.segmenter.inputs.base)) < self.segmenter.needs:
            return {}
        found = self.segmenter.regimes(given, self.manifest.id)
        newest = {name: (one.labels, one.probabilities[-1]) for name, one in found.items() if len(one)}
        return {name: dict(zip(labels, p.tolist(), strict=True)) for name, (labels, p) in newest.items() if np.isfinite(p).all()}

    def regime_candles(self, candles: list[Candles]) -> Candles | None:
        """The part of candles that regimes are read from; None for a bundle without them, or where none can make their base bars."""
        if self.segmenter is None:
            return None
        base = self.segmenter.inputs.base
        able = [c for c in candles if len(c) and (c.timeframe == base or c.timeframe.divides_into(base))]
        if not able:
            return None
        (given,) = self.cut([max(able, key=lambda c: c.timeframe.milliseconds)], {base.name: self.segmenter.needs})
        return given

    def prediction(
        self, series: Series, row: int, output: ModelOutput, newest_ms: int, regimes: dict[str, dict[str, float]] | None = None
    ) -> Prediction:
        """What ``output``, one calibrated forecast made at base row ``row``, says to people."""
        close, as_of = float(series.base_candles.close[row]), int(series.close_time[row])
        quantiles = output.quantiles[0].astype(float)
        variance = self.calibration.variance(output.log_volatility[0].astype(float))
        return Prediction(
            symbol=series.symbol,
            as_of_ms=as_of,
            close=close,
            horizons=self.manifest.horizons,
            levels=output.levels,
            quantiles=_rows(quantiles),
            prices=_rows(close * np.exp(quantiles)),
            mean=tuple(output.mean[0].astype(float).tolist()),
            volatility=tuple(np.sqrt(variance).tolist()),
            log_volatility=tuple(output.log_volatility[0].astype(float).tolist()),
            bundle=self.manifest.id,
            simulated=self.manifest.simulated,
            newest_ms=newest_ms,
            regimes=regimes or {},
        )

    def cut(self, candles: list[Candles], needs: Mapping[str, int] | None = None) -> list[Candles]:
        """The newest part of candles that a forecast needs (or ``needs`` bars of each timeframe): back to the oldest bar read."""
        start = min(_start(candles, Timeframe(tf), bars) for tf, bars in (self.manifest.needs if needs is None else needs).items())
        return [c.between(start_ms=start) for c in candles]

    def require_enough(self, series: Series) -> None:
        """DataError when there are fewer candles than a forecast needs.

        With fewer, features and states are not final: the answer would change with the history given.
        """
        if not all(len(series.candles[tf]) >= bars for tf, bars in self.manifest.needs.items()):
            raise DataError(self._too_short(series))

    def _too_short(self, series: Series) -> str:
        lines = []
        for tf, bars in self.manifest.needs.items():
            have = len(series.candles[tf])
            if have < bars:
                lines.append(f"{tf} has {have} closed bars, {bars} are needed")
        base = series.base.name
        reason = "; ".join(lines) or f"{base} has {len(series)} closed bars, but a gap in them leaves features unknown"
        return (
            f"{series.symbol} up to {format_time(int(series.close_time[-1]))}: {reason}: give earlier candles as well, or train with a "
            "shorter attention width or shorter features"
        )


def _rows(values: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in values.tolist())


def _start(past: list[Candles], frame: Timeframe, bars: int) -> int:
    """Open time of the ``bars``-th last bar of a timeframe, counted in the finest candles that can make it."""
    able = [c for c in past if len(c) and (c.timeframe == frame or c.timeframe.divides_into(frame))]
    if not able:
        raise UsageError(f"no candles given can make {frame} bars: give {frame} candles or finer ones")
    source = min(able, key=lambda c: c.timeframe.milliseconds)
    opens = np.unique(frame.floor(source.open_time))
    return int(opens[max(0, len(opens) - bars - 2)])
