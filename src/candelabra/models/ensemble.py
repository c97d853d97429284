"""A weighted average of fitted models: the default product.

Decisions: weights are fitted on validation, per horizon and separately for volatility, quantiles and mean; they are at least 0, sum to
1, and move a little towards equal ones (a validation range is short, and equal weights are hard to beat). Log volatility and mean: least
squares. Quantiles: quantile functions are averaged level by level (Vincentisation keeps the shape, where averaging densities would
blur it) with the weights of least pinball loss.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import BundleError, DataError, UsageError
from candelabra.models.base import QUANTILE_LEVELS, FitData, FittedModel, ModelOutput
from candelabra.models.registry import load_fitted, new_model
from candelabra.windows.series import Series

__all__ = ["Ensemble", "EnsembleSettings", "FittedEnsemble", "combine", "describe", "load"]

Floats = NDArray[np.float64]
_FORMAT: Final = 1


@dataclass(frozen=True)
class EnsembleSettings:
    """``members``: names of registered models; ``shrink`` in [0, 1]: how far the fitted weights move towards equal ones."""

    members: tuple[str, ...] = ("harx", "harx_lightgbm")
    shrink: float = 0.2

    def __post_init__(self) -> None:
        if not self.members or len(set(self.members)) != len(self.members):
            raise UsageError(f"an ensemble needs members, each named once; got {self.members}")
        if not 0 <= self.shrink <= 1:
            raise UsageError(f"ensemble.shrink = {self.shrink}: a number in [0, 1] is needed")


@dataclass(frozen=True, eq=False)
class FittedEnsemble:
    """``members`` by name, in the order of the weights; each weight array is ``(horizons, members)``."""

    members: dict[str, FittedModel]
    volatility_weights: Floats
    quantile_weights: Floats
    mean_weights: Floats
    name: str = "ensemble"

    @property
    def responds(self) -> bool:
        """Whether candles can move the forecast at all."""
        return any(getattr(m, "responds", True) for m in self.members.values())

    @property
    def warm_up(self) -> int:
        """Base bars that the members' own inputs remember."""
        return max((getattr(m, "warm_up", 0) for m in self.members.values()), default=0)

    def predict(self, series: Series, rows: NDArray[np.int64]) -> ModelOutput:
        """The weighted average; NaN where any member with a weight has no forecast."""
        return self.average([m.predict(series, rows) for m in self.members.values()])

    def average(self, outputs: Sequence[ModelOutput]) -> ModelOutput:
        """The weighted average of the members' outputs, in their order (saves computing them again)."""
        quantiles = _weighted([o.quantiles for o in outputs], self.quantile_weights[:, :, None])
        mean = _weighted([o.mean for o in outputs], self.mean_weights)
        volatility = _weighted([o.log_volatility for o in outputs], self.volatility_weights)
        return ModelOutput(quantiles, mean, volatility, outputs[0].levels)

    def save(self, folder: Path) -> None:
        """Write the weights and each member into a subfolder of its name."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, member in self.members.items():
            member.save(folder / name)
        values = {
            "format": _FORMAT,
            "model": self.name,
            "members": list(self.members),
            "volatility_weights": self.volatility_weights.tolist(),
            "quantile_weights": self.quantile_weights.tolist(),
            "mean_weights": self.mean_weights.tolist(),
        }
        (folder / "model.json").write_text(json.dumps(values, indent=1), encoding="utf-8")


@dataclass(frozen=True)
class Ensemble:
    """Fits every member, then their weights."""

    settings: EnsembleSettings = field(default_factory=EnsembleSettings)
    name: ClassVar[str] = "ensemble"

    def fit(self, data: FitData) -> FittedEnsemble:
        """Fit the members named in the settings with their default settings, and weigh them."""
        return combine({name: new_model(name).fit(data) for name in self.settings.members}, data, self.settings.shrink)


def combine(members: dict[str, FittedModel], data: FitData, shrink: float = EnsembleSettings.shrink) -> FittedEnsemble:
    """An ensemble of models that are already fitted, weighed on the validation rows of ``data``.

    Rows where a member has no forecast are left out for all. Raises UsageError without members, DataError when no row is left.
    """
    if not members:
        raise UsageError("an ensemble needs at least one fitted member")
    outputs: list[list[ModelOutput]] = [
        [m.predict(s, r) for s, r in zip(data.series, data.validation_rows, strict=True)] for m in members.values()
    ]
    pairs = list(zip(data.targets, data.validation_rows, strict=True))
    returns = np.concatenate([t.returns[r] for t, r in pairs])
    answers = np.concatenate([t.log_volatility[r] for t, r in pairs])
    quantiles = np.stack([np.concatenate([o.quantiles for o in own]) for own in outputs]).astype(np.float64)
    means = np.stack([np.concatenate([o.mean for o in own]) for own in outputs]).astype(np.float64)
    volatilities = np.stack([np.concatenate([o.log_volatility for o in own]) for own in outputs]).astype(np.float64)

    horizons, count = returns.shape[1], len(members)
    weights = np.empty((3, horizons, count))
    for h in range(horizons):
        known = np.isfinite(returns[:, h]) & np.isfinite(answers[:, h])
        known &= (
            np.isfinite(quantiles[:, :, h]).all((0, 2)) & np.isfinite(means[:, :, h]).all(0) & np.isfinite(volatilities[:, :, h]).all(0)
        )
        if not known.any():
            raise DataError(
                f"no validation row has a forecast of every member ({', '.join(members)}) and a known target at horizon "
                f"{data.targets[0].horizons[h]}: give more candles, or leave the member with the longest warm-up out"
            )
        weights[0, h] = _least_squares(volatilities[:, known, h].T, answers[known, h])
        weights[1, h] = _least_pinball(quantiles[:, known, h], returns[known, h])
        weights[2, h] = _least_squares(means[:, known, h].T, returns[known, h])
    weights = (1 - shrink) * weights + shrink / count
    return FittedEnsemble(dict(members), weights[0], weights[1], weights[2])


def load(folder: Path, load_member: Callable[[Path], FittedModel] = load_fitted) -> FittedEnsemble:
    """The ensemble saved in ``folder`` with its members, each loaded by ``load_member``; BundleError when damaged."""
    try:
        values = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if values["format"] != _FORMAT:
            raise BundleError(f"{folder / 'model.json'} has format {values['format']}, this version reads {_FORMAT}: seal the model again")
        weights = [np.array(values[f"{k}_weights"], np.float64) for k in ("volatility", "quantile", "mean")]
        names = list(values["members"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"{folder / 'model.json'} cannot be read as an ensemble ({error!r}): restore it from the sealed bundle"
        ) from error
    return FittedEnsemble({name: load_member(folder / name) for name in names}, weights[0], weights[1], weights[2])


def _weighted(parts: Sequence[NDArray[np.float32]], weights: Floats) -> NDArray[np.float32]:
    total = np.zeros(parts[0].shape)
    for member, part in enumerate(parts):
        total += part.astype(np.float64) * weights[:, member]
    return total.astype(np.float32)


def _least_squares(x: Floats, y: Floats) -> Floats:
    """Weights on the simplex of least squared error; ``x`` ``(rows, members)``."""
    # Errors of members, not forecasts: on the simplex the error of the average is the average of the errors.
    errors = x - y[:, None]
    gram = errors.T @ errors / len(y)
    scale = max(float(np.trace(gram)), 1e-300)
    return _descend(lambda w: (float(w @ gram @ w) / scale, 2 * gram @ w / scale), x.shape[1])


def _least_pinball(quantiles: Floats, y: Floats) -> Floats:
    """Weights on the simplex of least pinball loss; ``quantiles`` ``(members, rows, levels)``."""
    levels = np.asarray(QUANTILE_LEVELS)
    scale = max(float(np.abs(y).mean()), 1e-300)

    def loss(w: Floats) -> tuple[float, Floats]:
        below = y[:, None] - np.tensordot(w, quantiles, 1)
        slope = np.where(below > 0, -levels, 1 - levels)
        gradient = np.einsum("mrl,rl->m", quantiles, slope) / below.size
        return float(np.mean(np.where(below > 0, levels * below, (levels - 1) * below))) / scale, gradient / scale

    return _descend(loss, len(quantiles))


def _descend(loss: Callable[[Floats], tuple[float, Floats]], count: int, rounds: int = 300) -> Floats:
    """Least value of a convex loss on the simplex by exponentiated gradient steps; starts at equal weights, keeps the best."""
    weights = np.full(count, 1 / count)
    best, best_value = weights, np.inf
    rate = 1.0
    for _ in range(rounds if count > 1 else 0):
        value, gradient = loss(weights)
        if value < best_value:
            best, best_value = weights, value
        spread = float(np.ptp(gradient))
        if spread < 1e-12:
            break
        weights = weights * np.exp(-rate * (gradient - gradient.min()) / spread)
        weights = weights / weights.sum()
        rate *= 0.985
    return best


def describe(model: FittedEnsemble) -> list[dict[str, Any]]:
    """A row per member with its weights per horizon, for cards and reports."""
    return [
        {
            "member": name,
            "volatility": model.volatility_weights[:, k].tolist(),
            "quantiles": model.quantile_weights[:, k].tolist(),
            "mean": model.mean_weights[:, k].tolist(),
        }
        for k, name in enumerate(model.members)
    ]
