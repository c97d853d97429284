"""`Calibration`: the constants fitted before the test range that make a forecast honest, and how they are applied.

Torch-free and left of `bundles`: prediction, evaluation and the live path apply the same constants with the same function. Fitting is in
``evaluation.calibration``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.errors import BundleError, DataError
from candelabra.metrics import conformal
from candelabra.metrics.conformal import ConformalConstants

__all__ = ["Calibration", "apply_calibration"]


class _Forecast(Protocol):
    """What is calibrated: a dataclass with the arrays of ``models.base.ModelOutput``."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def quantiles(self) -> NDArray[np.float32]: ...

    @property
    def mean(self) -> NDArray[np.float32]: ...

    @property
    def levels(self) -> tuple[float, ...]: ...


F = TypeVar("F", bound=_Forecast)


@dataclass(frozen=True)
class Calibration:
    """Constants per horizon, all fitted before the test range.

    ``horizons``: names of the horizons in order. ``mean_shrinkage``: factor in [0, 1] on the mean, fitted on validation.
    ``variance_scale``: mean ratio of realised to forecast variance on the calibration range (QLIKE and variances use it; the log
    volatility itself stays as forecast). ``intervals``: split-conformal constants, None for a model without quantiles.
    """

    horizons: tuple[str, ...]
    mean_shrinkage: tuple[float, ...]
    variance_scale: tuple[float, ...]
    intervals: ConformalConstants | None = None

    def __post_init__(self) -> None:
        n = len(self.horizons)
        if len(self.mean_shrinkage) != n or len(self.variance_scale) != n or (self.intervals and len(self.intervals.constants) != n):
            raise DataError(f"a calibration of {n} horizons needs {n} constants of each kind: fit it again")
        for name, factor, scale in zip(self.horizons, self.mean_shrinkage, self.variance_scale, strict=True):
            if not 0.0 <= factor <= 1.0:
                raise DataError(f"the mean shrinkage of {name} is {factor}: it must lie in [0, 1]")
            if not (np.isfinite(scale) and scale > 0.0):
                raise DataError(f"the variance scale of {name} is {scale}: it must be a positive number")

    def variance(self, log_volatility: ArrayLike) -> NDArray[np.float64]:
        """Expected variance over each horizon, scale x exp(2 log volatility); ``log_volatility`` ``(..., horizons)``."""
        return np.asarray(np.exp(2.0 * np.asarray(log_volatility, np.float64)) * np.asarray(self.variance_scale))

    def to_json(self) -> str:
        """JSON text; `from_json` gives back the same constants bit by bit."""
        data = {
            "horizons": list(self.horizons),
            "mean_shrinkage": list(self.mean_shrinkage),
            "variance_scale": list(self.variance_scale),
            "intervals": self.intervals.as_dict() if self.intervals else None,
        }
        return json.dumps(data, indent=1, allow_nan=False) + "\n"

    @staticmethod
    def from_json(text: str) -> Calibration:
        """Read what `to_json` wrote. Raises BundleError for anything else."""
        try:
            data = json.loads(text)
            return Calibration(
                horizons=tuple(str(x) for x in data["horizons"]),
                mean_shrinkage=tuple(float(x) for x in data["mean_shrinkage"]),
                variance_scale=tuple(float(x) for x in data["variance_scale"]),
                intervals=ConformalConstants.from_dict(data["intervals"]) if data["intervals"] is not None else None,
            )
        except (ValueError, KeyError, TypeError, DataError) as error:
            raise BundleError(f"this is not a calibration ({type(error).__name__}: {error}): seal the bundle again") from error

    def save(self, path: Path) -> None:
        """Write JSON to ``path``."""
        path.write_text(self.to_json(), encoding="utf-8")

    @staticmethod
    def load(path: Path) -> Calibration:
        """Read JSON from ``path``. Raises BundleError when it is missing or broken."""
        try:
            return Calibration.from_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise BundleError(f"{path}: cannot be read ({error.strerror}): the bundle is incomplete, seal it again") from error


def apply_calibration(output: F, calibration: Calibration) -> F:
    """The same forecast with its mean shrunk and its intervals moved; log volatility unchanged. NaN rows stay NaN.

    Raises DataError when horizons or levels differ from those it was fitted for.
    """
    if output.mean.shape[-1] != len(calibration.horizons):
        raise DataError(
            f"a forecast of {output.mean.shape[-1]} horizons met a calibration of {len(calibration.horizons)} "
            f"({', '.join(calibration.horizons)}): calibrate this model again"
        )
    mean = (output.mean * np.asarray(calibration.mean_shrinkage)).astype(np.float32)
    quantiles = output.quantiles
    if calibration.intervals is not None:
        if tuple(output.levels) != calibration.intervals.levels:
            raise DataError("the quantile levels of the forecast differ from those of its calibration: calibrate this model again")
        quantiles = conformal.apply(quantiles, calibration.intervals).astype(np.float32)
    return replace(output, mean=mean, quantiles=quantiles)
