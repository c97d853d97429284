"""From candles and labels at several timeframes to one fitted regime network: switching models, scales, targets, batches, the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.errors import DataError
from candelabra.models.regime_inputs import RegimeInputs, candles_at, fit_regime_inputs
from candelabra.models.regime_logistic import RegimeLogistic, fit_regime_logistic
from candelabra.models.regime_tcn import Mode, RegimeTcn, TcnSettings
from candelabra.models.switching import SwitchingModel, SwitchingSettings, fit_switching
from candelabra.regimes.durations import DurationModel, fit_durations
from candelabra.regimes.purge import known_by
from candelabra.regimes.segmentation import UNLABELLED, Segmentation, runs
from candelabra.training.loop import Progress, TrainingRun, train_network
from candelabra.training.regime_network import COLUMNS, RegimeTask, TcnNetwork
from candelabra.training.settings import TrainingSettings
from candelabra.windows.batches import SequenceBatches, SequencePart

__all__ = ["RegimeData", "RegimeFit", "fit_regime_network", "regime_training"]

_SWITCHING_SEGMENTS: Final = 20
"""A switching model is heard where a timeframe has so many training segments; with fewer its numbers are chance."""


def regime_training(sequence_length: int = 1024) -> TrainingSettings:
    """Training settings that a regime network starts from: few steps, for what it reads is already close to an answer."""
    return TrainingSettings(
        sequence_length=sequence_length, batch_size=16, steps=150, learning_rate=2e-3, warmup_steps=20, evaluate_every=15, patience=6,
        rehearsal=0.0, precision="float32", threads=1,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class RegimeData:
    """What may be learned from: base candles a symbol, a segmentation a symbol and timeframe (None: nobody labelled it), and the cuts.

    ``train_end_ms``, ``validation_end_ms``: labels that were not known by then are not learned from, or not judged by.
    """

    candles: tuple[Candles, ...]
    labels: tuple[str, ...]
    segmentations: Mapping[str, tuple[Segmentation | None, ...]]
    train_end_ms: int
    validation_end_ms: int

    @property
    def base(self) -> Timeframe:
        """The timeframe of the candles."""
        return self.candles[0].timeframe

    def codes(
        self, name: str, number: int, candles: Candles, end_ms: int, words: Sequence[str] | None = None
    ) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
        """Codes and confidences of one symbol's bars that were known at ``end_ms``, by ``words`` (default: the whole vocabulary).

        What was not known, or has a label that is not among ``words``, is unlabelled.
        """
        segmentation = self.segmentations[name][number]
        if segmentation is None:
            return np.full(len(candles), UNLABELLED, np.int16), np.zeros(len(candles), np.float32)
        bars = segmentation.on(candles)
        known = known_by(bars, end_ms) & (candles.close_time <= end_ms)
        place = {word: k for k, word in enumerate(words or self.labels)}
        places = np.array([place.get(word, UNLABELLED) for word in segmentation.labels], np.int16)
        return np.where(known, places[np.maximum(bars.code, 0)], UNLABELLED).astype(np.int16), np.where(known, bars.confidence, 0)


@dataclass(frozen=True, eq=False)
class RegimeFit:
    """A fitted network with what it reads; ``durations`` by timeframe name, in bars of that timeframe; how the trainings went."""

    inputs: RegimeInputs
    networks: tuple[RegimeTcn, ...]
    durations: Mapping[str, DurationModel]
    runs: tuple[TrainingRun, ...]

    @property
    def heads(self) -> Mapping[str, tuple[str, ...]]:
        """Labels of each timeframe."""
        return self.networks[0].heads

    def probabilities(self, candles: Candles) -> dict[str, NDArray[np.float64]]:
        """Mean chances of all networks ``(base bars, K)`` by timeframe name."""
        table = self.inputs.table(candles)
        told = [network.probabilities(table) for network in self.networks]
        return {name: np.mean([one[name] for one in told], axis=0) for name in self.heads}


def fit_regime_network(
    data: RegimeData,
    settings: TcnSettings | None = None,
    training: TrainingSettings | None = None,
    *,
    mode: Mode = "filtered",
    seed: int = 0,
    switching: SwitchingSettings | None = None,
    folder: Path | None = None,
    progress: Callable[[int], Progress] | None = None,
) -> RegimeFit:
    """Train ``training.seeds`` networks of one head a timeframe, jointly; DataError where a timeframe has fewer than two labels."""
    chosen, loop = settings or TcnSettings(), training or regime_training()
    torch.set_num_threads(loop.threads or 1)
    own = {name: _own_codes(data, name) for name in data.segmentations}
    heads, heard, seen, durations = {}, {}, {}, {}
    for name, codes in own.items():
        counts = np.bincount(np.concatenate([c[c >= 0] for c in codes]).astype(np.int64), minlength=len(data.labels))
        kept = [k for k, count in enumerate(counts) if count >= 2]
        if len(kept) < 2:
            there = data.labels[kept[0]] if kept else "none"
            raise DataError(
                f"{name}: the training range has {'one label' if kept else 'no label'} ({there}): a regime is told from another; hand in "
                "labels that reach into it, or leave the timeframe out"
            )
        heads[name] = tuple(data.labels[k] for k in kept)
        place = np.full(len(data.labels) + 1, UNLABELLED, np.int16)
        place[kept] = np.arange(len(kept))
        own[name] = [place[c] for c in codes]  # -1 finds the last, which stays unlabelled
        durations[name] = fit_durations(own[name], len(kept))
        if durations[name].segments >= _SWITCHING_SEGMENTS:
            heard[name] = _switching(data, name, own[name], heads[name], switching)
        if mode == "filtered":  # who sees what comes after a bar has no use for what a chart reader saw before it
            seen[name] = _logistic(data, name, own[name], heads[name])
    train_rows = [np.flatnonzero(c.close_time <= data.train_end_ms) for c in data.candles]
    inputs = fit_regime_inputs(data.candles, train_rows, data.base, heard, seen)
    tables = [inputs.table(c) for c in data.candles]
    truths: dict[str, list[NDArray[np.int16]]] = {name: [] for name in heads}
    parts, ranges = [], []
    for number, candles in enumerate(data.candles):
        end, stop = len(train_rows[number]), int(np.searchsorted(candles.close_time, data.validation_end_ms, "right"))
        columns = []
        for name, words in heads.items():
            learned = data.codes(name, number, candles, data.train_end_ms, words)
            columns.append(_targets(*learned, durations[name], data.base, timeframe(name)))
            truths[name].append(data.codes(name, number, candles, data.validation_end_ms, words)[0])
        ranges.append((end, stop))
        parts.append(SequencePart({data.base.name: tables[number]}, {}, np.concatenate(columns, axis=1), (0, end)))
    length = min(loop.sequence_length, max(end for _, end in (p.rows for p in parts)))
    batches = SequenceBatches(parts, base=data.base.name, aligned=(), coarse={}, links=(), length=length)
    masked = min(chosen.receptive_field // 2, length // 4)
    networks, runs_ = [], []
    for index in range(loop.seeds):
        torch.manual_seed(seed + index)
        network = TcnNetwork(tables[0].shape[1], chosen, heads, mode)
        task = RegimeTask(network, tables, truths, ranges, masked)
        runs_.append(
            train_network(
                task, batches, loop, seed=seed + index, stride=max(1, length - 2 * masked), precision="float32",
                folder=folder / f"seed-{seed + index}" if folder else None, progress=progress(index) if progress else None,
            )
        )  # fmt: skip
        networks.append(network.frozen())
    return RegimeFit(inputs, tuple(networks), durations, tuple(runs_))


def _own_codes(data: RegimeData, name: str) -> list[NDArray[np.int16]]:
    """Codes of the training bars of a timeframe's own candles, a symbol each."""
    found = []
    for number, candles in enumerate(data.candles):
        own = candles_at(candles, timeframe(name))
        code, _ = data.codes(name, number, own, data.train_end_ms)
        found.append(code[: int(np.searchsorted(own.close_time, data.train_end_ms, "right"))])
    return found


