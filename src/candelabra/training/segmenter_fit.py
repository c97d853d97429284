"""From learning data to a `Segmenter`: the network once, then, for each timeframe, the source and the decoder that validation prefers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.timeframe import timeframe
from candelabra.metrics.segment_differences import difference_over_segments
from candelabra.models.regime_encoder import EncoderSettings, Mode
from candelabra.models.regime_inputs import candles_at
from candelabra.models.segmenter import (
    OF_FEW_NUMBERS,
    BaseStates,
    Segmenter,
    Source,
    TimeframeReader,
    chances,
    joint_chances,
    network_chances,
)
from candelabra.models.switching import SwitchingSettings
from candelabra.regimes.decoding import Decoder, DecoderKind
from candelabra.regimes.durations import DurationModel
from candelabra.regimes.segmentation import runs
from candelabra.training.decoder_choice import DecoderTrial, choose_decoder, judge_decoder
from candelabra.training.loop import Progress
from candelabra.training.regime_fit import RegimeData, RegimeFit, fit_regime_network
from candelabra.training.regime_settings import Bounds
from candelabra.training.settings import TrainingSettings

__all__ = ["Choice", "SegmenterFit", "bounds_for", "fit_segmenter"]

_OPTIONS: Final[dict[Mode, tuple[tuple[Source, DecoderKind], ...]]] = {
    "filtered": (
        ("switching", "duration"), ("logistic", "hysteresis"), ("network", "hysteresis"), ("network", "markov"), ("network", "duration"),
        ("mean", "hysteresis"), ("mean", "markov"), ("joint", "hysteresis"), ("joint", "markov"), ("joint", "duration"),
    ),
    "smoothed": (
        ("switching", "viterbi"), ("switching", "semi_markov"), ("network", "viterbi"), ("network", "semi_markov"),
        ("mean", "viterbi"), ("mean", "semi_markov"),
    ),
}  # fmt: skip
"""What may be asked of each mode. A smoothed mean is of the smoothed network and the filtered belief."""

_POWERS: Final = (0.1, 0.35, 1.0)
_TILTS: Final[dict[Source, tuple[float, ...]]] = {
    "switching": (0.0,), "logistic": (0.0, 0.25, 0.5, 0.75, 1.0), "network": (0.0, 0.3, 0.6), "mean": (0.0, 0.3, 0.6),
    "joint": (0.0, 0.3, 0.6),
}  # fmt: skip
_EMPHASIS: Final[dict[Mode, float]] = {"filtered": 8.0, "smoothed": 1.0}
"""How much macro-F1 counts beside covering. Fewer changes are bought with rare labels, and cheaply: with both alike, what was said of BTC
was calm and often wrong, its macro-F1 below a rule's that any chart reader knows.
"""

_TELLING: Final = 20
"""Validation segments from which an interval over them is believed: of eight, four at a time, it is far too narrow."""


@dataclass(frozen=True)
class Choice:
    """What validation said of one source and decoder of one timeframe."""

    timeframe: str
    source: Source
    trial: DecoderTrial


@dataclass(frozen=True, eq=False)
class SegmenterFit:
    """The segmenter, the network's fit, and every choice that was weighed (the best setting of each source and decoder)."""

    segmenter: Segmenter
    network: RegimeFit
    choices: tuple[Choice, ...]


def bounds_for(durations: DurationModel, asked: Bounds | None = None) -> Bounds:
    """What is asked of a timeframe's decoder; at most four times as many changes as in training where no number of flips is.

    A trailing rule makes about eight times as many of labels drawn with hindsight; within twice as many no filter has its macro-F1.
    """
    if asked is not None and asked.flips is not None:
        return asked
    usual = 4000 / max(float(durations.mean @ durations.share), 1.0)
    margin = 1.0 if asked is None else asked.margin
    return Bounds(flips=usual / margin, delay=None if asked is None else asked.delay, margin=margin)  # the usual ones in full


