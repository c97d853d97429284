"""What the loop asks of a network: the loss of a batch and the loss on validation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from candelabra.models.arms import REGIMES, ArmsNetwork
from candelabra.models.base import QUANTILE_LEVELS
from candelabra.models.heads import forecast_loss, qlike_loss
from candelabra.models.network import Network, outputs_at, regime_states
from candelabra.models.regime_encoder import split_logits
from candelabra.models.settings import ArmsSettings, Gpt2Settings
from candelabra.training.problem import Problem
from candelabra.training.regime_loss import regime_loss, regime_worth
from candelabra.training.settings import TrainingSettings
from candelabra.windows.auxiliary import AUXILIARY_SPANS
from candelabra.windows.batches import Batch

__all__ = ["NetworkTask"]

_BOUNDARY: Final = 0.2  # weights inside the regimes' loss, as the convolution alone has them
_SMOOTH: Final = 0.05


class NetworkTask:
    """The loss of `arms` and `gpt2`: quantiles and volatility, in training the auxiliary ranges, and the regimes where labels are given.

    Validated by the forecast's loss and, with regimes, by what is missing of their macro-F1 and covering, times ``regime_weight``.
    """

    def __init__(
        self, network: Network, problem: Problem, masked: int, settings: ArmsSettings | Gpt2Settings, training: TrainingSettings
    ) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.module: nn.Module = network.to(self.device)
        self._network = network
        # compiled for training alone: graphs of validation's many lengths would cost more than they save
        self._hidden = torch.compile(network.hidden) if training.compile == "on" else network.hidden
        self._problem, self._masked, self._settings = problem, masked, settings
        self._levels, self._unit = torch.tensor(QUANTILE_LEVELS), torch.from_numpy(problem.unit)
        self._twice_scale = torch.from_numpy(2 * problem.spec.volatility_scale)
        self._offset, self._qlike_unit = torch.from_numpy(problem.variance).unbind()

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Losses of a batch of sequences, the first positions left out: their context is too short."""
        x = {tf: table.to(self.device) for tf, table in batch.x.items()}
        hidden = self._hidden(x, {link: index.to(self.device) for link, index in batch.asof.items()})[:, self._masked :]
        targets = batch.targets[:, self._masked :].to(self.device)
        quantiles, volatility = self._network.head(hidden)
        horizons = volatility.shape[-1]
        total, parts = self._judge(quantiles, volatility, targets[..., : 2 * horizons])
        weight = self._settings.auxiliary_weight
        after = 2 * horizons + len(AUXILIARY_SPANS)
        if weight > 0:
            ranges = targets[..., 2 * horizons : after]
            error, known = self._network.auxiliary(hidden).float() - torch.nan_to_num(ranges), torch.isfinite(ranges)
            total = total + weight * (error * error * known).sum() / known.sum().clamp(min=1)
        if isinstance(self._network, ArmsNetwork) and self._network.regimes is not None:
            out = x[REGIMES][:, self._masked :] + self._network.regimes(hidden)
            loss, more = regime_loss(out, targets[..., after:], self._network.regimes.labels, _BOUNDARY, _SMOOTH)
            total, parts = total + self._network.settings.regime_weight * loss, torch.cat((parts, more))
        return total, parts

    def validate(self) -> tuple[float, list[float]]:
        """The loss at the validation rows of all symbols together."""
        found = [outputs_at(self._network, p, rows) for p, rows in zip(self._problem.prepared, self._problem.validation, strict=True)]
        quantiles = torch.from_numpy(np.concatenate([q for q, _ in found]))
        volatility = torch.from_numpy(np.concatenate([v for _, v in found]))
        total, parts = self._judge(quantiles, volatility, torch.from_numpy(np.concatenate(self._problem.answers)))
        if self._problem.regimes is None or not isinstance(self._network, ArmsNetwork):
            return float(total), parts.tolist()
        f1, cover = regime_worth(self._chances(self._network), self._problem.regimes)
        return float(total) + self._network.settings.regime_weight * (2 - f1 - cover) / 2, [*parts.tolist(), f1, cover]

    def _chances(self, network: ArmsNetwork) -> Iterator[tuple[int, Mapping[str, NDArray[np.float64]]]]:
        assert self._problem.regimes is not None
        for prepared, (first, stop) in zip(self._problem.prepared, self._problem.regimes.ranges, strict=True):
            logits = prepared.x[REGIMES][first:stop] + regime_states((network,), prepared, first, stop)
            yield first, split_logits(logits, self._problem.regimes.heads)

    def _judge(self, quantiles: Tensor, volatility: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
        horizons = volatility.shape[-1]
        returns, realised = answers[..., :horizons], answers[..., horizons:]
        weight, where = self._settings, quantiles.device
        levels, unit = self._levels.to(where), self._unit.to(where)
        total, parts = forecast_loss(quantiles, volatility, returns, realised, levels, unit, weight.volatility_weight)
        if weight.qlike_weight > 0:
            constants = (self._twice_scale.to(where), self._offset.to(where), self._qlike_unit.to(where))
            total = total + weight.qlike_weight * qlike_loss(volatility, realised, *constants)
        return total, parts
