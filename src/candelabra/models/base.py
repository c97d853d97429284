"""What every model says, and what a trained model must be able to do (torch-free)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from candelabra.windows.series import Series
from candelabra.windows.targets import Targets

__all__ = ["QUANTILE_LEVELS", "FitData", "FittedModel", "Model", "ModelOutput", "concatenate"]

QUANTILE_LEVELS: Final = (0.01, *(round(0.05 * k, 2) for k in range(1, 20)), 0.99)


@dataclass(frozen=True, eq=False)
class ModelOutput:
    """Forecasts made at the close of base bars, in natural units.

    ``quantiles`` float32 ``(rows, horizons, levels)``: quantiles of the log return over each horizon at ``levels``, rising;
    ``mean`` float32 ``(rows, horizons)``: expected log return (shrunk); ``log_volatility`` float32 ``(rows, horizons)``: expected
    log realised volatility over the horizon, in the unit of ``Targets.log_volatility``. NaN rows: not enough history.
    """

    quantiles: NDArray[np.float32]
    mean: NDArray[np.float32]
    log_volatility: NDArray[np.float32]
    levels: tuple[float, ...] = QUANTILE_LEVELS

    def __len__(self) -> int:
        return len(self.mean)

    def rows(self, index: Any) -> ModelOutput:
        """The forecasts at some rows."""
        return ModelOutput(self.quantiles[index], self.mean[index], self.log_volatility[index], self.levels)


def concatenate(outputs: Sequence[ModelOutput]) -> ModelOutput:
    """Outputs of several symbols one below the other."""
    return ModelOutput(
        np.concatenate([o.quantiles for o in outputs]),
        np.concatenate([o.mean for o in outputs]),
        np.concatenate([o.log_volatility for o in outputs]),
        outputs[0].levels,
    )


@dataclass(frozen=True, eq=False)
class FitData:
    """What a model may learn from: several symbols' series and targets, and which rows are for training and validation.

    ``train_rows[i]`` and ``validation_rows[i]``: int64 row numbers into ``series[i]``, purged so that every target they use is
    known before the next part begins. Nothing else of ``targets`` may be read.
    """

    series: tuple[Series, ...]
    targets: tuple[Targets, ...]
    train_rows: tuple[NDArray[np.int64], ...]
    validation_rows: tuple[NDArray[np.int64], ...]
    seed: int = 0


@runtime_checkable
class FittedModel(Protocol):
    """A trained model: forecasts for any series, and writes itself as a part of a bundle."""

    @property
    def name(self) -> str:
        """What the model is called in tables and folders."""
        ...

    def predict(self, series: Series, rows: NDArray[np.int64]) -> ModelOutput:
        """Forecasts at the closes of base bars ``rows``; reads nothing after each of them."""
        ...

    def save(self, folder: Path) -> None:
        """Write everything needed into ``folder`` (JSON, safetensors, ONNX; never pickle)."""
        ...


class Model(Protocol):
    """A way to learn: settings in, fitted model out."""

    @property
    def name(self) -> str:
        """The registered name."""
        ...

    def fit(self, data: FitData) -> FittedModel:
        """Learn from ``data``; reads targets at its train and validation rows only."""
        ...
