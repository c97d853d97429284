"""What a network loses by saying the wrong regime, and what its regimes are worth on validation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from candelabra.metrics.judged_bars import judged_bars
from candelabra.metrics.segment_bounds import covering
from candelabra.metrics.segments import macro_f1
from candelabra.regimes.hysteresis import HysteresisSettings, hysteresis
from candelabra.training.regime_problem import COLUMNS, RegimeTargets

__all__ = ["regime_loss", "regime_worth"]

_CALM: Final = HysteresisSettings(0.0, 3, 0)  # covering of single bars' labels is all noise: three in a row count
_CLIP: Final = 16.0  # of a squared difference of log probabilities: a real boundary costs no more


def regime_loss(
    out: Tensor, targets: Tensor, heads: Mapping[str, Sequence[str]], boundary_weight: float, smooth_weight: float
) -> tuple[Tensor, Tensor]:
    """Mean over timeframes of labels' cross-entropy by confidence, boundaries and calm; parts ``(2,)``: labels, boundaries.

    ``out`` ``(batch, bars, labels of all timeframes + timeframes)``: logits, the boundaries' last; ``targets``: see `COLUMNS`. Calm: the
    clipped squared change of log probabilities from bar to bar (MS-TCN, Farha and Gall 2019).
    """
    total, labels_part, boundary_part, at = out.new_zeros(()), out.new_zeros(()), out.new_zeros(()), 0
    count = len(heads)
    first_boundary = out.shape[-1] - count
    for k, names in enumerate(heads.values()):
        logits, at = out[..., at : at + len(names)], at + len(names)
        code, weight, near = targets[..., COLUMNS * k : COLUMNS * (k + 1)].unbind(-1)
        known = torch.isfinite(code)
        weight = torch.where(known, weight, 0.0)
        logs = torch.log_softmax(logits, -1)
        right = logs.gather(-1, torch.where(known, code, 0.0).long()[..., None])[..., 0]
        labels = -(right * weight).sum() / weight.sum().clamp(min=1e-6)
        seen = torch.isfinite(near)
        boundary = F.binary_cross_entropy_with_logits(out[..., first_boundary + k], torch.where(seen, near, 0.0), reduction="none")
        boundary = (boundary * seen).sum() / seen.sum().clamp(min=1)
        calm = (logs[:, 1:] - logs[:, :-1].detach()).square().clamp(max=_CLIP).mean()
        total = total + labels + boundary_weight * boundary + smooth_weight * calm
        labels_part, boundary_part = labels_part + labels.detach(), boundary_part + boundary.detach()
    return total / count, torch.stack((labels_part, boundary_part)) / count


def regime_worth(chances: Iterator[tuple[int, Mapping[str, NDArray[np.float64]]]], targets: RegimeTargets) -> tuple[float, float]:
    """Macro-F1 and covering on the validation rows, means over timeframes and symbols, of the likeliest labels held for three bars.

    ``chances``: for each symbol in turn the row its chances begin at, and ``(rows, K)`` by timeframe name up to the end of validation.
    (0, 0) where validation has no labelled bar.
    """
    worth = []
    for number, (low, told) in enumerate(chances):
        first, stop = targets.ranges[number]
        for name, p in told.items():
            held = hysteresis(p, _CALM)[first - low :]
            bars = judged_bars(targets.truths[name][number][first:stop], held)
            if len(bars):
                worth.append((macro_f1(bars, p.shape[1]), covering(bars)))
    if not worth:
        return 0.0, 0.0
    f1, cover = np.nanmean(np.array(worth), axis=0)
    return float(f1), float(cover)
