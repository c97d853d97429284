"""Active learning: the stretches where a human label would teach most, with the model's best guess, as a table to edit and hand back.

A bar is worth a look where the label shown at its close is not the one that hindsight gives, where two labels are nearly as likely, and
where it contradicts a coarser timeframe; a bar that somebody has labelled is not. A stretch is worth the mean of its bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.hindsight import Hindsight
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import DataError, UsageError
from candelabra.regimes.consistency import consistency
from candelabra.regimes.nesting import OPPOSITES
from candelabra.regimes.reading import RegimeReading
from candelabra.regimes.reading_files import write_columns
from candelabra.regimes.segmentation import Segmentation
from candelabra.regimes.stretches import spread_choice, whole_stretches

__all__ = ["SuggestSettings", "Suggestions", "suggest"]

Floats = NDArray[np.float64]
_TOLD: Final = 0.05  # share of bars from which a reason is worth a word


@dataclass(frozen=True)
class SuggestSettings:
    """``least_bars``, ``most_bars``: of a stretch; the others weigh what makes a bar worth a look, as far as it can be known."""

    least_bars: int = 12
    most_bars: int = 120
    disagreement: float = 1.0
    margin: float = 1.0
    conflict: float = 0.5

    def __post_init__(self) -> None:
        if not 1 <= self.least_bars <= self.most_bars:
            raise UsageError(
                f"stretches of {self.least_bars} to {self.most_bars} bars cannot be: at least 1, and the most not below the least"
            )
        weights = (self.disagreement, self.margin, self.conflict)
        if min(weights) < 0 or not sum(weights):
            raise UsageError(f"weights {weights}: each is 0 or more, and one of them above 0")


@dataclass(frozen=True, eq=False)
class Suggestions(Hindsight):
    """Stretches to label, the most instructive first, none overlapping: a row each ``(m,)``.

    ``label`` is a guess, the most frequent one of the stretch by the best reading there is; ``confidence``: the mean probability of it.
    ``score`` in [0, 1], and the shares that it is made of; ``reason`` in words. ``known_at``: when the guess could have been made.
    """

    symbol: str
    timeframe: Timeframe
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    label: tuple[str, ...]
    confidence: Floats
    score: Floats
    disagreement: Floats
    margin: Floats
    conflict: Floats
    reason: tuple[str, ...]
    known_at: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start)

    def columns(self) -> dict[str, NDArray[Any]]:
        """A learning set's columns, with the reason as note, and the figures behind it.

        Without ``known_at``: whoever hands a row back has looked at it and vouches for its label, as for one that he drew himself.
        """
        n = len(self)
        words = {"label": np.array(self.label, dtype=np.str_), "confidence": self.confidence, "note": np.array(self.reason, dtype=np.str_)}
        figures = {"score": self.score, "disagreement": self.disagreement, "small_margin": self.margin, "conflict": self.conflict}
        market = {"symbol": np.full(n, self.symbol), "timeframe": np.full(n, self.timeframe.name), "start": self.start, "end": self.end}
        return market | words | figures

    def write(self, path: str | Path) -> Path:
        """Write as CSV, Parquet or JSON lines, whole or not at all; edited, it is read by `learning_files.read_learning_set`."""
        return write_columns(self.columns(), path)


def suggest(
    filtered: RegimeReading,
    smoothed: RegimeReading | None = None,
    others: Sequence[RegimeReading] = (),
    known: Segmentation | None = None,
    count: int = 20,
    *,
    settings: SuggestSettings | None = None,
    opposites: Sequence[tuple[str, str]] = OPPOSITES,
) -> Suggestions:
    """At most ``count`` stretches of the bars of ``filtered``, spread over time, that are worth a label.

    ``smoothed``: the same bars in hindsight, the better guess where it is there; ``others``: filtered readings of coarser timeframes;
    ``known``: what is labelled already, which is not asked again. UsageError when they do not fit each other.
    """
    chosen = settings or SuggestSettings()
    if count < 1:
        raise UsageError(f"{count} stretches cannot be suggested: ask for 1 or more")
    best = _fitting(filtered, smoothed)
    differ = (
        np.zeros(len(filtered), bool)
        if smoothed is None
        else (filtered.code != smoothed.code) & (filtered.code >= 0) & (smoothed.code >= 0)
    )
    doubt = _small_margin(filtered.probabilities)
    coarser = [one for one in others if one.timeframe > filtered.timeframe]
    across = consistency([filtered, *coarser], opposites).conflict
    against = across.any(axis=1)
    weights = np.array([chosen.disagreement * (smoothed is not None), chosen.margin, chosen.conflict * bool(coarser)])
    worth = np.column_stack([differ, doubt, against]) @ weights / max(float(weights.sum()), 1e-12)
    open_ = (best.code >= 0) & ~_labelled(filtered, known)
    first, stop = whole_stretches(best.code, open_, chosen.least_bars, chosen.most_bars)
    mean = _means(np.column_stack([worth, differ, doubt, against]), first, stop)
    row = spread_choice(mean[:, 0], filtered.open_time[first], filtered.close_time[stop - 1], count)
    first, stop, mean = first[row], stop[row], mean[row]
    shares = _means((best.code[:, None] == np.arange(len(best.labels))[None]).astype(np.float64), first, stop)
    code = shares.argmax(axis=1) if len(shares) else np.zeros(0, np.int64)
    sure = np.nan_to_num(_means(np.nan_to_num(best.probabilities), first, stop))[np.arange(len(code)), code]
    reasons = [
        _reason(filtered, coarser, across[a:b], shares_, doubt_of, filtered.probabilities[a:b])
        for a, b, shares_, doubt_of in zip(first.tolist(), stop.tolist(), mean[:, 1:].tolist(), mean[:, 2].tolist(), strict=True)
    ]
    return Suggestions(
        filtered.symbol, filtered.timeframe, filtered.open_time[first], filtered.close_time[stop - 1], tuple(best.labels[c] for c in code),
        np.clip(sure, 0, 1), mean[:, 0], mean[:, 1], mean[:, 2], mean[:, 3], tuple(reasons), best.said_at[stop - 1],
    )  # fmt: skip


def _fitting(filtered: RegimeReading, smoothed: RegimeReading | None) -> RegimeReading:
    """The reading to guess by; UsageError when the two do not speak of the same bars and labels."""
    where = f"{filtered.symbol} {filtered.timeframe}"
    if filtered.mode != "filtered" or filtered.lag:
        raise UsageError(f"{where}: a {type(filtered).__name__} stands for the filtered reading: give one that says each bar at its close")
    if smoothed is None:
        return filtered
    if (smoothed.symbol, smoothed.timeframe, smoothed.labels) != (filtered.symbol, filtered.timeframe, filtered.labels):
        raise UsageError(
            f"{where}: the smoothed reading is of {smoothed.symbol} {smoothed.timeframe}, or of other labels: give one of both"
        )
    if not np.array_equal(smoothed.open_time, filtered.open_time):
        raise DataError(f"{where}: the filtered and the smoothed reading are of other bars: read the same candles with both")
    return smoothed


def _small_margin(probabilities: Floats) -> Floats:
    """One minus what lies between the two likeliest labels, 0 where nothing is known ``(n,)``."""
    if probabilities.shape[1] < 2:
        return np.zeros(len(probabilities))
    two = np.sort(probabilities, axis=1)[:, -2:]
    return np.nan_to_num(1 - (two[:, 1] - two[:, 0]))


def _labelled(reading: RegimeReading, known: Segmentation | None) -> NDArray[np.bool_]:
    if known is None or not len(known):
        return np.zeros(len(reading), bool)
    row = np.searchsorted(known.start, reading.open_time, "right") - 1
    return np.asarray((row >= 0) & (reading.open_time < known.end[row]))


def _means(values: Floats, first: NDArray[np.int64], stop: NDArray[np.int64]) -> Floats:
    """Means of columns ``(n, C)`` over stretches ``(m, C)``."""
    total = np.vstack([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    return np.asarray((total[stop] - total[first]) / np.maximum(stop - first, 1)[:, None])


def _reason(
    filtered: RegimeReading, coarser: list[RegimeReading], across: NDArray[np.bool_], shares: list[float], doubt: float, beliefs: Floats
) -> str:
    """Why a stretch is worth a label, the strongest reason first."""
    told = []
    if shares[0] >= _TOLD:
        told.append((shares[0], f"hindsight differs from what was shown on {shares[0]:.0%} of bars"))
    known = beliefs[np.isfinite(beliefs).all(axis=1)]
    if len(known) and beliefs.shape[1] > 1:
        usual = known.mean(axis=0)
        two = np.argsort(-usual, kind="stable")[:2]
        told.append((doubt, "in doubt: " + ", ".join(f"{filtered.labels[k]} {usual[k]:.2f}" for k in two)))
    for t, one in enumerate(sorted(coarser, key=lambda reading: reading.timeframe), 1):
        share = float(across[:, t].mean())
        if share >= _TOLD:
            told.append((share, f"against {one.timeframe} on {share:.0%} of bars"))
    return "; ".join(words for _, words in sorted(told, key=lambda one: -one[0])) or "nobody has labelled it"
