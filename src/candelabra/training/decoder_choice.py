"""The numbers of a decoder, chosen on the validation range within what a user bears: how often regimes flip, and how late they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from candelabra.errors import DataError
from candelabra.metrics.judged_bars import judged_bars
from candelabra.metrics.segment_bounds import covering, detection_delays
from candelabra.metrics.segments import macro_f1
from candelabra.regimes.decoding import CAUSAL_KINDS, Decoder, DecoderKind, DecoderSettings
from candelabra.regimes.durations import DurationModel
from candelabra.training.regime_settings import Bounds

__all__ = ["Bounds", "DecoderTrial", "choose_decoder", "judge_decoder"]

_ENTER: Final = (0.0, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85)
_CONFIRM: Final = (1, 2, 3, 5)
_COARSE: Final = ((0.0, 0.5, 0.65, 0.8), (1, 3))  # of both, where powers or tilts are tried too: of many settings one is best by luck
_POWERS: Final = (0.1, 0.2, 0.35, 0.6, 1.0)
_TILTS: Final = (0.0, 0.3, 0.6)


@dataclass(frozen=True)
class DecoderTrial:
    """One tried setting on validation: means over series; ``excess`` over the bounds, 0 within them.

    ``delay``: median over all segments that follow another, NaN where there is none. ``emphasis``: how much macro-F1 counts beside
    covering.
    """

    settings: DecoderSettings
    macro_f1: float
    covering: float
    flips: float
    delay: float
    excess: float
    emphasis: float = 1.0

    @property
    def worth(self) -> tuple[float, float]:
        """More is better: first to keep the bounds, then macro-F1 and covering together."""
        return -self.excess, self.emphasis * self.macro_f1 + self.covering


def choose_decoder(
    kind: DecoderKind,
    probabilities: Sequence[ArrayLike],
    truths: Sequence[ArrayLike],
    labels: Sequence[str],
    durations: DurationModel,
    *,
    bounds: Bounds | None = None,
    start: Sequence[int] | None = None,
    powers: Sequence[float] = _POWERS,
    tilts: Sequence[float] = _TILTS,
    lag: int = 0,
    emphasis: float = 1.0,
) -> tuple[Decoder, tuple[DecoderTrial, ...]]:
    """The best decoder of a kind, and all that were tried.

    ``probabilities[i]`` ``(n, K)`` from the beginning of a series, so that filters are warm; judged from row ``start[i]`` on (default: 0).
    ``powers``: weights of evidence to try (1 alone for a likelihood), ``tilts`` towards rare labels (0 alone for one). Bounds hold causal
    kinds only: the others are judged by macro-F1 and covering. ``emphasis``: see `DecoderTrial`. DataError where no bar is labelled.
    """
    begin = [0] * len(truths) if start is None else list(start)
    if not any((np.asarray(t)[a:] >= 0).any() for t, a in zip(truths, begin, strict=True)):
        raise DataError("the validation range has no labelled bar: a decoder cannot be chosen; hand in labels that reach into it")
    limits = bounds or Bounds()
    trials = []
    for settings in _candidates(kind, powers, tilts, lag):
        decoder = Decoder(settings, tuple(labels), durations)
        trials.append(judge_decoder(decoder, probabilities, truths, bounds=limits, start=begin, emphasis=emphasis))
    best = max(trials, key=lambda trial: trial.worth)
    return Decoder(best.settings, tuple(labels), durations), tuple(trials)


def judge_decoder(
    decoder: Decoder,
    probabilities: Sequence[ArrayLike],
    truths: Sequence[ArrayLike],
    *,
    bounds: Bounds,
    start: Sequence[int] | None = None,
    emphasis: float = 1.0,
) -> DecoderTrial:
    """What one decoder shows, judged as `choose_decoder` judges each of its own."""
    begin = [0] * len(truths) if start is None else list(start)
    shown = [decoder.decode(p) for p in probabilities]
    return replace(_judge(decoder.settings, shown, truths, begin, len(decoder.labels), bounds), emphasis=emphasis)


def _candidates(kind: DecoderKind, powers: Sequence[float], tilts: Sequence[float], lag: int) -> Iterator[DecoderSettings]:
    if kind == "raw":
        yield from (DecoderSettings(kind, tilt=tilt) for tilt in tilts)
    elif kind in CAUSAL_KINDS:
        weights = powers if kind in ("markov", "duration") else (1.0,)
        enters, confirms = _COARSE if len(weights) * len(tilts) > 1 else (_ENTER, _CONFIRM)
        for tilt, power, enter, confirm in product(tilts, weights, enters, confirms):
            yield DecoderSettings(kind, tilt=tilt, power=power, enter=enter, confirm=confirm)
    else:
        for tilt, power in product(tilts, powers):
            yield DecoderSettings(kind, tilt=tilt, power=power, lag=lag)


def _judge(
    settings: DecoderSettings, shown: Sequence[ArrayLike], truths: Sequence[ArrayLike], start: list[int], labels: int, bounds: Bounds
) -> DecoderTrial:
    judged = [judged_bars(np.asarray(t)[a:], np.asarray(s)[a:]) for t, s, a in zip(truths, shown, start, strict=True)]
    judged = [one for one in judged if len(one)]
    if not judged:
        return DecoderTrial(settings, 0.0, 0.0, float("inf"), float("inf"), float("inf"))
    flips = 1000 * sum(len(one.shown_pieces.boundaries) for one in judged) / sum(map(len, judged))
    delays = [detection_delays(one).median for one in judged]
    delay = float(np.nanmedian(delays)) if np.isfinite(delays).any() else float("nan")
    excess = 0.0
    if settings.kind in CAUSAL_KINDS:
        if bounds.flips is not None:
            excess += max(0.0, flips / (bounds.margin * bounds.flips) - 1)
        if bounds.delay is not None and np.isfinite(delay):
            excess += max(0.0, delay / max(bounds.margin * bounds.delay, 1e-9) - 1)
    f1, cover = np.mean([macro_f1(one, labels) for one in judged]), np.mean([covering(one) for one in judged])
    return DecoderTrial(settings, float(f1), float(cover), flips, delay, excess)
