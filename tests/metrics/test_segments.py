"""Figures about segments: those of `tsseg-eval` where it has them, bounds, invariances, and the edges."""

from __future__ import annotations

import warnings
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from candelabra.errors import DataError
from candelabra.metrics.judged_bars import judged_bars
from candelabra.metrics.probabilities import brier_score, expected_calibration_error
from candelabra.metrics.segment_bounds import boundary_f1, covering, detection_delays, matched_boundaries
from candelabra.metrics.segments import SegmentScores, class_f1, macro_f1, revision_rate, segment_scores
from candelabra.metrics.state_matching import adjusted_rand, matched_states, state_errors, weighted_adjusted_rand

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    tsseg = pytest.importorskip("tsseg_eval.metrics", reason="tsseg-eval is not installed: pip install 'candelabra[dev]'")


def random_labels(rng: np.random.Generator, n: int, mean: float, kinds: int = 4) -> np.ndarray:
    return np.cumsum(np.where(rng.random(n) < 1 / mean, rng.integers(1, kinds, n), 0)) % kinds


def spoilt(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    """Late, and with wrong stretches: close enough that every state is best named as it is."""
    shown = np.roll(truth, int(rng.integers(0, 8)))
    for _ in range(int(rng.integers(0, 8))):
        at = int(rng.integers(0, len(truth)))
        shown[at : at + int(rng.integers(1, 25))] = rng.integers(0, 4)
    return shown


label_rows = st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 3)), min_size=0, max_size=60)


@pytest.mark.parametrize("seed", range(30))
def test_figures_are_those_of_tsseg_eval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = random_labels(rng, 600, 40)
    shown = spoilt(rng, truth)
    bars = judged_bars(truth, shown)
    assert covering(bars) == pytest.approx(tsseg.covering(truth, shown), rel=1e-12)
    assert adjusted_rand(bars) == pytest.approx(tsseg.adjusted_rand_score(truth, shown), rel=1e-12)
    # It cuts sums of weights to whole numbers before dividing.
    assert weighted_adjusted_rand(bars) == pytest.approx(tsseg.weighted_adjusted_rand_score(truth, shown), abs=1e-4)
    score, mapped, errors = tsseg.state_matching_score(truth, shown, return_mapped=True, return_errors=True)
    ours = state_errors(judged_bars(truth, mapped))
    assert ours.score == pytest.approx(score, rel=1e-12)
    for kind in ("delay", "transition", "isolation", "missing"):
        assert getattr(ours, kind) == pytest.approx(sum(e["size"] for e in errors if e["type"] == kind) / 600, abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_boundary_f1_is_that_of_tsseg_eval_but_for_the_ends_it_counts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = random_labels(rng, 500, 60)
    shown = np.roll(truth, 3)
    shown[:3] = truth[0]
    pieces = judged_bars(truth, shown)
    true, said = pieces.true_pieces.boundaries, pieces.shown_pieces.boundaries
    hits = matched_boundaries(true, said, 4)
    theirs, precision, recall = tsseg.f_score(truth, shown, margin=4, return_PR=True)
    # It adds the start and the end of the series, which always match, and pairs greedily in the order of a set: never more than the most.
    assert (hits + 2) / (len(said) + 2) >= precision - 1e-12
    assert (hits + 2) / (len(true) + 2) >= recall - 1e-12
    if np.diff(true, prepend=-99, append=599).min() > 8:
        assert 2 * (hits + 2) / (len(true) + len(said) + 4) == pytest.approx(theirs)


@given(
    st.lists(st.integers(0, 40), unique=True, max_size=7).map(sorted),
    st.lists(st.integers(0, 40), unique=True, max_size=7).map(sorted),
    st.integers(0, 6),
)
def test_as_many_boundaries_are_paired_as_can_be(true: list[int], shown: list[int], margin: int) -> None:
    from scipy.optimize import linear_sum_assignment

    got = matched_boundaries(np.array(true, np.int64), np.array(shown, np.int64), margin)
    if true and shown:
        near = np.abs(np.subtract.outer(true, shown)) <= margin
        assert got == near[linear_sum_assignment(~near)].sum()
    else:
        assert got == 0


@given(label_rows)
@settings(deadline=None)
def test_figures_stay_in_their_bounds_and_masked_bars_say_nothing(rows: list[tuple[int, int]]) -> None:
    truth, shown = (np.array(x, np.int64) for x in (zip(*rows, strict=True) if rows else ([], [])))
    s = segment_scores(truth, shown, labels=4)
    for name in ("accuracy", "macro_f1", "covering", "boundary_f1_1", "boundary_f1_5", "boundary_f1_10", "missed", "unshown", "late"):
        value = getattr(s, name)
        assert value != value or -1e-12 <= value <= 1 + 1e-12, name
    assert s.ari != s.ari or -1 <= s.ari <= 1 + 1e-12
    if s.bars:
        assert s.late + s.transition + s.isolation + s.missing == pytest.approx(1 - s.accuracy)
        assert s.boundary_f1_1 <= s.boundary_f1_5 <= s.boundary_f1_10
    # What stands where the other has no label is of no effect.
    other = segment_scores(np.where(shown < 0, 3, truth), shown, labels=4)
    assert repr(replace(other, unshown=0.0)) == repr(replace(s, unshown=0.0))


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=80))
@settings(deadline=None)
def test_the_truth_itself_is_perfect(rows: list[int]) -> None:
    truth = np.array(rows)
    s = segment_scores(truth, truth, np.eye(4)[truth], first_shown=truth)
    if not s.bars:
        return
    perfect = (s.accuracy, s.macro_f1, s.covering, s.boundary_f1_1, s.boundary_f1_10, s.ari, s.wari, s.state_matching)
    assert perfect == pytest.approx((1,) * 8)
    assert (s.late, s.transition, s.isolation, s.missing, s.unshown, s.ece, s.brier, s.revisions) == pytest.approx((0,) * 8, abs=1e-12)
    assert s.flips == s.true_flips
    if s.delay_median == s.delay_median:
        assert s.delay_median == s.delay_p90 == s.missed == 0


