"""The words and digits of a comparison: one vocabulary for the terminal, the card and the report."""

from __future__ import annotations

import math
from typing import Final

from candelabra.evaluation.results import Comparison, Evaluation, Measure
from candelabra.evaluation.skill import REFERENCE

__all__ = ["VOCABULARY", "best_baseline", "decimals", "in_words", "is_shrunk", "matters", "sentence"]

R2_FLOOR: Final = 0.005
SKILL_FLOOR: Final = 0.0025
TOO_LITTLE: Final = "better, too little to matter"
ZERO_MEAN: Final = "equal to the zero forecast (mean shrunk to 0)"
NO_DIRECTION: Final = "no forecast, the mean was shrunk to 0 on validation"
VOCABULARY: Final = (
    "Clearly better, clearly worse: the 95 % interval of the paired difference (bootstrap by weeks) excludes 0. Better, too little to "
    f"matter: the interval excludes 0, but the gain is below {R2_FLOOR} of R² or {100 * SKILL_FLOOR:.2f} % of a loss. Better, but may be "
    "luck: it excludes 0, but the p-value does not stay below 0.05 after the number of trials. Level: it contains 0, and the difference is "
    "above −0.01 of R² or −1 %. Behind, not clearly: it contains 0, and the difference is below that."
)


def in_words(found: Comparison) -> tuple[str, bool | None]:
    """Words for a comparison, and whether they are good (True), bad (False) or neither (None).

    The words are those of DESIGN law 8, with two things that take *clearly better* away: a gain too small to matter (`matters`) and a
    p-value that does not survive the number of trials.
    """
    if is_shrunk(found):
        return ZERO_MEAN, None
    if found.words == "clearly better":
        if not matters(found):
            return TOO_LITTLE, None
        if found.trials > 1 and found.adjusted_p_value > 0.05:
            return f"better, but may be luck among {found.trials} trials", None
        return "clearly better", True
    if found.words == "clearly worse":
        return "clearly worse", False
    if found.words == "level":
        return ("level, no skill found" if found.baseline == REFERENCE else "level"), None
    return "behind, not clearly", None


def matters(found: Comparison) -> bool:
    """Whether a difference is of practical size: 0.005 of R2, or 0.25 % of a loss."""
    return abs(found.value) >= (R2_FLOOR if found.measure == "r2" else SKILL_FLOOR)


def is_shrunk(found: Comparison) -> bool:
    """Whether a mean forecast is the zero forecast itself: no row differs, so neither does any resample."""
    return found.measure == "mse" and found.baseline == REFERENCE and max(abs(found.value), abs(found.low), abs(found.high)) < 1e-12


def best_baseline(evaluation: Evaluation, model: str, horizon: str, measure: Measure) -> Comparison | None:
    """``model`` against its hardest rival: the zero forecast for the mean, else the baseline that is best on these very rows."""
    if measure in ("mse", "mae"):
        return evaluation.compare(model, REFERENCE, horizon, measure)
    rivals = dict.fromkeys(c.baseline for c in evaluation.comparisons if c.model == model and c.baseline != REFERENCE)
    best = evaluation.best(tuple(rivals), horizon, measure)
    return evaluation.compare(model, best, horizon, measure) if best else None


def sentence(words: str, rival: str) -> str:
    """The words with what was compared with.

    >>> sentence("clearly better", "har"), sentence("level", "har"), sentence("behind, not clearly", "har")
    ('clearly better than har', 'level with har', 'behind har, not clearly')
    >>> sentence("better, too little to matter", "har")
    'better than har, too little to matter'
    """
    if words == ZERO_MEAN:
        return words
    head, *tail = words.split(", ", 1)
    link = {"level": " with ", "behind": " "}.get(head, " than ")
    return ", ".join((f"{head}{link}{rival}", *tail))


def decimals(low: float, high: float, least: int, most: int = 8) -> int:
    """Decimals that show on which side of 0 the ends of an interval lie: ``least``, or more where one would be written as 0.

    An interval that contains 0 gets at most one more: there, nothing hangs on the digit.

    >>> decimals(0.0004, 0.0021, 3), decimals(0.012, 0.02, 3), decimals(-0.0004, 0.0021, 3), decimals(-1e-6, 0.0021, 3)
    (4, 3, 4, 4)
    """
    nearest = min(abs(low), abs(high))
    if not (math.isfinite(low) and math.isfinite(high)) or nearest == 0.0:
        return least
    most = least + 1 if low < 0.0 < high else most
    return next((places for places in range(least, most) if round(nearest, places) > 0.0), most)
