"""`segment_scores`: every figure about labelled segments at once, so that none is shown without its counterweights.

How right (macro-F1), how well cut (covering, boundary F1), how late (delay, missed), how jittery (flips), how honest (ECE, Brier), and what
kinds of errors. Bars that nobody labelled are masked; ``unshown`` says how many labelled bars got no answer.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from candelabra.errors import DataError
from candelabra.metrics.judged_bars import JudgedBars, judged_bars
from candelabra.metrics.probabilities import brier_score, expected_calibration_error
from candelabra.metrics.segment_bounds import boundary_f1, covering, detection_delays
from candelabra.metrics.state_matching import adjusted_rand, state_errors, weighted_adjusted_rand

__all__ = ["SegmentScores", "class_f1", "macro_f1", "revision_rate", "segment_scores"]


@dataclass(frozen=True)
class SegmentScores:
    """Figures of one method on the bars of one series; NaN where there is nothing to judge.

    ``bars`` judged, true ``segments`` in them, ``unshown``: share of labelled bars without an answer. ``f1``: a value for each label (NaN
    where it is neither true nor shown); ``macro_f1`` their mean. ``boundary_f1_1``, ``_5``, ``_10``: pairs within so many percent of the
    mean segment. ``delay_median``, ``delay_p90`` in bars, ``missed``: share of segments never noticed. ``flips``, ``true_flips``: changes
    in 1,000 bars. ``late``, ``transition``, ``isolation``, ``missing``: shares of bars in errors of each kind. ``revisions``: share of
    bars whose label was another when it was first shown.
    """

    bars: int
    segments: int
    unshown: float
    accuracy: float
    macro_f1: float
    f1: tuple[float, ...]
    covering: float
    boundary_f1_1: float
    boundary_f1_5: float
    boundary_f1_10: float
    ari: float
    wari: float
    state_matching: float
    late: float
    transition: float
    isolation: float
    missing: float
    delay_median: float
    delay_p90: float
    missed: float
    flips: float
    true_flips: float
    ece: float
    brier: float
    revisions: float

    def as_dict(self) -> dict[str, Any]:
        """By name, ready for JSON but for NaN."""
        return asdict(self)


def class_f1(bars: JudgedBars, labels: int) -> tuple[float, ...]:
    """F1 of each label, NaN where it is neither true nor shown."""
    hit = np.bincount(bars.truth[bars.truth == bars.shown], minlength=labels)
    both = np.bincount(bars.truth, minlength=labels) + np.bincount(bars.shown, minlength=labels)
    return tuple(2.0 * float(h) / float(b) if b else float("nan") for h, b in zip(hit, both, strict=True))


def macro_f1(bars: JudgedBars, labels: int) -> float:
    """Mean F1 of the labels that are true or shown anywhere; NaN without bars."""
    values = [f for f in class_f1(bars, labels) if f == f]
    return float(np.mean(values)) if values else float("nan")


def revision_rate(first_shown: ArrayLike, shown: ArrayLike) -> float:
    """Share of bars whose label was another one when it was first shown: 0 for a causal method. NaN without bars.

    >>> revision_rate([0, 0, 1, -1], [0, 1, 1, 1])
    0.3333333333333333
    """
    bars = judged_bars(shown, first_shown)
    return float(np.mean(bars.truth != bars.shown)) if len(bars) else float("nan")


def segment_scores(
    truth: ArrayLike,
    shown: ArrayLike,
    probabilities: ArrayLike | None = None,
    *,
    labels: int | None = None,
    first_shown: ArrayLike | None = None,
) -> SegmentScores:
    """All figures; ``truth``, ``shown`` codes ``(n,)`` (below 0: none), ``probabilities`` ``(n, labels)``, NaN where there are none.

    ``labels``: size of the vocabulary (default: the largest code that occurs, or the columns). ``first_shown`` ``(n,)``: what was said of
    each bar at first, where later words replace it. DataError where the columns do not fit.

    >>> s = segment_scores([0, 0, 0, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1, 1, 1])
    >>> round(s.macro_f1, 3), s.covering, s.delay_median, s.late
    (0.873, 0.775, 1.0, 0.125)
    """
    bars = judged_bars(truth, shown)
    largest = int(max(np.max(np.asarray(truth), initial=-1), np.max(np.asarray(shown), initial=-1))) + 1
    columns = largest if probabilities is None else np.asarray(probabilities).shape[-1]
    kinds = max(columns, 1) if labels is None else labels
    if largest > kinds:
        raise DataError(f"a label of code {largest - 1} does not fit a vocabulary of {kinds}: codes run from 0 to one less than its size")
    n = len(bars)
    errors, delays = state_errors(bars), detection_delays(bars)
    thousand = 1000.0 / n if n else float("nan")
    return SegmentScores(
        bars=n,
        segments=len(bars.true_pieces.first),
        unshown=1.0 - n / bars.labelled if bars.labelled else float("nan"),
        accuracy=float(np.mean(bars.truth == bars.shown)) if n else float("nan"),
        macro_f1=macro_f1(bars, kinds),
        f1=class_f1(bars, kinds),
        covering=covering(bars),
        boundary_f1_1=boundary_f1(bars, 0.01),
        boundary_f1_5=boundary_f1(bars, 0.05),
        boundary_f1_10=boundary_f1(bars, 0.10),
        ari=adjusted_rand(bars),
        wari=weighted_adjusted_rand(bars),
        state_matching=errors.score,
        late=errors.delay,
        transition=errors.transition,
        isolation=errors.isolation,
        missing=errors.missing,
        delay_median=delays.median,
        delay_p90=delays.p90,
        missed=delays.missed,
        flips=thousand * len(bars.shown_pieces.boundaries),
        true_flips=thousand * len(bars.true_pieces.boundaries),
        ece=float("nan") if probabilities is None else expected_calibration_error(truth, probabilities),
        brier=float("nan") if probabilities is None else brier_score(truth, probabilities),
        revisions=float("nan") if first_shown is None else revision_rate(first_shown, shown),
    )
