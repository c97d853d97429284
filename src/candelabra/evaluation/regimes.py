"""Are the regimes any good: every figure of a segmenter on the test range, beside what anyone could do without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.errors import DataError, MissingExtraError
from candelabra.metrics.segment_differences import difference_over_segments
from candelabra.metrics.segments import SegmentScores, segment_scores
from candelabra.metrics.significance import Difference
from candelabra.models.regime_baselines import fit_majority, fit_trailing_rule, lagged_truth
from candelabra.models.regime_change_points import fit_change_point_labels
from candelabra.models.regime_hmm import fit_hmm
from candelabra.models.regime_trees import fit_regime_trees
from candelabra.regimes.durations import DurationModel
from candelabra.regimes.reading import RegimeReading

__all__ = ["FEW_SEGMENTS", "RegimeRow", "TimeframeVerdict", "judge_regimes", "labels_when_new"]

Codes = NDArray[np.int16]
FEW_SEGMENTS: Final = 100
"""With fewer training segments of a timeframe, what was learned of it is said to be unproven."""

PRODUCT: Final = "candelabra"
_BARS_READ: Final = 200_000
_LEAST_CUTS, _MOST_CUTS = 6, 24


@dataclass(frozen=True, eq=False)
class RegimeRow:
    """One method at one timeframe: ``scores`` of each symbol that has labels in the test range; ``causal``: it read no later bar."""

    method: str
    causal: bool
    scores: tuple[SegmentScores, ...]

    def mean(self, figure: str) -> float:
        """A figure averaged over symbols, NaN where no symbol has it."""
        values = np.array([getattr(one, figure) for one in self.scores], np.float64)
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    @property
    def class_f1(self) -> tuple[float, ...]:
        """F1 of each label, averaged over the symbols that have it; NaN where none has."""
        values = np.array([one.f1 for one in self.scores], np.float64)
        there = np.isfinite(values)
        return tuple(float(v[k].mean()) if k.any() else float("nan") for v, k in zip(values.T, there.T, strict=True))

    def as_dict(self) -> dict[str, Any]:
        """The means of all figures, ready for JSON (None for NaN); ``f1``: a value for each label."""
        names = [n for n in SegmentScores.__dataclass_fields__ if n != "f1"]
        means = {k: v if np.isfinite(v) else None for k, v in ((name, self.mean(name)) for name in names)}
        return {"method": self.method, "causal": self.causal, "f1": [v if np.isfinite(v) else None for v in self.class_f1]} | means


@dataclass(frozen=True, eq=False)
class TimeframeVerdict:
    """All rows of a timeframe, the product first; ``differences``: (rival, figure, product minus rival); what is to be said in words.

    ``revised``: of how many labels, looked at when their bar was the newest, how many later became another (measured, whatever the mode).
    """

    timeframe: str
    labels: tuple[str, ...]
    train_segments: int
    test_segments: int
    rows: tuple[RegimeRow, ...]
    differences: tuple[tuple[str, str, Difference], ...]
    notes: tuple[str, ...]
    revised: tuple[int, int] = (0, 0)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "timeframe": self.timeframe, "labels": list(self.labels), "train_segments": self.train_segments,
            "test_segments": self.test_segments, "rows": [row.as_dict() for row in self.rows], "notes": list(self.notes),
            "revised": {"labels": self.revised[0], "of": self.revised[1]},
            "differences": [
                {"over": rival, "figure": figure, "value": d.value, "low": d.low, "high": d.high} for rival, figure, d in self.differences
            ],
        }  # fmt: skip


def judge_regimes(
    timeframe: str,
    labels: Sequence[str],
    candles: Sequence[Candles],
    learned: Sequence[Codes],
    truth: Sequence[Codes],
    shown: Sequence[tuple[Codes, NDArray[np.float64]]],
    durations: DurationModel,
    *,
    smoothed: bool = False,
    when_new: Sequence[Codes] | None = None,
) -> TimeframeVerdict:
    """Judge a segmenter at one timeframe, a series of each symbol.

    ``learned[i]``: codes of the bars that could be learned from, from the first bar on (below 0: unlabelled); ``truth[i]`` ``(n,)``: codes
    of the bars that are judged, below 0 elsewhere; ``shown[i]``: the product's codes and chances ``(n,)``, ``(n, K)``; ``when_new[i]``:
    what it said of some bars when they were new (`labels_when_new`). Rivals learn from the same bars. A rival whose library is missing, or
    that cannot be, is named in the notes.
    """
    k, notes = len(labels), []
    answers: dict[str, tuple[bool, list[tuple[Codes, NDArray[np.float64] | None]]]] = {PRODUCT: (not smoothed, list(shown))}
    cut = [c.rows(slice(0, len(code))) for c, code in zip(candles, learned, strict=True)]

    def add(method: str, causal: bool, make: Callable[[], list[tuple[Codes, NDArray[np.float64] | None]]]) -> None:
        try:
            answers[method] = causal, make()
        except (MissingExtraError, DataError) as error:
            notes.append(f"{method} is left out: {error}")

    def of(model: Any) -> list[tuple[Codes, NDArray[np.float64] | None]]:
        return [(a.code, a.probabilities) for a in (model.answer(c) for c in candles)]

    late = max(1, round(float(durations.mean @ durations.share) / 12))
    add("majority", True, lambda: of(fit_majority(cut, learned, k)))
    add("trailing rule", True, lambda: of(fit_trailing_rule(cut, learned, labels)))
    add("HMM, filtered", True, lambda: [_one(fit_hmm(c, code, k), own) for c, code, own in zip(cut, learned, candles, strict=True)])
    add("LightGBM", True, lambda: of(fit_regime_trees(cut, learned, k)))
    add(f"truth, {late} bars late", False, lambda: [(lagged_truth(t, late, k).code, None) for t in truth])
    if smoothed:
        add("kernel change points", False, lambda: of(fit_change_point_labels(cut, learned, k)))
    rows = []
    looked = list(when_new) if when_new is not None else [np.full(len(code), -1, np.int16) for code, _ in shown]
    for method, (causal, told) in answers.items():
        first = looked if method == PRODUCT and when_new is not None else [code if causal else None for code, _ in told]
        judged = [
            segment_scores(t, code, p, labels=k, first_shown=before)
            for t, (code, p), before in zip(truth, told, first, strict=True)
            if (t >= 0).any()
        ]
        rows.append(RegimeRow(method, causal, tuple(judged)))
    segments = sum(one.segments for one in rows[0].scores)
    differences = []
    for rival in ("trailing rule", "HMM, filtered"):
        if rival in answers and segments >= 2:
            theirs, ours = [code for code, _ in answers[rival][1]], [code for code, _ in shown]
            for figure in ("macro_f1", "covering"):
                differences.append((rival, figure, difference_over_segments(truth, ours, theirs, k, figure)))
    if durations.segments < FEW_SEGMENTS:
        notes.append(
            f"{timeframe}: {durations.segments} training segments are too few to learn from (about {FEW_SEGMENTS} are a beginning, 300 are "
            "enough): label more history or more symbols; till then trust the trailing rule"
        )
    changed = sum(int(((new >= 0) & (new != code)).sum()) for new, (code, _) in zip(looked, shown, strict=True))
    revised = changed, sum(int((new >= 0).sum()) for new in looked)
    if changed and not smoothed:
        notes.append(f"{timeframe}: {changed} of {revised[1]} labels became another after they were shown, which filtered ones never may")
    return TimeframeVerdict(timeframe, tuple(labels), durations.segments, segments, tuple(rows), tuple(differences), tuple(notes), revised)


def labels_when_new(
    read: Callable[[Candles], Mapping[str, RegimeReading]], base: Candles, whole: Mapping[str, RegimeReading], start_ms: int, end_ms: int
) -> dict[str, Codes]:
    """Codes by timeframe of the bars of ``whole`` as ``read`` had them when they were the newest, -1 for bars that were not looked at.

    History is cut at some closes between two times at which bars of every timeframe close, more of them where it is short.
    """
    found = {name: np.full(len(one), -1, np.int16) for name, one in whole.items()}
    slowest = max(whole.values(), key=lambda one: one.timeframe)
    both = np.intersect1d(slowest.close_time, base.close_time)
    both = both[(both > start_ms) & (both <= end_ms)]
    count = int(np.clip(_BARS_READ // max(len(base), 1), _LEAST_CUTS, _MOST_CUTS))
    for moment in both[np.unique(np.linspace(0, len(both) - 1, count).astype(int))].tolist() if len(both) else ():
        for name, one in read(base.between(end_ms=moment)).items():
            row = int(np.searchsorted(whole[name].close_time, one.close_time[-1])) if len(one) else -1
            if row >= 0:
                found[name][row] = one.code[-1]
    return found


def _one(model: Any, candles: Candles) -> tuple[Codes, NDArray[np.float64] | None]:
    answer = model.answer(candles)
    return answer.code, answer.probabilities
