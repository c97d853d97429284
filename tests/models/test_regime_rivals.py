"""The rivals of segmentations: causal where they say so, the same for a seed, better than nothing, and as good as others' parts of them."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from candelabra.candles.hindsight import Hindsight, refuse_hindsight
from candelabra.candles.regime_markets import RegimeMarket, regime_markets
from candelabra.errors import DataError, MissingExtraError, UsageError
from candelabra.metrics.judged_bars import judged_bars
from candelabra.metrics.segments import macro_f1
from candelabra.models.regime_baselines import RegimeModel, fit_majority, fit_trailing_rule, lagged_truth, said_true
from candelabra.models.regime_change_points import Discriminants, KernelSettings, fit_change_point_labels
from candelabra.models.regime_features import column_names, log_returns, multi_scale
from candelabra.models.regime_hmm import HmmSettings, fit_hmm
from candelabra.models.regime_trees import RegimeTreesSettings, fit_regime_trees
from candelabra.regimes.segmentation import REGIME_LABELS
from candelabra.testing.markets import perturbed_after

LEARN = 4_000


@pytest.fixture(scope="module")
def markets() -> tuple[RegimeMarket, ...]:
    return regime_markets(3, 6_000, seed=20)


@pytest.fixture(scope="module")
def models(markets: tuple[RegimeMarket, ...]) -> dict[str, RegimeModel]:
    learn = [m.candles.rows(slice(0, LEARN)) for m in markets]
    codes = [m.regime[:LEARN] for m in markets]
    return {
        "majority": fit_majority(learn, codes, 4),
        "rule": fit_trailing_rule(learn, codes),
        "hmm": fit_hmm(learn[0], codes[0], 4),
        "trees": fit_regime_trees(learn, codes, 4, RegimeTreesSettings(rounds=30)),
        "change points": fit_change_point_labels(learn, codes, 4),
    }


@pytest.mark.parametrize("name", ["majority", "rule", "hmm", "trees"])
def test_what_comes_later_changes_nothing_said_before(models: dict[str, RegimeModel], markets: tuple[RegimeMarket, ...], name: str) -> None:
    model, candles = models[name], markets[0].candles
    assert model.causal
    told = model.answer(candles)
    for cut in (300, 2_500):
        changed = model.answer(perturbed_after(candles, int(candles.close_time[cut]), seed=1))
        np.testing.assert_array_equal(told.code[: cut + 1], changed.code[: cut + 1])
        np.testing.assert_array_equal(told.probabilities[: cut + 1], changed.probabilities[: cut + 1])
        short = model.answer(candles.rows(slice(0, cut + 1)))
        np.testing.assert_array_equal(told.code[: cut + 1], short.code)
    if name != "majority":
        assert (told.code[2_501:] != changed.code[2_501:]).any()


def test_change_points_know_the_future_and_are_typed_so(models: dict[str, RegimeModel], markets: tuple[RegimeMarket, ...]) -> None:
    model, candles = models["change points"], markets[0].candles
    assert not model.causal
    told = model.answer(candles)
    assert isinstance(told, Hindsight)
    assert (told.known_at == candles.close_time[-1]).all()
    with pytest.raises(UsageError, match="knows the future"):
        refuse_hindsight("a rule", told)


@pytest.mark.parametrize(("name", "least"), [("rule", 0.45), ("hmm", 0.35), ("trees", 0.6), ("change points", 0.65)])
def test_each_is_better_than_the_majority(
    models: dict[str, RegimeModel], markets: tuple[RegimeMarket, ...], name: str, least: float
) -> None:
    m = markets[0]
    truth = m.regime[LEARN:]
    score, plain = (macro_f1(judged_bars(truth, models[n].answer(m.candles).code[LEARN:]), 4) for n in (name, "majority"))
    assert score > max(plain, least)


def test_every_answer_has_a_label_and_probabilities_that_sum_to_one(
    models: dict[str, RegimeModel], markets: tuple[RegimeMarket, ...]
) -> None:
    for name, model in models.items():
        told = model.answer(markets[1].candles)
        there = told.code >= 0
        assert there[200:].all(), name
        assert told.code.max() < 4
        np.testing.assert_allclose(told.probabilities[there].sum(1), 1, atol=1e-9)
        assert np.isnan(told.probabilities[~there]).all()


def test_the_same_seed_gives_the_same_model(markets: tuple[RegimeMarket, ...]) -> None:
    one, codes = markets[0].candles.rows(slice(0, 3_000)), markets[0].regime[:3_000]
    for fit in (
        lambda: fit_hmm(one, codes, 4, HmmSettings(seed=3)),
        lambda: fit_regime_trees([one], [codes], 4, RegimeTreesSettings(rounds=10, seed=3)),
        lambda: fit_change_point_labels([one], [codes], 4),
    ):
        np.testing.assert_array_equal(fit().answer(one).probabilities, fit().answer(one).probabilities)


def test_unlabelled_bars_teach_nothing(markets: tuple[RegimeMarket, ...]) -> None:
    one = markets[0].candles.rows(slice(0, 3_000))
    codes = markets[0].regime[:3_000].astype(np.int16)
    masked = codes.copy()
    masked[2_000:] = -1
    part, half = one.rows(slice(0, 2_000)), RegimeTreesSettings(rounds=10)
    whole, cut = fit_regime_trees([one], [masked], 4, half), fit_regime_trees([part], [codes[:2_000]], 4, half)
    np.testing.assert_array_equal(whole.answer(one).probabilities, cut.answer(one).probabilities)
    assert fit_majority([one], [masked], 4).share == pytest.approx(np.bincount(codes[:2_000], minlength=4) / 2_000)


def test_the_hidden_markov_filter_is_what_hmmlearn_says_of_the_last_bar(
    models: dict[str, RegimeModel], markets: tuple[RegimeMarket, ...]
) -> None:
    hmm = pytest.importorskip("hmmlearn.hmm", reason="hmmlearn is not installed: pip install 'candelabra[labellers]'")
    ours, candles = models["hmm"], markets[0].candles
    theirs = hmm.GaussianHMM(4, covariance_type="diag")
    theirs.startprob_, theirs.transmat_, theirs.means_, theirs.covars_ = ours.start, ours.transition, ours.mean, ours.variance
    from candelabra.models.regime_hmm import _inputs

    x = (_inputs(candles, ours.settings.span) - ours.centre) / ours.spread
    filtered = ours.states(candles)
    for t in (5, 400, 2_000):
        np.testing.assert_allclose(filtered[t], theirs.predict_proba(x[: t + 1])[-1], atol=1e-8)


def test_discriminants_are_those_of_scikit_learn() -> None:
    lda = pytest.importorskip("sklearn.discriminant_analysis", reason="scikit-learn is not installed")
    rng = np.random.default_rng(0)
    code = rng.integers(0, 3, 4_000)
    x = rng.normal(0, 1, (4_000, 4)) @ rng.normal(0, 1, (4, 4)) + rng.normal(0, 2, (3, 4))[code]
    ours = Discriminants.fit(x, code, np.ones(4_000), 3).chances(x)
    theirs = lda.LinearDiscriminantAnalysis(solver="lsqr").fit(x, code).predict_proba(x)
    np.testing.assert_allclose(ours, theirs, atol=0.02)  # theirs has no ridge


def test_columns_mean_what_they_are_called(markets: tuple[RegimeMarket, ...]) -> None:
    candles = markets[0].candles
    table, names = multi_scale(candles), column_names()
    assert table.shape == (len(candles), len(names)) == (6_000, 42)
    r, t = log_returns(candles), 1_000
    last = r[t - 14 : t + 1]
    assert table[t, names.index("z(15)")] == pytest.approx(last.sum() / np.sqrt((last**2).sum()), rel=1e-4)
    assert table[t, names.index("efficiency(15)")] == pytest.approx(abs(last.sum()) / np.abs(last).sum(), rel=1e-4)
    assert np.isfinite(table).all()
    assert np.abs(table[:, [names.index(f"position({s})") for s in (5, 60)]]).max() <= 1 + 1e-6


def test_the_late_truth_is_hindsight_and_late(markets: tuple[RegimeMarket, ...]) -> None:
    truth = markets[0].regime
    late = lagged_truth(truth, 10, 4)
    assert isinstance(late, Hindsight)
    np.testing.assert_array_equal(late.code[10:], truth[:-10])
    assert (late.code[:10] == -1).all()


def test_said_labels_become_how_often_they_were_true() -> None:
    table = said_true([np.array([0, 0, 0, 1, -1])], [np.array([0, 0, 1, 1, 1])], 2)
    np.testing.assert_allclose(table, [[3 / 5, 2 / 5], [1 / 3, 2 / 3]])


@pytest.mark.parametrize("library", ["hmmlearn.hmm", "ruptures"])
def test_a_missing_library_is_named_with_its_remedy(
    library: str, markets: tuple[RegimeMarket, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    one, codes = markets[0].candles, markets[0].regime
    with pytest.raises(MissingExtraError, match=r"candelabra\[labellers\]"):
        fit_hmm(one, codes, 4) if library == "hmmlearn.hmm" else fit_change_point_labels([one], [codes], 4)


def test_what_cannot_be_learned_from_is_refused(markets: tuple[RegimeMarket, ...]) -> None:
    one, codes = markets[0].candles, markets[0].regime
    with pytest.raises(DataError, match="one code for each bar"):
        fit_majority([one], [codes[:10]], 4)
    with pytest.raises(DataError, match="one column for each series"):
        fit_majority([one], [], 4)
    with pytest.raises(DataError, match="not one bar"):
        fit_regime_trees([one], [np.full(len(one), -1)], 4)
    with pytest.raises(DataError, match="lacks some of them"):
        fit_trailing_rule([one], [codes], ("up", "down"))
    with pytest.raises(DataError, match="labelled segments cannot name"):
        fit_change_point_labels([one.rows(slice(0, 400))], [codes[:400]], 4)
    with pytest.raises(DataError, match="needs 240"):
        fit_hmm(one.rows(slice(0, 100)), codes[:100], 4)
    with pytest.raises(DataError, match="early"):
        lagged_truth(codes, -1, 4)
    for made in (lambda: HmmSettings(states=1), lambda: RegimeTreesSettings(leaves=1), lambda: KernelSettings(step=0)):
        with pytest.raises(UsageError, match="cannot be"):
            made()
    assert REGIME_LABELS[0] == "bullish"