def _switching(
    data: RegimeData, name: str, codes: Sequence[NDArray[np.int16]], words: tuple[str, ...], settings: SwitchingSettings | None
) -> SwitchingModel:
    return fit_switching(*_labelled(data, name, codes), words, settings)


def _logistic(data: RegimeData, name: str, codes: Sequence[NDArray[np.int16]], words: tuple[str, ...]) -> RegimeLogistic:
    opposite = (words.index("bullish"), words.index("bearish")) if {"bullish", "bearish"} <= set(words) else None
    return fit_regime_logistic(*_labelled(data, name, codes), len(words), opposite=opposite)


def _labelled(data: RegimeData, name: str, codes: Sequence[NDArray[np.int16]]) -> tuple[list[Candles], list[NDArray[np.int16]]]:
    """A timeframe's own candles of the training range, and their codes, of the symbols that have labels there."""
    cut = [candles_at(c, timeframe(name)).rows(slice(0, len(code))) for c, code in zip(data.candles, codes, strict=True)]
    there = [(c, code) for c, code in zip(cut, codes, strict=True) if (code >= 0).any()]
    return [c for c, _ in there], [code for _, code in there]


def _targets(
    code: NDArray[np.int16], weight: NDArray[np.float32], durations: DurationModel, base: Timeframe, own: Timeframe
) -> NDArray[np.float32]:
    """Code, weight and nearness of a boundary ``(n, 3)``: a bell of 5 % of the mean segment around each; NaN where unlabelled."""
    out = np.full((len(code), COLUMNS), np.nan, np.float32)
    known = code >= 0
    out[known, 0], out[known, 1] = code[known], weight[known]
    first, _, value = runs(code)
    inner = first[1:][(value[1:] >= 0) & (value[:-1] >= 0)]
    width = max(1.0, 0.05 * float(durations.mean @ durations.share) * own.milliseconds / base.milliseconds)
    near = np.zeros(len(code))
    if len(inner):
        bars = np.arange(len(code))
        after = np.searchsorted(inner, bars)
        away = np.minimum(np.abs(bars - inner[np.minimum(after, len(inner) - 1)]), np.abs(bars - inner[np.maximum(after - 1, 0)]))
        near = np.exp(-0.5 * (away / width) ** 2)
    out[known, 2] = near[known]
    return out
