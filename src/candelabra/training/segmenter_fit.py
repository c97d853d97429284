"""From learning data to a `Segmenter`: the network once, then, for each timeframe, the source and the decoder that validation prefers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from candelabra.candles.timeframe import timeframe
from candelabra.models.regime_inputs import candles_at
from candelabra.models.regime_tcn import Mode, TcnSettings
from candelabra.models.segmenter import BaseStates, Segmenter, Source, TimeframeReader, chances, joint_chances, network_chances
from candelabra.models.switching import SwitchingSettings
from candelabra.regimes.decoding import DecoderKind
from candelabra.regimes.durations import DurationModel
from candelabra.training.decoder_choice import DecoderTrial, choose_decoder
from candelabra.training.loop import Progress
from candelabra.training.regime_fit import RegimeData, RegimeFit, fit_regime_network
from candelabra.training.regime_settings import Bounds
from candelabra.training.settings import TrainingSettings

__all__ = ["Choice", "SegmenterFit", "bounds_for", "fit_segmenter"]

_OPTIONS: Final[dict[Mode, tuple[tuple[Source, DecoderKind], ...]]] = {
    "filtered": (
        ("switching", "duration"), ("network", "hysteresis"), ("network", "markov"), ("network", "duration"), ("mean", "hysteresis"),
        ("mean", "markov"), ("joint", "hysteresis"), ("joint", "markov"), ("joint", "duration"),
    ),
    "smoothed": (
        ("switching", "viterbi"), ("switching", "semi_markov"), ("network", "viterbi"), ("network", "semi_markov"),
        ("mean", "viterbi"), ("mean", "semi_markov"),
    ),
}  # fmt: skip
"""What may be asked of each mode. A smoothed mean is of the smoothed network and the filtered belief."""


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
    """What is asked of a timeframe's decoder; at most twice as many changes as in training where no number of flips is."""
    if asked is not None and asked.flips is not None:
        return asked
    usual = 2000 / max(float(durations.mean @ durations.share), 1.0)
    margin = 1.0 if asked is None else asked.margin
    return Bounds(flips=usual / margin, delay=None if asked is None else asked.delay, margin=margin)  # the usual ones in full


def fit_segmenter(
    data: RegimeData,
    settings: TcnSettings | None = None,
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
        best: tuple[tuple[float, float], TimeframeReader] | None = None
        for source, kind in _open_options(mode, name in fit.inputs.switching, states is not None):
            given = [
                chances(source, c, base, fit.inputs, one.get(name), name, len(labels))[:stop]
                for c, base, one, stop in zip(own, seen, said if source == "joint" else told, stops, strict=True)
            ]
            decoder, trials = choose_decoder(
                kind, given, truths, labels, durations, bounds=bounds_for(durations, bounds), start=starts,
                powers=(1.0,) if source == "switching" else (0.1, 0.35, 1.0), tilts=(0.0,) if source == "switching" else (0.0, 0.3, 0.6),
            )  # fmt: skip
            trial = max(trials, key=lambda one: one.worth)
            choices.append(Choice(name, source, trial))
            if best is None or trial.worth > best[0]:
                best = trial.worth, TimeframeReader(source, decoder)
        assert best is not None
        readers[name] = best[1]
    return SegmenterFit(Segmenter(mode, fit.inputs, fit.networks, readers), fit, tuple(choices))


def _open_options(mode: Mode, switching: bool, joint: bool) -> Iterator[tuple[Source, DecoderKind]]:
    for source, kind in _OPTIONS[mode]:
        if {"network": True, "joint": joint}.get(source, switching):
            yield source, kind
