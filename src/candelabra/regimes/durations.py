"""How long regimes last and what follows them: counted from the segments of training labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from candelabra.errors import DataError
from candelabra.regimes.segmentation import runs

__all__ = ["DurationModel", "fit_durations"]

_PSEUDO: Final = 0.5  # one half of a transition to each other label: none is impossible for not having been seen


@dataclass(frozen=True, eq=False)
class DurationModel:
    """A semi-Markov chain over labels, times in bars of its timeframe.

    ``share`` float64 ``(K,)``: of labelled bars; ``follows`` float64 ``(K, K)``: chance that label j comes after i (diagonal 0);
    ``mean``, ``shape`` float64 ``(K,)``: of gamma durations beyond ``shortest``, the least duration seen anywhere; ``segments``: how many
    were counted.
    """

    share: NDArray[np.float64]
    follows: NDArray[np.float64]
    mean: NDArray[np.float64]
    shape: NDArray[np.float64]
    shortest: int
    segments: int

    def __len__(self) -> int:
        return len(self.share)

    @property
    def longest(self) -> int:
        """A duration that hardly any segment exceeds (99.9 % quantile of the slowest label)."""
        quantile = stats.gamma.ppf(0.999, self.shape, scale=(self.mean - self.shortest + 1) / self.shape)
        return int(np.ceil(self.shortest + quantile.max()))

    def log_mass(self, longest: int) -> NDArray[np.float64]:
        """Log chance ``(K, longest)`` of lasting exactly 1, 2, ... bars."""
        survival = self.survival(longest)
        return np.log(np.maximum(survival[:, :-1] - survival[:, 1:], 1e-300))

    def survival(self, longest: int) -> NDArray[np.float64]:
        """Chance ``(K, longest + 1)`` of lasting more than 0, 1, ... bars."""
        age = np.arange(longest + 1)[None, :] - (self.shortest - 1)
        scale = ((self.mean - self.shortest + 1) / self.shape)[:, None]
        return np.asarray(stats.gamma.sf(np.maximum(age, 0), self.shape[:, None], scale=scale))

    def remaining(self, longest: int) -> NDArray[np.float64]:
        """Expected further bars ``(K, longest)`` of a segment that has lasted 1, 2, ... bars."""
        survival = self.survival(4 * longest)
        tail = np.cumsum(survival[:, ::-1], axis=1)[:, ::-1]
        return np.asarray((tail[:, 1:] / np.maximum(survival[:, 1:], 1e-300))[:, :longest].clip(0, None))

    def transition(self) -> NDArray[np.float64]:
        """The Markov chain ``(K, K)`` with the same mean durations, a row a label."""
        leave = 1.0 / np.maximum(self.mean, 1.0)
        chain = self.follows * leave[:, None]
        np.fill_diagonal(chain, 1 - leave)
        return chain

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "share": self.share.tolist(),
            "follows": self.follows.tolist(),
            "mean": self.mean.tolist(),
            "shape": self.shape.tolist(),
            "shortest": self.shortest,
            "segments": self.segments,
        }

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> DurationModel:
        """What `to_dict` wrote."""
        share, follows, mean, shape = (np.asarray(content[name], np.float64) for name in ("share", "follows", "mean", "shape"))
        return cls(share, follows, mean, shape, int(content["shortest"]), int(content["segments"]))


def fit_durations(codes: Sequence[NDArray[np.int16]], labels: int) -> DurationModel:
    """Durations and successions of the labels of series, one array of codes each (-1: unlabelled); DataError where there is no label.

    Segments cut off by the beginning, the end or an unlabelled stretch count as lasting at least that long: their bars count for the mean,
    their end does not (the exponential's estimate of a mean under censoring). Shapes by moments of whole segments, 1 to 8.
    """
    bars, whole, counts = np.zeros(labels), np.zeros(labels), np.full((labels, labels), _PSEUDO)
    lengths: list[list[int]] = [[] for _ in range(labels)]
    shortest, segments = None, 0
    for own in codes:
        first, stop, value = runs(np.asarray(own, np.int16))
        for place, (a, b, k) in enumerate(zip(first.tolist(), stop.tolist(), value.tolist(), strict=True)):
            if k < 0:
                continue
            segments += 1
            bars[k] += b - a
            if place + 1 < len(value) and value[place + 1] >= 0:
                whole[k] += 1
                counts[k, value[place + 1]] += 1
                if place and value[place - 1] >= 0:
                    lengths[k].append(b - a)
                    shortest = b - a if shortest is None else min(shortest, b - a)
    if not bars.sum():
        raise DataError("there is no labelled bar to learn durations from: give a learning set that covers the training range")
    np.fill_diagonal(counts, 0)
    follows = counts / np.maximum(counts.sum(1, keepdims=True), 1e-12)
    typical = bars.sum() / max(1.0, whole.sum())
    mean = (bars + typical) / (whole + 1)  # one segment of typical length beside those seen
    least = max(1, min(shortest or 1, int(mean.min())))
    shape = np.ones(labels)
    for k, seen in enumerate(lengths):
        if len(seen) >= 5 and np.var(seen) > 0:
            shape[k] = np.clip((np.mean(seen) - least + 1) ** 2 / np.var(seen), 1.0, 8.0)
    return DurationModel(bars / bars.sum(), follows, mean, shape, least, segments)
