"""Output heads: return quantiles around a reference shape, log volatility as a correction of an anchor, regimes of each timeframe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["ForecastHead", "RegimeHead", "forecast_loss", "qlike_loss"]


class ForecastHead(nn.Module):
    """From a hidden state to standardised quantiles and a standardised volatility correction, per horizon.

    Starts as the reference: with zero weights the quantiles are the training set's quantiles of anchor-scaled returns and
    the volatility correction is zero, so that learning can only be judged as an improvement on the anchor. Quantiles rise by construction:
    positive increments, each the reference's times exp(correction). ``volatility_scale``: sd of (log volatility - anchor) on train.
    """

    reference: Tensor
    volatility_scale: Tensor

    def __init__(self, width: int, reference: NDArray[np.float32], volatility_scale: NDArray[np.float32]) -> None:
        super().__init__()
        horizons, levels = reference.shape
        self.horizons, self.levels = horizons, levels
        self.linear = nn.Linear(width, horizons * (levels + 2))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.register_buffer("reference", torch.as_tensor(reference))
        self.register_buffer("volatility_scale", torch.as_tensor(volatility_scale))

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """``(..., width)`` -> quantiles ``(..., horizons, levels)`` in anchor units, correction ``(..., horizons)`` in sd's."""
        raw = self.linear(hidden).float().unflatten(-1, (self.horizons, self.levels + 2))
        volatility, location, scale, increments = raw[..., 0], raw[..., 1:2], raw[..., 2:3], raw[..., 3:]
        steps = torch.diff(self.reference, dim=-1) * torch.exp(increments.clamp(-4, 4))
        middle = self.levels // 2
        below = -torch.flip(torch.cumsum(torch.flip(steps[..., :middle], (-1,)), -1), (-1,))
        above = torch.cumsum(steps[..., middle:], -1)
        shape = torch.cat((below, torch.zeros_like(scale), above), -1) + self.reference[:, middle : middle + 1]
        width = torch.exp((scale + (volatility * self.volatility_scale)[..., None]).clamp(-4, 4))
        return location + width * shape, volatility


class RegimeHead(nn.Module):
    """Logits of the regimes of each timeframe and, last, of a boundary in each, side by side, as a correction of an anchor's.

    The anchor is a convolution that learned the labels alone: as with volatility, learning can only be judged as an improvement on it.
    ``heads``: labels of each timeframe.
    """

    def __init__(self, width: int, heads: Mapping[str, Sequence[str]]) -> None:
        super().__init__()
        self.labels = {name: tuple(labels) for name, labels in heads.items()}
        self.linear = nn.Linear(width, sum(map(len, heads.values())) + len(heads))
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """``(..., width)`` -> corrections of the anchor's logits ``(..., R)``."""
        return self.linear(hidden).float()


def forecast_loss(
    quantiles: Tensor,
    volatility: Tensor,
    target_return: Tensor,
    target_volatility: Tensor,
    levels: Tensor,
    quantile_unit: Tensor,
    volatility_weight: float,
) -> tuple[Tensor, Tensor]:
    """Mean losses of the bars whose target is finite: (total, per-part ``(2,)``: quantile, volatility).

    Quantile loss: pinball averaged over levels, divided per horizon by ``quantile_unit`` (the reference's own loss on train,
    so 1 means no better than the reference); volatility loss: squared error in units of the anchor's residual variance.
    Targets ``(..., horizons)`` in the head's units; NaN where unknown.
    """
    known = torch.isfinite(target_return)
    error = torch.where(known, target_return, 0.0)[..., None] - quantiles
    pinball = torch.maximum(levels * error, (levels - 1) * error).mean(-1) / quantile_unit
    quantile_loss = (pinball * known).sum() / known.sum().clamp(min=1)
    seen = torch.isfinite(target_volatility)
    squared = (volatility - torch.where(seen, target_volatility, 0.0)) ** 2
    volatility_loss = (squared * seen).sum() / seen.sum().clamp(min=1)
    return quantile_loss + volatility_weight * volatility_loss, torch.stack((quantile_loss, volatility_loss)).detach()


def qlike_loss(volatility: Tensor, target_volatility: Tensor, twice_scale: Tensor, offset: Tensor, unit: Tensor) -> Tensor:
    """Mean QLIKE of the implied variance over the anchor's own on train (`unit`), over bars whose target is finite.

    Squared error of the log asks for the median of a skewed ratio; QLIKE asks for the mean, and so for more where surprises run upwards
    (Patton 2011). ``twice_scale``: 2 x volatility scale; ``offset``: log of the mean ratio of realised to the anchor's variance on train.
    """
    known = torch.isfinite(target_volatility)
    # a single crash must not turn a step over: ratios beyond exp(5) count as that
    log_ratio = (twice_scale * (torch.where(known, target_volatility, 0.0) - volatility) - offset).clamp(-8.0, 5.0)
    return ((torch.exp(log_ratio) - log_ratio - 1) / unit * known).sum() / known.sum().clamp(min=1)
