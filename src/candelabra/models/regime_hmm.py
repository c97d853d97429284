"""A Gaussian hidden Markov model, the common notebook recipe made causal: states of smoothed return and volatility, filtered.

Decisions: parameters by `hmmlearn` (EM on the learning range, unlabelled bars too); answers by our own forward filter, because its
``predict`` and ``predict_proba`` read the whole series, later bars included; states get the labels they share most bars with (Hungarian
matching). One model a series, as such models do not carry over between markets.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.candles.frame import Candles
from candelabra.errors import DataError, MissingExtraError, UsageError
from candelabra.features.kernels import window_sum
from candelabra.metrics.state_matching import matched_states
from candelabra.models.regime_baselines import RegimeAnswer, checked_codes
from candelabra.models.regime_features import log_returns
from candelabra.regimes.filters import markov_filter

__all__ = ["FilteredHmm", "HmmSettings", "fit_hmm"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class HmmSettings:
    """``states``; ``span``: bars that return and volatility are averaged over (1: single bars); EM ``rounds`` at most; ``restarts`` from
    other beginnings, of which the likeliest is kept (one alone may end anywhere); ``seed``.
    """

    states: int = 4
    span: int = 60
    rounds: int = 100
    restarts: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.states < 2 or self.span < 1 or self.rounds < 1 or self.restarts < 1:
            raise UsageError(f"a hidden Markov model of {self} cannot be: states >= 2; span, rounds and restarts >= 1")


@dataclass(frozen=True, eq=False)
class FilteredHmm:
    """``start (S,)``, ``transition (S, S)``, ``mean (S, 2)``, ``variance (S, 2)`` of inputs scaled by ``centre``, ``spread`` ``(2,)``.

    ``names`` ``(S,)``: the label of each state, among ``labels``.
    """

    settings: HmmSettings
    start: Floats
    transition: Floats
    mean: Floats
    variance: Floats
    centre: Floats
    spread: Floats
    names: NDArray[np.int64]
    labels: int
    causal: ClassVar[bool] = True

    def answer(self, candles: Candles) -> RegimeAnswer:
        """Filtered chances of the states, summed by label."""
        by_label = np.zeros((len(self.names), self.labels))
        by_label[np.arange(len(self.names)), self.names] = 1.0
        chance = self.states(candles) @ by_label
        return RegimeAnswer(np.argmax(chance, 1).astype(np.int16), chance)

    def states(self, candles: Candles) -> Floats:
        """Chance of each state given bars up to each one: float64 ``(n, S)``."""
        x = (_inputs(candles, self.settings.span) - self.centre) / self.spread
        return np.asarray(markov_filter(self._log_density(x), self.start, self.transition))

    def _log_density(self, x: Floats) -> Floats:
        square = (x[:, None, :] - self.mean) ** 2 / self.variance
        return np.ascontiguousarray(-0.5 * (square.sum(2) + np.log(self.variance).sum(1)))


def fit_hmm(candles: Candles, codes: ArrayLike, labels: int, settings: HmmSettings | None = None) -> FilteredHmm:
    """Parameters from the bars, names of the states from their labels.

    Raises MissingExtraError without the library ``hmmlearn``, DataError for too few bars or prices that never move.
    """
    try:
        from hmmlearn.hmm import GaussianHMM
    except ImportError as error:
        raise MissingExtraError("hmmlearn", "labellers", "the hidden Markov rival") from error
    chosen = settings or HmmSettings()
    (truth,) = checked_codes([candles], [codes], labels)
    needed = max(4 * chosen.span, 50 * chosen.states)
    if len(candles) < needed:
        raise DataError(
            f"{candles.symbol} {candles.timeframe} has {len(candles)} bars, {chosen} needs {needed}: give more, or fewer states"
        )
    inputs = _inputs(candles, chosen.span)[chosen.span - 1 :]
    centre, spread = inputs.mean(0), inputs.std(0)
    if not (spread > 0).all():
        raise DataError(f"{candles.symbol} {candles.timeframe}: prices never move, so there are no states to tell apart")
    model = _likeliest(GaussianHMM, (inputs - centre) / spread, chosen)
    start, transition, mean = (np.ascontiguousarray(p, np.float64) for p in (model.startprob_, model.transmat_, model.means_))
    variance = np.diagonal(model.covars_, axis1=1, axis2=2).copy()
    names = np.zeros(chosen.states, np.int64)
    fitted = FilteredHmm(chosen, start, transition, mean, variance, centre, spread, names, labels)
    found = matched_states(truth, np.argmax(fitted.states(candles), 1), labels)
    names[: len(found)] = found  # a state that holds nowhere keeps the first label
    return replace(fitted, names=names)


def _likeliest(kind: Any, x: Floats, settings: HmmSettings) -> Any:
    logger = logging.getLogger("hmmlearn")
    level = logger.level
    logger.setLevel(logging.ERROR)  # that a likelihood stopped rising is no news to whoever compares rivals
    try:
        models = [
            kind(
                settings.states, covariance_type="diag", n_iter=settings.rounds, random_state=1_000 * k + settings.seed, min_covar=1e-3
            ).fit(x)
            for k in range(settings.restarts)
        ]
    finally:
        logger.setLevel(level)
    return max(models, key=lambda model: model.score(x))


def _inputs(candles: Candles, span: int) -> Floats:
    """Mean return and log volatility of the last ``span`` bars; return and size of single bars for a span of 1: ``(n, 2)``."""
    r = log_returns(candles)
    if span == 1:
        return np.stack([r, np.abs(r)], 1)
    count = np.minimum(np.arange(1, len(r) + 1), span)
    mean = window_sum(r, span) / count
    size = np.sqrt(np.maximum(window_sum(r * r, span) / count, 1e-24))
    return np.stack([mean, np.log(size)], 1)
