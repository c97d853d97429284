"""What a regime network learns from: labels at several timeframes, and the inputs and targets made of them, whatever the seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.errors import DataError
from candelabra.models.regime_encoder import Mode
from candelabra.models.regime_inputs import RegimeInputs, candles_at, fit_regime_inputs
from candelabra.models.regime_logistic import RegimeLogistic, fit_regime_logistic
from candelabra.models.switching import SwitchingSettings, fit_switching
from candelabra.regimes.durations import DurationModel, fit_durations
from candelabra.regimes.purge import known_by
from candelabra.regimes.segmentation import UNLABELLED, Segmentation, runs
from candelabra.windows.alignment import asof_index

__all__ = ["COLUMNS", "RegimeData", "RegimeProblem", "RegimeTargets", "prepare_regimes", "regime_targets"]

COLUMNS: Final = 3
"""Targets of a timeframe, side by side: code, weight, nearness of a boundary; NaN where unlabelled."""

_SWITCHING_SEGMENTS: Final = 20
"""A switching model is heard where a timeframe has so many training segments; with fewer its numbers are chance."""


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
class RegimeProblem:
    """Fitted on training labels alone: the labels of each timeframe's head, what a network reads, and how long regimes last.

    ``durations`` by timeframe name, in bars of that timeframe.
    """

    heads: Mapping[str, tuple[str, ...]]
    inputs: RegimeInputs
    durations: Mapping[str, DurationModel]


@dataclass(frozen=True, eq=False)
class RegimeTargets:
    """The labels on the bars of a network's base timeframe; arrays per symbol.

    ``tables`` float32 ``(n, C)``: what a network is given of them, regime inputs or an anchor's logits; ``columns`` float32 ``(n, 3 x
    timeframes)``: see `COLUMNS`, NaN outside the training range; ``truths[tf]`` int16 ``(n,)``: codes known by the end of validation;
    ``ranges``: rows of the validation range.
    """

    heads: Mapping[str, tuple[str, ...]]
    tables: tuple[NDArray[np.float32], ...]
    columns: tuple[NDArray[np.float32], ...]
    truths: Mapping[str, tuple[NDArray[np.int16], ...]]
    ranges: tuple[tuple[int, int], ...]


def prepare_regimes(data: RegimeData, switching: SwitchingSettings | None = None, mode: Mode = "filtered") -> RegimeProblem:
    """Fit heads, durations, switching and logistic models, and scales.

    DataError where a timeframe has fewer than two labels to learn, or none in the validation range, so that nothing could be chosen on it.
    """
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
        if not _judgeable(data, name, heads[name]):
            raise DataError(
                f"{name}: the validation range has no label that was known by its end: a decoder cannot be chosen; hand in labels that "
                "reach into it, or leave the timeframe out"
            )
        place = np.full(len(data.labels) + 1, UNLABELLED, np.int16)
        place[kept] = np.arange(len(kept))
        own[name] = [place[c] for c in codes]  # -1 finds the last, which stays unlabelled
        durations[name] = fit_durations(own[name], len(kept))
        if durations[name].segments >= _SWITCHING_SEGMENTS:
            heard[name] = fit_switching(*_labelled(data, name, own[name]), heads[name], switching)
        if mode == "filtered":  # who sees what comes after a bar has no use for what a chart reader saw before it
            seen[name] = _logistic(data, name, own[name], heads[name])
    rows = [np.flatnonzero(c.close_time <= data.train_end_ms) for c in data.candles]
    return RegimeProblem(heads, fit_regime_inputs(data.candles, rows, data.base, heard, seen), durations)


def regime_targets(
    data: RegimeData, problem: RegimeProblem, given: Sequence[NDArray[np.float32]], candles: Sequence[Candles] | None = None
) -> RegimeTargets:
    """Targets on the bars of ``candles``, a symbol each: those of ``data`` (the default), or finer ones of the same symbols.

    ``given``: what a network is given of each bar of ``data``; finer bars have that of the last that has closed.
    """
    truths: dict[str, list[NDArray[np.int16]]] = {name: [] for name in problem.heads}
    tables, columns, ranges = [], [], []
    for number, bars in enumerate(candles or data.candles):
        table = given[number]
        if bars is not data.candles[number]:
            known = asof_index(bars.close_time, data.candles[number].close_time)
            table = np.where((known >= 0)[:, None], table[np.maximum(known, 0)], np.float32(0))
        targets = []
        for name, words in problem.heads.items():
            learned = data.codes(name, number, bars, data.train_end_ms, words)
            targets.append(_targets(*learned, problem.durations[name], bars.timeframe, timeframe(name)))
            truths[name].append(data.codes(name, number, bars, data.validation_end_ms, words)[0])
        first, stop = np.searchsorted(bars.close_time, (data.train_end_ms, data.validation_end_ms), "right")
        tables.append(table)
        columns.append(np.concatenate(targets, axis=1))
        ranges.append((int(first), int(stop)))
    known_truths = {name: tuple(codes) for name, codes in truths.items()}
    return RegimeTargets(problem.heads, tuple(tables), tuple(columns), known_truths, tuple(ranges))


def _own_codes(data: RegimeData, name: str) -> list[NDArray[np.int16]]:
    """Codes of the training bars of a timeframe's own candles, a symbol each."""
    found = []
    for number, candles in enumerate(data.candles):
        own = candles_at(candles, timeframe(name))
        code, _ = data.codes(name, number, own, data.train_end_ms)
        found.append(code[: int(np.searchsorted(own.close_time, data.train_end_ms, "right"))])
    return found


def _judgeable(data: RegimeData, name: str, words: tuple[str, ...]) -> bool:
    """Whether a bar of the validation range has a label that was known by its end."""
    for number, candles in enumerate(data.candles):
        own = candles_at(candles.between(end_ms=data.validation_end_ms), timeframe(name))
        code, _ = data.codes(name, number, own, data.validation_end_ms, words)
        if (code[own.close_time > data.train_end_ms] >= 0).any():
            return True
    return False


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
