"""A learning set looked at before it is trusted: flaws of the file, gaps, shares, durations, annotators, timeframes, candles, the split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Final, Literal

import numpy as np

from candelabra.candles.frame import Candles, format_time
from candelabra.errors import DataError
from candelabra.regimes.consensus import covering, differing
from candelabra.regimes.label_rows import Flaw
from candelabra.regimes.learning_set import LearningSet
from candelabra.regimes.nesting import OPPOSITES, Nesting, nested
from candelabra.regimes.purge import hindsight_span_ms
from candelabra.regimes.review_checks import (
    Finding,
    beyond_candles,
    classes,
    disagreement,
    few_segments,
    missing_in_train,
    odd_words,
    over_cuts,
    single_bars,
    too_early,
)
from candelabra.regimes.segmentation import Segmentation

__all__ = ["FEW_SEGMENTS", "Disagreement", "Finding", "LabelReview", "SegmentationReview", "require_trainable", "review"]

FEW_SEGMENTS: Final = 300
"""Labelled segments of a timeframe below which a model that learns from them alone rarely beats a plain rule (measured)."""

Verdict = Literal["good", "few segments", "doubtful", "unusable"]
_QUANTILES: Final = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class SegmentationReview:
    """One annotator's segments of one market in figures; durations in bars: 10, 50 and 90 % quantile and longest, by label."""

    symbol: str
    timeframe: str
    annotator: str
    segments: int
    first: str
    last: str
    bars: int
    unlabelled: float
    gaps: int
    longest_gap: int
    shares: dict[str, float]
    counts: dict[str, int]
    durations: dict[str, tuple[float, float, float, int]]
    hindsight_bars: int


@dataclass(frozen=True)
class Disagreement:
    """Two annotators of one market: covering of the first's segments by the second's and the other way, share of time that differs."""

    symbol: str
    timeframe: str
    annotators: tuple[str, str]
    covering: tuple[float, float]
    differing: float


@dataclass(frozen=True)
class LabelReview:
    """Everything that was found; ``verdict`` is the worst of it."""

    labels: tuple[str, ...]
    segmentations: tuple[SegmentationReview, ...]
    change_points: dict[str, int]
    disagreements: tuple[Disagreement, ...]
    nestings: tuple[Nesting, ...]
    findings: tuple[Finding, ...]
    purge_ms: int
    fingerprint: str

    @property
    def verdict(self) -> Verdict:
        """``unusable``, ``doubtful`` or ``few segments`` when a finding says so, else ``good``."""
        found = {finding.severity for finding in self.findings}
        if "unusable" in found:
            return "unusable"
        if "doubtful" in found:
            return "doubtful"
        return "few segments" if any(finding.kind == "few segments" for finding in self.findings) else "good"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        nestings = [
            asdict(one) | {"time_ms": {f"{a} in {b}": ms for (a, b), ms in one.time_ms.items()}, "share": one.share}
            for one in self.nestings
        ]
        return {
            "verdict": self.verdict,
            "labels": list(self.labels),
            "segmentations": [asdict(one) for one in self.segmentations],
            "change_points": self.change_points,
            "disagreements": [asdict(one) for one in self.disagreements],
            "nestings": nestings,
            "findings": [asdict(one) for one in self.findings],
            "purge_ms": self.purge_ms,
            "fingerprint": self.fingerprint,
        }