@given(label_rows.filter(bool), st.permutations(range(4)))
@settings(deadline=None)
def test_names_do_not_matter_where_only_sameness_counts(rows: list[tuple[int, int]], names: list[int]) -> None:
    truth, shown = (np.array(x) for x in zip(*rows, strict=True))
    renamed = np.where(shown < 0, -1, np.array(names)[shown])
    one, other = judged_bars(truth, shown), judged_bars(truth, renamed)
    for figure in (covering, adjusted_rand, weighted_adjusted_rand, lambda b: boundary_f1(b, 0.1)):
        assert figure(one) == pytest.approx(figure(other), nan_ok=True)
    both = judged_bars(np.where(truth < 0, -1, np.array(names)[truth]), renamed)
    for figure in (lambda b: macro_f1(b, 4), lambda b: state_errors(b).score, lambda b: detection_delays(b).median):
        assert figure(one) == pytest.approx(figure(both), nan_ok=True)


def test_no_bars_and_no_boundaries_are_said_not_invented() -> None:
    nothing = segment_scores([-1, -1], [0, 1], labels=2)
    assert nothing.bars == 0
    assert all(np.isnan(getattr(nothing, f.name)) for f in fields(SegmentScores) if f.name not in ("bars", "segments", "f1"))
    one = segment_scores([0] * 10, [0] * 10, labels=2)
    assert (one.boundary_f1_5, one.ari, one.covering, one.segments) == (1.0, 1.0, 1.0, 1)
    assert np.isnan(one.delay_median)
    assert np.isnan(one.f1[1])
    cut = segment_scores([0] * 10, [0] * 5 + [1] * 5, labels=2)
    assert (cut.boundary_f1_5, cut.covering) == (0.0, 0.5)


def test_a_gap_in_the_labels_ends_segments_but_is_no_boundary() -> None:
    truth = np.array([0, 0, -1, 1, 1, 1, 0, 0])
    bars = judged_bars(truth, truth)
    assert bars.true_pieces.length.tolist() == [2, 3, 2]
    assert bars.row[bars.true_pieces.boundaries].tolist() == [6]


