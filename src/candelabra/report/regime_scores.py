"""How good the regimes are: every figure of each timeframe on the test range, beside what anyone could do without a model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from candelabra.report import digits
from candelabra.report.markup import Cell, caption, number, table, words

__all__ = ["RegimeScores", "drawn_scores"]


@dataclass(frozen=True)
class RegimeScores:
    """One timeframe and mode: ``rows`` of (method, in hindsight, figures by name, F1 of each label); the model first.

    ``sentences``: comparisons in words; NaN figures are not known.
    """

    timeframe: str
    mode: str
    labels: tuple[str, ...]
    train_segments: int
    test_segments: int
    rows: tuple[tuple[str, bool, Mapping[str, float], tuple[float, ...]], ...]
    sentences: tuple[str, ...]


_COLUMNS: Final = (
    ("macro_f1", "Macro-F1", "mean of the labels' F1", 3),
    ("covering", "Covering", "how well the shown segments cover the true ones (Jaccard, weighted by length)", 3),
    ("boundary_f1_1", "Boundary F1 1 %", "within 1 % of the mean segment", 2),
    ("boundary_f1_5", "5 %", "within 5 % of the mean segment", 2),
    ("boundary_f1_10", "10 %", "within 10 % of the mean segment", 2),
    ("ari", "ARI", "adjusted Rand index", 2),
    ("wari", "WARI", "weighted: errors near boundaries count less", 2),
    ("state_matching", "State matching", "", 2),
    ("delay_median", "Delay", "bars until a new regime is shown, median", 0),
    ("delay_p90", "p90", "bars until a new regime is shown, 90th percentile", 0),
    ("missed", "Missed", "share of true segments never shown", 2),
    ("flips", "Flips", "changes shown in 1,000 bars", 1),
    ("true_flips", "True flips", "changes there are in 1,000 bars", 1),
    ("ece", "ECE", "expected calibration error of the chances", 3),
    ("brier", "Brier", "of the chances", 3),
    ("revisions", "Revised", "share of bars whose label was another when it was first shown", 3),
)


def drawn_scores(scores: Sequence[RegimeScores]) -> str:
    """Tables and sentences, a part for each timeframe and mode; nothing where there are none."""
    if not scores:
        return ""
    return "<h3>How good they are</h3>" + "".join(_one(one) for one in scores)


def _one(scores: RegimeScores) -> str:
    head = ("", *(name for _, name, _, _ in _COLUMNS), *(f"F1 {label}" for label in scores.labels))
    tips = ("", *(tip for _, _, tip, _ in _COLUMNS), *("of this label alone" for _ in scores.labels))
    rows = []
    for place, (method, hindsight, figures, own) in enumerate(scores.rows):
        cells: list[Cell] = [words(f"{method} (hindsight)" if hindsight else method, "strong" if place == 0 else "")]
        cells += [_cell(figures.get(key, math.nan), places) for key, _, _, places in _COLUMNS]
        rows.append([*cells, *(_cell(value, 2) for value in own)])
    title = f"{scores.timeframe}, {scores.mode}: {scores.train_segments:,} training segments, {scores.test_segments:,} in the test range"
    return f"<h4>{title}</h4>{table(head, rows, explanations=tips)}" + "".join(caption(text) for text in scores.sentences)


def _cell(value: float, places: int) -> Cell:
    return number(digits.DASH if math.isnan(value) else digits.fixed(value, places), value)
