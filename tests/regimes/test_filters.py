"""Filters and paths against brute force on tiny chains; causal ones never revise."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from candelabra.errors import DataError
from candelabra.regimes.durations import DurationModel, fit_durations
from candelabra.regimes.filters import duration_filter, duration_lag, evidence, fixed_lag, markov_filter
from candelabra.regimes.paths import semi_markov_path, viterbi_path
from candelabra.regimes.segmentation import runs

K = 3
seeds = st.integers(0, 10_000)


def chain(seed: int, n: int = 7) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1.5, (n, K)), rng.dirichlet(np.ones(K)), rng.dirichlet(np.ones(K), K)


def weights(logs: NDArray[np.float64], start: NDArray[np.float64], move: NDArray[np.float64]) -> dict[tuple[int, ...], float]:
    found = {}
    for path in product(range(K), repeat=len(logs)):
        value = start[path[0]] * np.prod([move[a, b] for a, b in pairwise(path)])
        found[path] = float(value * np.exp(sum(logs[t, k] for t, k in enumerate(path))))
    return found


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_markov_filter_lag_and_path_are_those_of_brute_force(seed: int) -> None:
    logs, start, move = chain(seed, 6)
    got, lagged = markov_filter(logs, start, move), fixed_lag(logs, start, move, 2)
    for t in range(len(logs)):
        seen = weights(logs[: t + 1], start, move)
        total = sum(seen.values())
        for k in range(K):
            assert got[t, k] == pytest.approx(sum(v for p, v in seen.items() if p[t] == k) / total, rel=1e-9)
            if t >= 2:
                assert lagged[t, k] == pytest.approx(sum(v for p, v in seen.items() if p[t - 2] == k) / total, rel=1e-9)
    assert np.isnan(lagged[:2]).all()
    whole = weights(logs, start, move)
    assert tuple(viterbi_path(logs, start, move).tolist()) == max(whole, key=lambda p: whole[p])


def durations(seed: int) -> DurationModel:
    rng = np.random.default_rng(seed)
    follows = rng.dirichlet(np.ones(K), K) + 0.05
    np.fill_diagonal(follows, 0)
    follows /= follows.sum(1, keepdims=True)
    return DurationModel(rng.dirichlet(np.ones(K) * 5), follows, rng.uniform(2, 4, K), rng.uniform(1, 3, K), 1, 9)


def segmented(logs: NDArray[np.float64], start: NDArray[np.float64], model: DurationModel, longest: int) -> dict[tuple[int, ...], float]:
    mass, live = np.exp(model.log_mass(longest)), model.survival(longest)[:, :longest]
    n, found = len(logs), {}
    for path in product(range(K), repeat=n):
        first, stop, value = runs(np.array(path, np.int16))
        score = start[value[0]]
        for i, (a, b, k) in enumerate(zip(first, stop, value, strict=True)):
            score *= live[k, b - a - 1] if a == 0 or b == n else mass[k, b - a - 1]
            if i:
                score *= model.follows[value[i - 1], k]
        found[path] = float(score * np.exp(sum(logs[t, k] for t, k in enumerate(path))))
    return found


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_the_semi_markov_path_is_the_best_of_all(seed: int) -> None:
    logs, start, _ = chain(seed)
    model = durations(seed)
    every = segmented(logs, start, model, 9)
    got = semi_markov_path(logs, start, model.follows, model.log_mass(9), np.log(model.survival(9)[:, :9]))
    assert tuple(got.tolist()) == max(every, key=lambda p: every[p])


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_the_duration_filter_is_that_of_brute_force(seed: int) -> None:
    logs, start, _ = chain(seed, 5)
    model, longest = durations(seed), 12
    live = model.survival(longest)
    live[:, -1] = 0
    got = duration_filter(logs, start, model.follows, live)
    leave = 1 - live[:, 1:] / live[:, :-1]
    belief = {(k, d): start[k] * live[k, d] / live[k, :-1].sum() for k in range(K) for d in range(longest)}
    for t, row in enumerate(logs):
        if t:
            after = dict.fromkeys(belief, 0.0)
            for (k, d), value in belief.items():
                if d + 1 < longest:
                    after[k, d + 1] += value * (1 - leave[k, d])
                for j in range(K):
                    after[j, 0] += value * leave[k, d] * model.follows[k, j]
            belief = after
        belief = {(k, d): value * np.exp(row[k]) for (k, d), value in belief.items()}
        total = sum(belief.values())
        for k in range(K):
            assert got[t, k] == pytest.approx(sum(v for (j, _), v in belief.items() if j == k) / total, rel=1e-7)


@settings(max_examples=15, deadline=None)
@given(seeds)
def test_a_lag_with_durations_is_that_of_brute_force_where_none_is_shorter(seed: int) -> None:
    logs, start, _ = chain(seed, 8)
    model = replace(durations(seed), mean=np.full(K, 5.0), shortest=3)
    every, whole = {}, model.survival(200)
    for path in product(range(K), repeat=len(logs)):
        first, stop, value = runs(np.array(path, np.int16))
        score = float(np.exp(sum(logs[t, k] for t, k in enumerate(path))))
        for i, (a, b, k) in enumerate(zip(first, stop, value, strict=True)):
            bars = b - a
            if a == 0:  # begun at any earlier time: the sum over how long it had lasted already
                ages = whole[k, bars - 1 :] if b == len(path) else whole[k, bars - 1 : -1] - whole[k, bars:]
                score *= start[k] * ages.sum() / whole[k].sum()
            else:
                score *= model.follows[value[i - 1], k] * (whole[k, bars - 1] if b == len(path) else whole[k, bars - 1] - whole[k, bars])
        every[path] = score
    got = duration_lag(logs, start, model.follows, model.survival(180), 3)[-1]
    total = sum(every.values())
    want = [sum(v for p, v in every.items() if p[-4] == k) / total for k in range(K)]
    np.testing.assert_allclose(got, want, rtol=1e-4)


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 59))
def test_what_comes_later_moves_no_filtered_row(seed: int, cut: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(K), 60)
    p[rng.random(60) < 0.1] = np.nan
    model = durations(seed)
    changed = p.copy()
    changed[cut:] = rng.dirichlet(np.ones(K), 60 - cut)
    for run in (
        lambda e: markov_filter(e, model.share, model.transition()),
        lambda e: fixed_lag(e, model.share, model.transition(), 5),
        lambda e: duration_filter(e, model.share, model.follows, model.survival(40)),
        lambda e: duration_lag(e, model.share, model.follows, model.survival(40), 5),
    ):
        a, b = run(evidence(p, model.share, 0.5)), run(evidence(changed, model.share, 0.5))
        np.testing.assert_array_equal(a[:cut], b[:cut])
        assert np.isfinite(a[5:]).all()


def test_durations_are_counted_from_segments_and_unlabelled_stretches_cut_them() -> None:
    codes = np.repeat(np.array([0, 1, 0, -1, 1, 0, 1, 0, 1, 0, 1, 0], np.int16), [5, 20, 10, 3, 7, 10, 20, 12, 25, 11, 22, 4])
    model = fit_durations([codes], 2)
    assert model.share.sum() == pytest.approx(1)
    assert model.follows.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert model.shortest == 10
    assert 8 < model.mean[0] < 14 < model.mean[1] < 30
    assert model.segments == 11
    again = DurationModel.from_dict(model.to_dict())
    np.testing.assert_array_equal(again.transition(), model.transition())
    assert np.allclose(model.transition().sum(1), 1)
    left = model.remaining(60)
    assert (left >= 0).all()
    assert left[1, 0] == pytest.approx(model.mean[1] - 1, rel=0.15)


def test_without_a_label_there_is_nothing_to_count() -> None:
    with pytest.raises(DataError, match="no labelled bar"):
        fit_durations([np.full(5, -1, np.int16)], 2)


@settings(max_examples=20, deadline=None)
@given(seeds)
def test_gamma_durations_are_found_again(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = np.ceil(10 + rng.gamma(2.0, 20.0, 400)).astype(int)
    codes = np.repeat(np.arange(400) % 2, lengths).astype(np.int16)
    model = fit_durations([codes], 2)
    assert np.abs(model.mean - lengths.mean()).max() < 8
    assert ((model.shape > 1.3) & (model.shape < 3.2)).all()
    assert np.exp(model.log_mass(500)).sum(1) == pytest.approx(1, abs=1e-3)
