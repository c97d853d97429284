"""Are the regimes any good: every figure of a segmenter on the test range, beside what anyone could do without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

__all__ = ["FEW_SEGMENTS", "RegimeRow", "TimeframeVerdict", "judge_regimes"]

Codes = NDArray[np.int16]
FEW_SEGMENTS: Final = 100
"""With fewer training segments of a timeframe, what was learned of it is said to be unproven."""

PRODUCT: Final = "candelabra"


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
    """All rows of a timeframe, the product first; ``differences``: (rival, figure, product minus rival); what is to be said in words."""

    timeframe: str
    labels: tuple[str, ...]
    train_segments: int
    test_segments: int
    rows: tuple[RegimeRow, ...]
    differences: tuple[tuple[str, str, Difference], ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "timeframe": self.timeframe, "labels": list(self.labels), "train_segments": self.train_segments,
            "test_segments": self.test_segments, "rows": [row.as_dict() for row in self.rows], "notes": list(self.notes),
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
) -> TimeframeVerdict:
    """Judge a segmenter at one timeframe, a series of each symbol.

    ``learned[i]``: codes of the bars that could be learned from, from the first bar on (below 0: unlabelled); ``truth[i]`` ``(n,)``: codes
    of the bars that are judged, below 0 elsewhere; ``shown[i]``: the product's codes and chances ``(n,)``, ``(n, K)``. Rivals learn from
    the same bars. A rival whose library is missing, or that cannot be, is named in the notes.
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
    for method, (causal, told) in answers.items():
        judged = [
            segment_scores(t, code, p, labels=k, first_shown=code if causal else None)
            for t, (code, p) in zip(truth, told, strict=True)
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
    return TimeframeVerdict(timeframe, tuple(labels), durations.segments, segments, tuple(rows), tuple(differences), tuple(notes))


def _one(model: Any, candles: Candles) -> tuple[Codes, NDArray[np.float64] | None]:
    answer = model.answer(candles)
    return answer.code, answer.probabilities