def fit_segmenter(
    data: RegimeData,
    settings: EncoderSettings | None = None,
    training: TrainingSettings | None = None,
    *,
    mode: Mode = "filtered",
    bounds: Bounds | None = None,
    seed: int = 0,
    switching: SwitchingSettings | None = None,
    folder: Path | None = None,
    progress: Callable[[int], Progress] | None = None,
    network: RegimeFit | None = None,
    states: Sequence[BaseStates] | None = None,
) -> SegmenterFit:
    """Train and choose. ``bounds`` hold filtered decoders (see `bounds_for`).

    ``network``: already trained on the same data; ``states``: how a network that forecasts corrects it, at base bars of each symbol.
    DataError where a timeframe has too few labels, see `prepare_regimes`.
    """
    fit = network or fit_regime_network(
        data, settings, training, mode=mode, seed=seed, switching=switching, folder=folder, progress=progress
    )
    # a smoothed network reads ahead: what closes after validation must not be there when its decoder is chosen
    seen = [c.between(end_ms=data.validation_end_ms) for c in data.candles]
    told = [network_chances(fit.networks, fit.inputs, candles) for candles in seen]
    said = [joint_chances(fit.networks, fit.inputs, c, s) for c, s in zip(seen, states, strict=True)] if states is not None else told
    readers, choices = {}, []
    for name, labels in fit.heads.items():
        durations = fit.durations[name]
        own = [candles_at(c, timeframe(name)) for c in seen]
        stops = [int(np.searchsorted(c.close_time, data.validation_end_ms, "right")) for c in own]
        starts = [int(np.searchsorted(c.close_time, data.train_end_ms, "right")) for c in own]
        truths = [
            data.codes(name, number, c.rows(slice(0, stop)), data.validation_end_ms, labels)[0]
            for number, (c, stop) in enumerate(zip(own, stops, strict=True))
        ]
        tried, limits = [], bounds_for(durations, bounds)
        for source, kind in _open_options(mode, name in fit.inputs.switching, states is not None):
            given = [
                chances(source, c, base, fit.inputs, one.get(name), name, len(labels))[:stop]
                for c, base, one, stop in zip(own, seen, said if source == "joint" else told, stops, strict=True)
            ]
            decoder, trials = choose_decoder(
                kind, given, truths, labels, durations, bounds=limits, start=None if source == "logistic" else starts, tilts=_TILTS[source],
                powers=(1.0,) if source == "switching" else _POWERS, emphasis=_EMPHASIS[mode],
            )  # fmt: skip
            choices.append(Choice(name, source, max(trials, key=lambda one: one.worth)))
            overall = judge_decoder(decoder, given, truths, bounds=replace(limits, margin=1.0), emphasis=_EMPHASIS[mode])
            tried.append(_Tried(choices[-1], decoder, overall, [decoder.decode(p)[a:] for p, a in zip(given, starts, strict=True)]))
        best = _preferred(tried, [t[a:] for t, a in zip(truths, starts, strict=True)], mode)
        readers[name] = TimeframeReader(best.choice.source, best.decoder)
    return SegmenterFit(Segmenter(mode, fit.inputs, fit.networks, readers), fit, tuple(choices))


def _open_options(mode: Mode, switching: bool, joint: bool) -> Iterator[tuple[Source, DecoderKind]]:
    for source, kind in _OPTIONS[mode]:
        if {"network": True, "logistic": True, "joint": joint}.get(source, switching):
            yield source, kind


@dataclass(frozen=True, eq=False)
class _Tried:
    """A choice, its decoder, how both do on train and validation, and what they show on the validation range of each symbol."""

    choice: Choice
    decoder: Decoder
    overall: DecoderTrial
    shown: list[NDArray[np.int16]]


def _preferred(tried: list[_Tried], truths: list[NDArray[np.int16]], mode: Mode) -> _Tried:
    """The best source of few numbers, unless the best of the others is clearly better on validation; smoothed: the best of all.

    Of two that nothing tells apart the one of fewer numbers keeps more of its quality on other bars. Among themselves those are compared on
    the training range too, which they do not know by heart: validation has few segments.
    """
    best = max(tried, key=lambda one: one.choice.trial.worth)
    plain = [one for one in tried if one.choice.source in OF_FEW_NUMBERS]
    if mode == "smoothed" or not plain:
        return best
    held = max(plain, key=lambda one: one.overall.worth)
    rich = [one for one in tried if one.choice.source not in OF_FEW_NUMBERS]
    better = max(rich, key=lambda one: one.choice.trial.worth, default=held)
    if better is held or better.choice.trial.excess > held.choice.trial.excess:  # bounds first
        return held
    labels = len(held.decoder.labels)
    if sum(int((runs(t)[2] >= 0).sum()) for t in truths) < _TELLING:
        return held
    f1, cover = (difference_over_segments(truths, better.shown, held.shown, labels, figure) for figure in ("macro_f1", "covering"))
    gained = _EMPHASIS[mode] * f1.value + cover.value > 0
    return better if gained and max(f1.low, cover.low) > 0 and min(f1.high, cover.high) >= 0 else held
