"""Change points of the whole series by a Gaussian kernel, segments named from the learning set: the strongest cheap rival in hindsight.

Decisions: `ruptures` cuts what bars look like (return and size, averaged over a few bars), with the penalty that serves the learning range
best; a segment gets its label by linear discriminants of its trend, volatility, typical step and autocorrelation, fitted on the true
segments of the learning range. The answer reads the whole series: `HindsightAnswer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.candles.frame import Candles
from candelabra.errors import DataError, MissingExtraError, UsageError
from candelabra.metrics.judged_bars import judged_bars
from candelabra.metrics.segment_bounds import covering
from candelabra.metrics.segments import macro_f1
from candelabra.models.regime_baselines import HindsightAnswer, checked_codes
from candelabra.models.regime_features import log_returns

__all__ = ["KernelChangePointLabels", "KernelSettings", "fit_change_point_labels"]

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
_PENALTIES: Final = (0.15, 0.2, 0.3, 0.45, 0.7, 1.0)
_LEAST_BARS: Final = 4  # of a segment that its statistics are taken of


@dataclass(frozen=True)
class KernelSettings:
    """``step``: bars averaged into one point (cuts lie on its grid); ``least_bars`` of a segment; ``penalties`` tried, times log points."""

    step: int = 3
    least_bars: int = 30
    penalties: tuple[float, ...] = _PENALTIES

    def __post_init__(self) -> None:
        if self.step < 1 or self.least_bars < 2 * self.step or not self.penalties or min(self.penalties) <= 0:
            raise UsageError(f"{self} cannot be: step >= 1, least_bars at least two steps, penalties above 0")


@dataclass(frozen=True, eq=False)
class Discriminants:
    """Linear discriminants with one covariance for all labels (Fisher 1936): scores ``x @ weight + bias``, ``(K,)`` each row."""

    weight: Floats
    bias: Floats

    @classmethod
    def fit(cls, x: Floats, code: Whole, size: Floats, labels: int) -> Discriminants:
        """From rows ``(segments, columns)`` that weigh ``size``; labels never seen are never said."""
        weight = size / size.sum()
        share = np.bincount(code, weight, labels)
        seen = np.maximum(share, 1e-12)[:, None]
        mean = np.stack([np.bincount(code, weight * column, labels) for column in x.T], 1) / seen
        away = (x - mean[code]) * np.sqrt(weight)[:, None]
        covariance = away.T @ away
        covariance += 1e-4 * np.diag(np.maximum(np.diag(covariance), 1e-9))  # few segments, few columns: keep it invertible
        solved = np.linalg.solve(covariance, mean.T)
        with np.errstate(divide="ignore"):
            return cls(solved, np.log(share) - 0.5 * (mean.T * solved).sum(0))

    def chances(self, x: Floats) -> Floats:
        """Posterior ``(segments, K)``."""
        score = x @ self.weight + self.bias
        score = np.exp(score - score.max(1, keepdims=True))
        return np.asarray(score / score.sum(1, keepdims=True))


@dataclass(frozen=True, eq=False)
class KernelChangePointLabels:
    """``penalty`` chosen, ``names``: the discriminants of a segment's statistics."""

    settings: KernelSettings
    penalty: float
    names: Discriminants
    causal: ClassVar[bool] = False

    def answer(self, candles: Candles) -> HindsightAnswer:
        """Segments of the whole series, known when its last bar has closed."""
        first = _Cut(candles, self.settings).at(self.penalty)
        r = log_returns(candles)
        chance = self.names.chances(_statistics(r, first))
        rows = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(r))))
        return HindsightAnswer(np.argmax(chance, 1).astype(np.int16)[rows], chance[rows], np.full(len(r), candles.close_time[-1]))


