"""What a review finds: annotators, timeframes, candles, the split, classes, and how few segments there are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from candelabra.candles import resample
from candelabra.errors import DataError
from candelabra.regimes.consensus import agreed, covering, differing
from candelabra.regimes.labeller import new_labeller
from candelabra.regimes.learning_set import LearningSet
from candelabra.regimes.nesting import nested
from candelabra.regimes.review import require_trainable, review
from candelabra.regimes.segmentation import Segmentation
from candelabra.testing import example_candles

HOUR = 3_600_000
WORDS = ("bullish", "bearish", "flat")


def drawn(
    parts: Sequence[tuple[int, int, int]], who: str = "", confidence: Sequence[float] | None = None, frame: str = "1h", start: int = 0
) -> Segmentation:
    """Segments from (first hour, hour after the last, code)."""
    table = np.array(parts, np.int64).reshape(-1, 3)
    return Segmentation.of(
        "X/Y", frame, WORDS, start + table[:, 0] * HOUR, start + table[:, 1] * HOUR, table[:, 2], confidence, annotator=who
    )


def kinds(found: LearningSet, **options: object) -> dict[str, str]:
    told = review(found, **options)  # type: ignore[arg-type]
    json.dumps(told.as_dict(), default=lambda value: value.item())
    return {finding.kind: finding.severity for finding in told.findings}


# annotators


def test_the_majority_is_weighed_by_confidence_and_ties_stay_unlabelled() -> None:
    a = drawn([(0, 10, 0), (10, 20, 1)], "a", [1.0, 1.0])
    b = drawn([(0, 8, 0), (8, 16, 1)], "b", [0.5, 0.5])
    c = drawn([(4, 12, 1), (20, 22, 2)], "c", [0.5, 0.25])
    made = agreed([a, b, c])
    assert ((made.start / HOUR).tolist(), (made.end / HOUR).tolist()) == ([0, 10, 20], [8, 20, 22])
    assert made.names == ("bullish", "bearish", "flat")
    # 0..4: 1.5 of 1.5; 4..8: 1.5 of 2; 8..10: a tie of 1 against 0.5 + 0.5
    assert made.confidence[0] == pytest.approx((4 * 1 + 4 * 0.75) / 8)
    assert made.confidence[2] == 1
    assert made.annotator == "consensus"
    assert made.known_at[0] == max(a.known_at[0], b.known_at[0], c.known_at[0])


def test_annotators_of_different_markets_cannot_agree() -> None:
    other = Segmentation.of("X/Y", "4h", WORDS, [0], [4 * HOUR], [0])
    with pytest.raises(DataError, match="one market"):
        agreed([drawn([(0, 1, 0)]), other])


PARTS = st.lists(st.integers(0, 2), min_size=1, max_size=40).map(
    lambda code: [(k, k + 1, c) for k, c in enumerate(code)] if code else [(0, 1, 0)]
)


def slow_covering(truth: Segmentation, other: Segmentation) -> float:
    """Set by set, as it is written down."""
    hours = range(60)
    mine, theirs = ([{h for h in hours if s <= h * HOUR < e} for s, e in zip(one.start, one.end, strict=True)] for one in (truth, other))
    both = set().union(*mine) & set().union(*theirs)
    mine, theirs = ([m & both for m in sets if m & both] for sets in (mine, theirs))
    total = sum(map(len, mine))
    return sum(len(m) * max(len(m & t) / len(m | t) for t in theirs) for m in mine) / total if total else float("nan")


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(0, 12))
def test_covering_is_that_of_sets(first: list[int], second: list[int], shift: int) -> None:
    def of(lengths: list[int], begin: int) -> Segmentation:
        edges = begin + np.concatenate([[0], np.cumsum(lengths)])
        return drawn([(int(a), int(b), k % 3) for k, (a, b) in enumerate(pairwise(edges))])

    a, b = of(first, 0), of(second, shift)
    assert covering(a, b) == pytest.approx(slow_covering(a, b), nan_ok=True)
    assert covering(a, a) == 1
    assert differing(a, a) == 0


def test_annotators_who_differ_are_found() -> None:
    a, b = drawn([(0, 10, 0), (10, 20, 1)], "a"), drawn([(0, 2, 1), (2, 12, 0), (12, 18, 2), (18, 20, 1)], "b")
    assert differing(a, b) == pytest.approx(10 / 20)
    told = review(LearningSet.of([a, b]))
    (one,) = told.disagreements
    assert one.annotators == ("a", "b")
    assert one.differing == pytest.approx(0.5)
    assert told.verdict == "doubtful"
    assert "a and b differ in 50%" in next(f.text for f in told.findings if f.kind == "annotators")
    apart = review(LearningSet.of([a, drawn([(30, 40, 0)], "c")]))
    assert "no bar in common" in next(f.text for f in apart.findings if f.kind == "annotators")


# timeframes


def test_a_finer_regime_wholly_against_a_coarser_one_is_measured() -> None:
    fine = drawn([(0, 5, 1), (5, 22, 0), (22, 26, 1), (26, 48, 0)])
    coarse = drawn([(0, 24, 0), (24, 48, 1)], frame="1d")
    found = nested(fine, coarse)
    assert (found.conflicts, found.conflict_ms, found.common_ms) == (2, 27 * HOUR, 48 * HOUR)
    assert found.time_ms["bullish", "bearish"] == 22 * HOUR
    assert found.time_ms["bearish", "bullish"] == 7 * HOUR
    assert "1970-01-02 02:00 .. 1970-01-03 00:00 inside 1d bearish" in found.worst
    assert kinds(LearningSet.of([fine, coarse]))["nesting"] == "note"
    assert nested(fine, coarse, opposites=[("up", "down")]).conflicts == 0


# candles and the split


def test_labels_beyond_the_candles_and_of_other_markets_are_found() -> None:
    candles = example_candles(bars=200, gaps=False)
    start = int(candles.open_time[0])
    inside = drawn([(0, 100, 0), (100, 200, 1)], start=start)
    inside = Segmentation.of("SIM/USDT", "1h", WORDS, inside.start, inside.end, inside.code)
    assert not {"beyond the candles", "time zone", "no candles"} & set(kinds(LearningSet.of([inside]), candles=[candles]))
    late = Segmentation.of("SIM/USDT", "1h", WORDS, inside.start, [inside.end[0], inside.end[1] + 5 * HOUR], inside.code)
    assert kinds(LearningSet.of([late]), candles=[candles])["beyond the candles"] == "doubtful"
    shifted = Segmentation.of("SIM/USDT", "1h", WORDS, inside.start + 2 * HOUR, inside.end + 2 * HOUR, inside.code)
    told = review(LearningSet.of([shifted]), candles=[candles])
    assert any(f.kind == "time zone" and "2 h later" in f.text for f in told.findings)
    assert kinds(LearningSet.of([drawn([(0, 5, 0), (5, 9, 1)])]), candles=[candles])["no candles"] == "doubtful"


def test_a_coarse_bar_that_the_candles_only_begin_in_is_not_beyond_them() -> None:
    candles = example_candles(bars=24 * 60, gaps=False).rows(slice(5, 24 * 59 + 7))
    days = resample(candles, "1d")
    made = Segmentation.of_bars(days, WORDS, np.arange(len(days)) // 20 % 3)
    wide = Segmentation.of(made.symbol, "1d", WORDS, made.start - 24 * HOUR * (np.arange(len(made)) == 0), made.end, made.code)
    assert "beyond the candles" not in kinds(LearningSet.of([wide]), candles=[candles])


def test_segments_across_the_cuts_and_classes_missing_in_train_are_found() -> None:
    one = drawn([(0, 40, 0), (40, 70, 1), (70, 100, 2)])
    cuts = [0, 60 * HOUR, 70 * HOUR, 80 * HOUR, 101 * HOUR]
    told = review(LearningSet.of([one]), cuts_ms=cuts)
    across = next(f for f in told.findings if f.kind == "across the split")
    assert across.count == 2
    missing = next(f for f in told.findings if f.kind == "missing in train")
    assert "bearish, flat" in missing.text  # bearish is known only after the cut
    assert told.verdict == "unusable"
    with pytest.raises(DataError, match=r"bearish, flat .*label earlier"):
        require_trainable(LearningSet.of([one]), cuts)
    require_trainable(LearningSet.of([one]), [0, 100 * HOUR, 101 * HOUR])
    require_trainable(LearningSet.of([one]))


def test_one_class_rare_classes_early_labels_and_spellings_are_found() -> None:
    with pytest.raises(DataError, match="every segment is bullish"):
        require_trainable(LearningSet.of([drawn([(0, 5, 0), (7, 9, 0)])]))
    assert kinds(LearningSet.of([drawn([(0, 5, 0)])]))["one class"] == "unusable"
    rare = kinds(LearningSet.of([drawn([(0, 5000, 0), (5000, 5001, 1)])], labels=WORDS))
    assert (rare["rare class"], rare["missing class"], rare["few segments"]) == ("note", "note", "note")
    early = Segmentation.of("X/Y", "1h", WORDS, [0, 9 * HOUR], [9 * HOUR, 12 * HOUR], [0, 1], None, [HOUR, 12 * HOUR])
    assert kinds(LearningSet.of([early]))["known early"] == "doubtful"
    words = Segmentation.of("X/Y", "1h", ("Bullish", "bullish "), [0, HOUR], [HOUR, 2 * HOUR], [0, 1])
    assert kinds(LearningSet.of([words]))["spelling"] == "doubtful"
    assert kinds(LearningSet.of([drawn([(k, k + 1, k % 2) for k in range(9)])]))["flicker"] == "note"
    assert kinds(LearningSet.of([]))["empty"] == "unusable"
    points = review(LearningSet.of([], {("X/Y", "1h", "a"): [0, HOUR]}))
    assert points.change_points == {"X/Y 1h by a": 2}
    assert points.verdict == "good"


def test_the_figures_of_a_labeller_s_own_set_are_those_of_its_segments() -> None:
    candles = example_candles(bars=24 * 300)
    made = new_labeller("trend_scan").label(candles)
    told = review(LearningSet.of([made]), candles=[candles])
    (one,) = told.segmentations
    assert one.segments == len(made)
    assert sum(one.shares.values()) == pytest.approx(1)
    assert sum(one.counts.values()) == len(made)
    assert one.unlabelled == pytest.approx((made.on(candles).code < 0).mean())
    assert one.durations["bullish"][3] == made.bars[made.code == 0].max()
    assert told.verdict == ("good" if len(made) >= 300 else "few segments")