def test_delay_is_counted_to_the_first_of_three_bars_and_a_miss_costs_the_segment() -> None:
    truth = np.repeat([0, 1, 2, 0, 1], [5, 10, 8, 10, 2])
    shown = truth.copy()
    shown[5:8] = 0  # three bars late
    shown[[9, 10]] = 0  # then two right bars are not enough: it is noticed at the sixth
    shown[15:23] = 1  # missed, eight bars
    delays = detection_delays(judged_bars(truth, shown))
    assert (delays.median, delays.missed) == (3.0, 0.25)  # delays 6, 8, 0, 0
    assert delays.p90 == pytest.approx(np.quantile([6, 8, 0, 0], 0.9))


def test_kinds_of_errors_are_told_apart() -> None:
    truth = np.repeat([0, 1, 0, 2, 3], [10, 10, 3, 10, 10])
    shown = truth.copy()
    shown[10:13] = 0  # late
    shown[15:17] = 2  # a wrong state inside a segment
    shown[19:28] = 3  # one wrong state across two boundaries
    shown[31:35] = 1  # across one
    e = state_errors(judged_bars(truth, shown))
    assert [round(43 * x) for x in (e.delay, e.isolation, e.missing, e.transition)] == [3, 2, 9, 4]


def test_classes_nobody_meets_are_left_out_of_the_mean() -> None:
    bars = judged_bars([0, 0, 1, 1], [0, 0, 1, 2])
    assert class_f1(bars, 4)[:3] == pytest.approx((1, 2 / 3, 0))
    assert macro_f1(bars, 4) == pytest.approx((1 + 2 / 3) / 3)


def test_calibration_error_and_brier_score_by_hand() -> None:
    chance = np.array([[0.8, 0.2], [0.8, 0.2], [0.4, 0.6], [np.nan, np.nan], [0.5, 0.5]])
    truth = [0, 1, 1, 0, -1]
    assert brier_score(truth, chance) == pytest.approx((0.08 + 1.28 + 0.32) / 3)
    assert expected_calibration_error(truth, chance) == pytest.approx((abs(1 - 1.6) + abs(1 - 0.6)) / 3)
    assert np.isnan(brier_score([-1], [[0.5, 0.5]]))
    rng = np.random.default_rng(0)
    chance = rng.dirichlet(np.ones(4), 20_000)
    honest = (rng.random((20_000, 1)) > np.cumsum(chance, 1)).sum(1)
    assert expected_calibration_error(honest, chance) < 0.02 < expected_calibration_error(rng.permutation(honest), chance)


def test_revisions_count_bars_whose_word_was_changed() -> None:
    assert revision_rate([0, 1, 1, 0], [0, 0, 1, 1]) == 0.5
    assert np.isnan(revision_rate([-1], [0]))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=60))
def test_states_are_named_so_that_most_bars_agree(rows: list[tuple[int, int]]) -> None:
    import itertools

    truth, states = (np.array(x) for x in zip(*rows, strict=True))
    names = matched_states(truth, states, 4)
    assert len(names) == states.max() + 1
    got = (names[states] == truth).sum()
    best = 0
    for chosen in itertools.permutations(range(len(names)), min(4, len(names))):
        pairing = zip(chosen, range(4), strict=False) if len(names) >= 4 else ()
        if len(names) >= 4:
            best = max(best, sum(((states == s) & (truth == k)).sum() for s, k in pairing))
    if len(names) < 4:
        best = max(sum(((states == s) & (truth == k)).sum() for s, k in enumerate(p)) for p in itertools.permutations(range(4), len(names)))
    assert got >= best


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(DataError, match="cannot be compared"):
        segment_scores([0, 1], [0])
    with pytest.raises(DataError, match="vocabulary of 2"):
        segment_scores([0, 2], [0, 1], labels=2)
    with pytest.raises(DataError, match="do not fit"):
        segment_scores([0, 1], [0, 1], np.ones((3, 2)) / 2)
    with pytest.raises(DataError, match="sum to 1"):
        brier_score([0, 1], np.ones((2, 2)))