def review(
    learning_set: LearningSet,
    flaws: Sequence[Flaw] = (),
    *,
    candles: Sequence[Candles] = (),
    cuts_ms: Sequence[int] = (),
    opposites: Sequence[tuple[str, str]] = OPPOSITES,
) -> LabelReview:
    """Look at a learning set, at the ``flaws`` of its file, and at both beside ``candles`` and a split.

    ``cuts_ms`` as `windows.splits.Split` has them (the beginnings of its parts and the end of the last).
    """
    findings = [Finding(flaw.kind, "unusable", "", flaw.text, flaw.remedy, flaw.row, flaw.count) for flaw in flaws]
    findings += odd_words(learning_set)
    told = [_described(one, candles) for one in learning_set.segmentations]
    disagreements: list[Disagreement] = []
    agreed: dict[str, list[Segmentation]] = {}
    for symbol, frame in learning_set.markets:
        own = learning_set.annotators(symbol, frame)
        for (a, first), (b, second) in combinations(own.items(), 2):
            both = (covering(first, second), covering(second, first))
            disagreements.append(Disagreement(symbol, frame.name, (a, b), both, differing(first, second)))
        for one in own.values():
            findings += too_early(one)
            findings += single_bars(one)
            findings += beyond_candles(one, candles)
            findings += over_cuts(one, cuts_ms)
        if own:
            whole = learning_set.consensus(symbol, frame)
            agreed.setdefault(symbol, []).append(whole)
            findings += classes(whole, learning_set.labels)
            findings += missing_in_train(whole, cuts_ms)
    findings += [
        f for one in disagreements for f in disagreement(one.symbol, one.timeframe, one.annotators, one.differing, min(one.covering))
    ]
    findings += few_segments([one for of_symbol in agreed.values() for one in of_symbol], FEW_SEGMENTS)
    nestings = tuple(
        nested(finer, coarser, opposites)
        for of_symbol in agreed.values()
        for finer, coarser in combinations(sorted(of_symbol, key=lambda one: one.timeframe), 2)
    )
    for inside in nestings:
        if inside.conflicts:
            share = f"{inside.share:.1%} of the common time"
            text = f"{inside.conflicts} segments of {inside.finer} ({share}) lie wholly against the {inside.coarser} label"
            remedy = "that is common in markets; look at the longest: " + inside.worst
            findings.append(Finding("nesting", "note", f"{inside.symbol} {inside.finer} in {inside.coarser}", text, remedy))
    points = {f"{s} {t}" + (f" by {a}" if a else ""): len(times) for (s, t, a), times in learning_set.change_points.items()}
    if not told and not points:
        findings.append(Finding("empty", "unusable", "", "there is not one usable segment", "mend the rows that are named, or write some"))
    return LabelReview(
        learning_set.labels, tuple(told), points, tuple(disagreements), nestings, tuple(findings),
        hindsight_span_ms(learning_set), learning_set.fingerprint,
    )  # fmt: skip


def require_trainable(learning_set: LearningSet, cuts_ms: Sequence[int] = ()) -> None:
    """DataError, with what to do, when a market has labels of one class only, or a class is missing in the train part of a split."""
    for symbol, frame in learning_set.markets:
        if learning_set.annotators(symbol, frame):
            whole = learning_set.consensus(symbol, frame)
            found = [*classes(whole, learning_set.labels), *missing_in_train(whole, cuts_ms)]
            fatal = [one for one in found if one.severity == "unusable"]
            if fatal:
                raise DataError("; ".join(f"{one.market}: {one.text}: {one.remedy}" for one in fatal))


def _described(one: Segmentation, candles: Sequence[Candles]) -> SegmentationReview:
    """The figures of one segmentation; unlabelled time is counted on the bars of its own candles where there are some."""
    bars = one.bars
    own: Mapping[str, Any] = _gaps(one, candles)
    durations = {}
    for code, label in enumerate(one.labels):
        mine = bars[one.code == code]
        if len(mine):
            low, middle, high = (float(q) for q in np.quantile(mine, _QUANTILES))
            durations[label] = (low, middle, high, int(mine.max()))
    total = max(1, int(bars.sum()))
    return SegmentationReview(
        one.symbol, one.timeframe.name, one.annotator, len(one),
        format_time(int(one.start[0])) if len(one) else "", format_time(int(one.end[-1])) if len(one) else "", int(bars.sum()),
        shares={label: float(bars[one.code == k].sum()) / total for k, label in enumerate(one.labels)},
        counts={label: int((one.code == k).sum()) for k, label in enumerate(one.labels)},
        durations=durations, hindsight_bars=-(-hindsight_span_ms(one) // one.timeframe.milliseconds), **own,
    )  # fmt: skip


def _gaps(one: Segmentation, candles: Sequence[Candles]) -> dict[str, Any]:
    """Share, number and length (bars) of the stretches between the first and the last label, or of the candles, without a label."""
    if not len(one):
        return {"unlabelled": 1.0, "gaps": 0, "longest_gap": 0}
    market = next((c for c in candles if (c.symbol, c.timeframe) == (one.symbol, one.timeframe)), None)
    if market is not None and len(market):
        bare = one.on(market).code < 0
        edges = np.flatnonzero(np.diff(np.concatenate([[False], bare, [False]]).astype(np.int8)))
        holes = edges[1::2] - edges[::2]
        share = float(bare.mean())
    else:
        index = one.timeframe.index
        holes = index(one.start[1:]) - index(one.end[:-1])
        holes = holes[holes > 0]
        share = float(holes.sum()) / max(1, int(index(one.end[-1]) - index(one.start[0])))
    return {"unlabelled": share, "gaps": len(holes), "longest_gap": int(holes.max()) if len(holes) else 0}