def fit_change_point_labels(
    candles: Sequence[Candles], codes: Sequence[ArrayLike], labels: int, settings: KernelSettings | None = None
) -> KernelChangePointLabels:
    """Discriminants of the true segments, then the penalty of greatest macro-F1 plus covering over the labelled bars.

    Raises MissingExtraError without the library ``ruptures``, DataError where too few segments are labelled.
    """
    chosen = settings or KernelSettings()
    truth = checked_codes(candles, codes, labels)
    rows, code, size = [], [], []
    for one, labelled in zip(candles, truth, strict=True):
        pieces = judged_bars(labelled, labelled)
        r = log_returns(one)[pieces.row]
        keep = pieces.true_pieces.length >= _LEAST_BARS
        rows.append(_statistics(r, pieces.true_pieces.first, log_returns(one))[keep])
        code.append(pieces.true_pieces.code[keep])
        size.append(pieces.true_pieces.length[keep].astype(np.float64))
    if sum(map(len, rows)) < 2 * labels:
        raise DataError(f"{sum(map(len, rows))} labelled segments cannot name change points: {2 * labels} or more are needed; label more")
    names = Discriminants.fit(np.concatenate(rows), np.concatenate(code), np.concatenate(size), labels)
    cuts = [_Cut(one, chosen) for one in candles]
    best, penalty = -1.0, chosen.penalties[0]
    for tried in chosen.penalties:
        scores = []
        for cut, labelled in zip(cuts, truth, strict=True):
            first = cut.at(tried)
            said = np.argmax(names.chances(_statistics(cut.returns, first)), 1)
            bars = judged_bars(labelled, np.repeat(said, np.diff(np.append(first, len(labelled)))))
            scores.append(macro_f1(bars, labels) + covering(bars) if len(bars) else 0.0)
        if float(np.mean(scores)) > best:
            best, penalty = float(np.mean(scores)), tried
    return KernelChangePointLabels(chosen, penalty, names)


class _Cut:
    """The change points of one series at any penalty."""

    def __init__(self, candles: Candles, settings: KernelSettings) -> None:
        try:
            import ruptures
        except ImportError as error:
            raise MissingExtraError("ruptures", "labellers", "the change-point rival") from error
        self.returns, self.step = log_returns(candles), settings.step
        points = len(self.returns) // self.step
        self.short = points < 2 * settings.least_bars // self.step
        if self.short:
            return
        r = self.returns[: points * self.step].reshape(points, self.step)
        level = np.sqrt(np.mean(self.returns**2)) + 1e-12
        size = np.log(np.sqrt((r**2).mean(1)) / level + 0.05)
        signal = np.stack([r.mean(1) / (np.sqrt((r**2).mean(1)) + 0.05 * level), size], 1)
        signal = (signal - signal.mean(0)) / np.maximum(signal.std(0), 1e-9)
        self.points = points
        self.method: Any = ruptures.KernelCPD(kernel="rbf", min_size=max(settings.least_bars // self.step, 2)).fit(signal)

    def at(self, penalty: float) -> Whole:
        """First row of each segment."""
        if self.short:
            return np.zeros(1, np.int64)
        ends = np.asarray(self.method.predict(pen=penalty * np.log(self.points)), np.int64)
        return np.concatenate([[0], ends[:-1] * self.step]).astype(np.int64)


def _statistics(r: Floats, first: Whole, whole: Floats | None = None) -> Floats:
    """Trend, volatility, typical step (both against the series'), autocorrelation of the segments from ``first``: ``(segments, 4)``."""
    count = np.diff(np.append(first, len(r))).astype(np.float64)
    level = np.sqrt(np.mean((r if whole is None else whole) ** 2)) + 1e-12
    moved, squares = np.add.reduceat(r, first), np.add.reduceat(r * r, first)
    size = np.sqrt(squares / count) + 1e-6 * level
    before = np.concatenate([[0.0], r[:-1]])
    before[first] = 0.0
    neighbours = np.add.reduceat(r * before, first) / (size**2 * count)
    typical = np.add.reduceat(np.abs(r), first) / count
    return np.stack([moved / (count * size), np.log(size / level), np.log(typical / level + 1e-6), neighbours], 1)
