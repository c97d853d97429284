"""States of a Gaussian hidden Markov model over the whole series (`hmmlearn`), named by what their bars did (hindsight only)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.errors import DataError, MissingExtraError
from candelabra.regimes.labeller import Reach, at_least, segmented, short_of_bars
from candelabra.regimes.segmentation import REGIME_LABELS, Segmentation

__all__ = ["HiddenMarkov"]


@dataclass(frozen=True)
class HiddenMarkov:
    """The most likely path (Viterbi) of ``states`` states fitted to return and volatility, both weighted over ``span`` bars.

    The state of highest volatility is volatile (when there are four or more), the others bullish or bearish where their mean return
    passes ``trend`` standard errors, else consolidation. Known at the end of the candles only: both the fit and the path read them all.
    """

    name: ClassVar[str] = "hidden_markov"
    labels: ClassVar[tuple[str, ...]] = REGIME_LABELS

    states: int = 4
    span: int = 48
    trend: float = 2.0
    least_run: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(self.name, states=(self.states, 2), span=(self.span, 1), least_run=(self.least_run, 1), trend=(self.trend, 0))
        _hmmlearn()

    @property
    def reach(self) -> Reach:
        """The whole series: more candles may change every state."""
        return Reach(None, whole=True)

    def label(self, candles: Candles) -> Segmentation:
        """The segments of ``candles``; DataError when they are too few to fit, or hold nothing to tell apart."""
        needed = max(50 * self.states, 4 * self.span)
        if len(candles) < needed:
            raise short_of_bars(self.name, candles, needed)
        returns = np.diff(np.log(candles.close), prepend=np.log(candles.close[:1]))
        seen = np.column_stack([_weighted(returns, self.span), 0.5 * np.log(np.maximum(_weighted(returns**2, self.span), 1e-12))])
        spread = seen.std(axis=0)
        if not (spread > 0).all():
            raise DataError(f"{candles.symbol} {candles.timeframe}: prices never move, so there are no states to tell apart")
        path = self._path((seen - seen.mean(axis=0)) / spread)
        code = self._names(path, returns)[path]
        known = np.full(len(candles), candles.close_time[-1])
        return segmented(self.name, candles, self.labels, code, known, self.least_run)

    def _path(self, seen: NDArray[np.float64]) -> NDArray[np.int64]:
        logger = logging.getLogger("hmmlearn")
        level = logger.level
        logger.setLevel(logging.ERROR)  # that a likelihood stopped rising is no news to whoever asked for labels
        try:
            model = _hmmlearn().GaussianHMM(self.states, covariance_type="diag", n_iter=50, random_state=self.seed, min_covar=1e-3)
            return np.asarray(model.fit(seen).predict(seen), np.int64)
        finally:
            logger.setLevel(level)

    def _names(self, path: NDArray[np.int64], returns: NDArray[np.float64]) -> NDArray[np.int16]:
        """The code of each state."""
        bars = np.maximum(np.bincount(path, minlength=self.states), 1)
        mean = np.bincount(path, returns, self.states) / bars
        deviation = np.sqrt(np.maximum(np.bincount(path, returns**2, self.states) / bars - mean**2, 1e-24))
        z = mean / deviation * np.sqrt(bars)
        code = np.where(z >= self.trend, 0, np.where(z <= -self.trend, 1, 2))
        if self.states >= 4:
            code[int(np.argmax(deviation))] = 3
        return code.astype(np.int16)


def _weighted(values: NDArray[np.float64], span: int) -> NDArray[np.float64]:
    """Exponentially weighted mean of ``span`` bars."""
    from scipy.signal import lfilter

    decay = 2.0 / (span + 1.0)
    weight = lfilter([decay], [1.0, decay - 1.0], np.ones(len(values)))
    return np.asarray(lfilter([decay], [1.0, decay - 1.0], values) / weight)


def _hmmlearn() -> Any:
    try:
        from hmmlearn import hmm
    except ImportError as error:
        raise MissingExtraError("hmmlearn", "labellers", "the labeller hidden_markov") from error
    return hmm
