"""The rivals every segmentation is shown beside: majority, a trailing-window rule, the truth told late.

Each is fitted on candles that end with the learning range and codes of their bars (below 0: unlabelled), and answers for whole candles with
a label and probabilities for every bar. Where a rule only says a label, the probabilities are how often each label was true on the learning
range when it said so. `regime_hmm`, `regime_trees` and `regime_change_points` hold the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.hindsight import Hindsight
from candelabra.errors import DataError
from candelabra.features.kernels import window_median, window_sum
from candelabra.metrics.judged_bars import judged_bars
from candelabra.metrics.segments import macro_f1
from candelabra.models.regime_features import log_returns
from candelabra.regimes.segmentation import REGIME_LABELS, UNLABELLED

__all__ = ["HindsightAnswer", "Majority", "RegimeAnswer", "RegimeModel", "TrailingRule", "checked_codes", "fit_majority"]
__all__ += ["fit_trailing_rule", "lagged_truth", "said_true"]

Codes = NDArray[np.int16]
Floats = NDArray[np.float64]
_NEVER: Final = np.iinfo(np.int64).max


@dataclass(frozen=True, eq=False)
class RegimeAnswer:
    """What is said at the close of each bar: ``code`` int16 ``(n,)``, below 0: nothing yet; ``probabilities`` ``(n, K)``, NaN there."""

    code: Codes
    probabilities: Floats


@dataclass(frozen=True, eq=False)
class HindsightAnswer(RegimeAnswer, Hindsight):
    """An answer that read later bars: for judging and charts only. ``known_at`` int64 ms ``(n,)``."""

    known_at: NDArray[np.int64]


class RegimeModel(Protocol):
    """A fitted model of regimes; ``causal`` says that its answer for a bar reads nothing later."""

    causal: ClassVar[bool]

    def answer(self, candles: Candles) -> RegimeAnswer:
        """Label and probabilities of every bar."""
        ...


def checked_codes(candles: Sequence[Candles], codes: Sequence[ArrayLike], labels: int) -> tuple[Codes, ...]:
    """The codes as int16; DataError where they do not fit the candles, the vocabulary, or label nothing."""
    if len(candles) != len(codes):
        raise DataError(f"{len(candles)} series and {len(codes)} columns of labels: give one column for each series")
    out = tuple(np.asarray(c).astype(np.int16) for c in codes)
    for one, code in zip(candles, out, strict=True):
        if code.shape != (len(one),) or code.max(initial=-1) >= labels:
            raise DataError(
                f"{one.symbol} {one.timeframe}: {code.shape} labels up to code {code.max(initial=-1)} do not fit {len(one)} bars and "
                f"{labels} labels: give one code for each bar, from 0 to one less than the number of labels"
            )
    if not any((c >= 0).any() for c in out):
        raise DataError("not one bar of the learning range is labelled: nothing can be learned; hand in labels that reach into it")
    return out


def said_true(said: Sequence[Codes], truth: Sequence[Codes], labels: int) -> Floats:
    """How often each label is true where one is said, ``(K, K)``, rows sum to 1; a bar of each is added so that none is impossible."""
    counts = np.ones((labels, labels))
    for a, b in zip(said, truth, strict=True):
        known = (a >= 0) & (b >= 0)
        np.add.at(counts, (a[known], b[known]), 1.0)
    return np.asarray(counts / counts.sum(1, keepdims=True))


def of_said(code: Codes, table: Floats) -> Floats:
    """Probabilities ``(n, K)`` of what is said; NaN where nothing is."""
    return np.where(code[:, None] >= 0, table[code], np.nan)


# --- majority ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Majority:
    """The commonest label at every bar; ``share`` float64 ``(K,)`` of labelled bars."""

    share: Floats
    causal: ClassVar[bool] = True

    def answer(self, candles: Candles) -> RegimeAnswer:
        """The same for every bar."""
        n = len(candles)
        return RegimeAnswer(np.full(n, np.argmax(self.share), np.int16), np.tile(self.share, (n, 1)))


def fit_majority(candles: Sequence[Candles], codes: Sequence[ArrayLike], labels: int) -> Majority:
    """Shares of the labels over all series."""
    known = np.concatenate(checked_codes(candles, codes, labels))
    count = np.bincount(known[known >= 0], minlength=labels)
    return Majority(count / count.sum())


# --- the trailing-window rule ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class TrailingRule:
    """What a chart reader does: look back over ``window`` bars.

    Volatile where their volatility passes ``ratio`` times its median over the last ``reference`` bars; else bullish or bearish where their
    return is ``trend`` standard errors or more from 0, else consolidation. Nothing is said before a window is full. ``table`` ``(K, K)``:
    see `said_true`; ``places`` ``(4,)``: where the four labels stand in the vocabulary.
    """

    window: int
    trend: float
    ratio: float
    reference: int
    places: tuple[int, ...]
    table: Floats
    causal: ClassVar[bool] = True

    def answer(self, candles: Candles) -> RegimeAnswer:
        """One look back for each bar."""
        code = _rule(*_looks(candles, self.window, self.reference), self.window, self.trend, self.ratio, self.places)
        return RegimeAnswer(code, of_said(code, self.table))


_WINDOWS: Final = (12, 24, 48, 72, 96, 144)
_TRENDS: Final = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
_RATIOS: Final = (1.2, 1.35, 1.5, 1.75, 2.0)
_REFERENCE: Final = 4_320


def fit_trailing_rule(
    candles: Sequence[Candles],
    codes: Sequence[ArrayLike],
    labels: Sequence[str] = REGIME_LABELS,
    *,
    windows: Sequence[int] = _WINDOWS,
    reference: int = _REFERENCE,
) -> TrailingRule:
    """Window and thresholds of greatest mean macro-F1 over the series; DataError for a vocabulary without the four default labels."""
    if not set(REGIME_LABELS) <= set(labels):
        raise DataError(
            f"the trailing-window rule says {', '.join(REGIME_LABELS)}, and the vocabulary {tuple(labels)} lacks some of them: "
            "name the labels so, or leave the rule out"
        )
    places = tuple(list(labels).index(name) for name in REGIME_LABELS)
    truth = checked_codes(candles, codes, len(labels))
    best, chosen, said_best = -1.0, (windows[0], _TRENDS[0], _RATIOS[0]), list(truth)
    for window in windows:
        looks = [_looks(one, window, reference) for one in candles]
        for trend, ratio in product(_TRENDS, _RATIOS):
            said = [_rule(z, size, usual, window, trend, ratio, places) for z, size, usual in looks]
            scores = [macro_f1(judged_bars(t, s), len(labels)) for t, s in zip(truth, said, strict=True)]
            score = float(np.nan_to_num(np.nanmean(scores))) if np.isfinite(scores).any() else 0.0
            if score > best:
                best, chosen, said_best = score, (window, trend, ratio), said
    return TrailingRule(*chosen, reference, places, said_true(said_best, truth, len(labels)))


def _looks(candles: Candles, window: int, reference: int) -> tuple[Floats, Floats, Floats]:
    """Return over standard error, volatility, and its usual level, of the window that ends at each bar."""
    r = log_returns(candles)
    squares = np.maximum(window_sum(r * r, window), 1e-24)
    size = np.sqrt(squares / window)
    # Half a window apart is as good as every bar for a median, and that much cheaper.
    every = max(window // 2, 1)
    samples = window_median(np.ascontiguousarray(size[window - 1 :: every]), max(reference // every, 1))
    place = (np.arange(len(r)) - (window - 1)) // every
    usual = samples[np.maximum(place, 0)] if len(samples) else np.full(len(r), np.inf)
    return window_sum(r, window) / np.sqrt(squares), size, usual


def _rule(z: Floats, size: Floats, usual: Floats, window: int, trend: float, ratio: float, places: tuple[int, ...]) -> Codes:
    bullish, bearish, consolidation, volatile = places
    code = np.where(z >= trend, bullish, np.where(z <= -trend, bearish, consolidation))
    code = np.where(size > ratio * usual, volatile, code).astype(np.int16)
    code[: window - 1] = UNLABELLED
    return code


# --- the truth, late ---------------------------------------------------------------------------------------------------------------


def lagged_truth(truth: ArrayLike, lag: int, labels: int) -> HindsightAnswer:
    """A perfect labeller that is ``lag`` bars late: what pure delay costs. Never known in time, so for judging alone."""
    if lag < 0:
        raise DataError(f"a lag of {lag} bars would tell the truth early: give 0 or more")
    code = np.asarray(truth).astype(np.int16)
    late = np.full(len(code), UNLABELLED, np.int16)
    late[lag:] = code[: len(code) - lag]
    return HindsightAnswer(late, of_said(late, np.eye(labels)), np.full(len(code), _NEVER))
