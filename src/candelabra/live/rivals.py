"""The baselines of a bundle, run from the same candles as the bundle itself, so that a forecast is judged beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candelabra.bundles.format import Manifest
from candelabra.errors import CandelabraError
from candelabra.metrics.calibration import Calibration, apply_calibration
from candelabra.models.base import FittedModel, ModelOutput
from candelabra.models.registry import load_fitted
from candelabra.windows.recipe import Recipe
from candelabra.windows.series import Series

__all__ = ["Rival", "keep_for", "losses", "open_rivals"]


@dataclass(frozen=True, eq=False)
class Rival:
    """A baseline with its own calibration."""

    name: str
    model: FittedModel
    calibration: Calibration

    def outputs(self, series: Series, rows: NDArray[np.int64]) -> ModelOutput:
        """Calibrated forecasts at base rows; each reads nothing after its row."""
        return apply_calibration(self.model.predict(series, rows), self.calibration)

    @property
    def warm_up(self) -> int:
        """Base bars it needs before a row."""
        return int(getattr(self.model, "warm_up", 0))


def open_rivals(bundle: Path, manifest: Manifest, names: tuple[str, ...] | None = None) -> tuple[tuple[Rival, ...], tuple[str, ...]]:
    """The baselines sealed in a bundle (or those of ``names``), and in words those that cannot be run from candles here.

    A bundle without any is judged by itself alone.
    """
    found, left = [], []
    for place in sorted((bundle / "baselines").glob("*/model.json")):
        name = place.parent.name
        if names is not None and name not in names:
            continue
        try:
            rival = Rival(name, load_fitted(place.parent), Calibration.load(place.parent / "calibration.json"))
            if rival.calibration.horizons == manifest.horizons:
                found.append(rival)
            else:
                left.append(f"{name} was fitted for other horizons")
        except (CandelabraError, ImportError) as error:
            left.append(f"{name}: {error}")
    return tuple(found), tuple(left)


def keep_for(recipe: Recipe, rivals: tuple[Rival, ...]) -> dict[str, int]:
    """How many base bars a follower must hold, so that forecasts of the longest horizon can be judged, their rivals' too."""
    return {recipe.base.name: max([rival.warm_up for rival in rivals], default=0) + max(recipe.steps) + 2}


def losses(output: ModelOutput, row: int, horizon: int, actual: float, log_volatility: float, scale: float) -> dict[str, Any]:
    """What one forecast cost at one horizon, see `judge.Judged`; NaN where it, or the outcome, is not known."""
    from candelabra.metrics.forecast import qlike
    from candelabra.metrics.quantiles import crps

    quantiles = output.quantiles[row, horizon].astype(np.float64)
    return {
        "crps": float(crps(quantiles[None], np.array([actual]), output.levels)[0]),
        "qlike": float(qlike([log_volatility], [float(output.log_volatility[row, horizon])], scale)[0]),
    }
