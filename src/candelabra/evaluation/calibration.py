"""Fit the constants of a `Calibration`: shrinkage on validation, conformal moves and variance scales on the calibration range only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.errors import DataError
from candelabra.metrics import conformal
from candelabra.metrics.calibration import Calibration
from candelabra.metrics.forecast import variance_scale
from candelabra.models.base import ModelOutput, concatenate
from candelabra.windows.targets import Targets

__all__ = ["Outcomes", "fit_calibration", "mean_shrinkage", "outcomes"]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """A model's forecasts on one range and what came: ``returns``, ``log_volatility`` float64 ``(rows, horizons)``."""

    output: ModelOutput
    returns: NDArray[np.float64]
    log_volatility: NDArray[np.float64]


def outcomes(targets: Sequence[Targets], rows: Sequence[NDArray[np.int64]], outputs: Sequence[ModelOutput]) -> Outcomes:
    """Forecasts and outcomes of several symbols at ``rows`` one below the other. Raises DataError when they do not fit."""
    for number, (at, output) in enumerate(zip(rows, outputs, strict=True)):
        if len(at) != len(output):
            raise DataError(f"symbol number {number + 1} has {len(at)} rows but {len(output)} forecasts: predict at exactly those rows")
    return Outcomes(
        concatenate(outputs),
        np.concatenate([t.returns[at] for t, at in zip(targets, rows, strict=True)]),
        np.concatenate([t.log_volatility[at] for t, at in zip(targets, rows, strict=True)]),
    )


def mean_shrinkage(actual: ArrayLike, mean: ArrayLike, steps: int = 1) -> float:
    """The factor in [0, 1] on a forecast mean: the least-squares one minus two standard errors; 0 where nothing is known.

    Least squares is sum(y m) / sum(m^2). Taken at face value it keeps what luck gave on a short range, and the mean then loses to
    the zero forecast on the next; its standard error counts rows / ``steps`` (bars of the horizon) independent origins.

    >>> mean_shrinkage([1.0, -1.0], [2.0, -2.0]), mean_shrinkage([1.0, -1.0], [-1.0, 1.0]), mean_shrinkage([3.0], [1.0])
    (0.5, 0.0, 1.0)
    >>> mean_shrinkage([1.0, -1.0, 0.2, -0.1], [0.1, 0.1, 0.1, -0.1])
    0.0
    """
    y, m = np.asarray(actual, np.float64), np.asarray(mean, np.float64)
    keep = np.isfinite(y) & np.isfinite(m)
    y, m = y[keep], m[keep]
    power = float(m @ m)
    if not power > 0.0:
        return 0.0
    factor = float(y @ m) / power
    error = float(np.sqrt(np.mean((y - factor * m) ** 2) * steps / power))
    return float(np.clip(factor - 2.0 * error, 0.0, 1.0))


def fit_calibration(
    horizons: Sequence[str],
    steps: Sequence[int],
    validation: Outcomes,
    calibration: Outcomes,
    *,
    normalised: bool = True,
    intervals: bool = True,
) -> Calibration:
    """Constants of one model: `mean_shrinkage` from ``validation``; variance scale and conformal moves from ``calibration``.

    ``horizons``: their names; ``steps``: how many bars each is long. ``intervals`` False leaves quantiles as forecast. A model that
    forecasts no mean gets shrinkage 0, one
    without volatility (or where no price moved) scale 1, one without quantiles no intervals. Raises DataError when the calibration
    range is too short.
    """
    count = len(horizons)
    mean, late = validation.output.mean, calibration.output
    factors = tuple(mean_shrinkage(validation.returns[:, h], mean[:, h], steps[h]) for h in range(count))
    scales = []
    for h in range(count):
        scale = variance_scale(calibration.log_volatility[:, h], late.log_volatility[:, h])
        scales.append(scale if np.isfinite(scale) and scale > 0.0 else 1.0)
    constants = None
    if intervals and np.isfinite(late.quantiles).any():
        constants = conformal.fit(late.quantiles, calibration.returns, late.levels, normalised=normalised)
    return Calibration(tuple(horizons), factors, tuple(scales), constants)
