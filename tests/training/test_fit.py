"""What is fitted before and beside the weights knows nothing but the training rows, and ends in time."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from candelabra.candles.frame import Candles
from candelabra.errors import DataError
from candelabra.features.scaling import ScalerSettings
from candelabra.models.base import FitData
from candelabra.models.registry import new_model
from candelabra.models.settings import ArmsSettings
from candelabra.testing import example_candles, example_data, example_recipe, perturbed_after
from candelabra.training.fit import fit_network
from candelabra.training.problem import Problem, prepare_problem
from candelabra.training.settings import TrainingSettings
from candelabra.windows.auxiliary import AUXILIARY_SPANS, auxiliary_targets

RECIPE = example_recipe(coarse=("4h",), fine=())
TINY = ArmsSettings(width=16, layers=1, heads=2, coarse_width=8, coarse_layers=1, coarse_heads=1, attention_width=8)
SCALING = ScalerSettings(fill=0.0)


@pytest.fixture(scope="module")
def candles() -> list[Candles]:
    return [example_candles("1h", bars, seed=k, symbol=f"SIM{k}/USDT") for k, bars in ((1, 2600), (2, 2200))]


def scrambled(data: FitData, *, validation: bool) -> FitData:
    """Every target outside the training rows (and, unless ``validation``, outside the validation rows) replaced by noise."""
    random = np.random.default_rng(7)
    targets = []
    for own, train, later in zip(data.targets, data.train_rows, data.validation_rows, strict=True):
        hidden = np.ones(len(own), bool)
        hidden[train] = False
        hidden[later] &= validation
        noise = random.normal(0, 5, (2, *own.returns.shape))
        returns, volatility = (np.where(hidden[:, None], n, v) for n, v in zip(noise, (own.returns, own.log_volatility), strict=True))
        targets.append(replace(own, returns=returns, log_volatility=volatility))
    return replace(data, targets=tuple(targets))


def fitted_on_train(problem: Problem) -> dict[str, object]:
    """Everything of a problem that must come from training rows."""
    values = problem.spec.to_dict()
    rows = np.arange(1500, 1600)
    return {
        "inputs": json.dumps(values, sort_keys=True),
        "reference": problem.reference.tobytes(),
        "unit": problem.unit.tobytes(),
        "variance": problem.variance.tobytes(),
        "learned": b"".join(t.tobytes() for t in problem.targets),
        "anchor": b"".join(p.anchor[rows].tobytes() for p in problem.prepared),
    }


@pytest.mark.parametrize(("anchor", "validation"), [("ewma", True), ("har", True), ("harx", False)])  # harx chooses its ridge on validation
def test_scalers_anchor_reference_and_units_do_not_know_later_targets(anchor: str, validation: bool, candles: list[Candles]) -> None:
    data, _ = example_data(candles, RECIPE)
    settings = replace(TINY, anchor=anchor)  # type: ignore[arg-type]
    before = fitted_on_train(prepare_problem(data, settings, SCALING, None))
    after = fitted_on_train(prepare_problem(scrambled(data, validation=validation), settings, SCALING, None))
    assert before == after


def test_a_target_of_the_training_rows_does_move_them(candles: list[Candles]) -> None:
    data, _ = example_data(candles, RECIPE)
    own = data.targets[0]
    volatility = own.log_volatility.copy()
    volatility[data.train_rows[0][-5:]] += 1.0
    other = replace(data, targets=(replace(own, log_volatility=volatility), *data.targets[1:]))
    settings = replace(TINY, anchor="har")
    assert fitted_on_train(prepare_problem(data, settings, SCALING, None)) != fitted_on_train(
        prepare_problem(other, settings, SCALING, None)
    )


def test_candles_after_the_training_range_move_nothing_that_is_learned_from(candles: list[Candles]) -> None:
    """The auxiliary targets are made of candles, so scrambling targets alone would not show a leak through them."""
    data, split = example_data(candles, RECIPE)
    rows = [r[-1] for r in data.train_rows]
    last = max(int(t.known_at[row, -1]) for t, row in zip(data.targets, rows, strict=True))
    assert last <= split.cuts_ms[1]
    other, _ = example_data([perturbed_after(c, split.cuts_ms[1]) for c in candles], RECIPE)
    problems = [prepare_problem(d, replace(TINY, anchor="har"), SCALING, None) for d in (data, other)]
    kept = [{k: v for k, v in fitted_on_train(p).items() if k != "anchor"} for p in problems]
    assert kept[0] == kept[1]


def test_auxiliary_targets_end_in_time_also_across_a_gap(candles: list[Candles]) -> None:
    """With a hole right after the training rows, as many *rows* later lies in the validation range."""
    whole = candles[0]
    _, split = example_data([whole], RECIPE)
    cut = split.cuts_ms[1]
    hole = (whole.open_time < cut - 8 * 3_600_000) | (whole.open_time >= cut + 10 * 3_600_000)
    holed = whole.rows(hole)
    data, split = example_data([holed], RECIPE)
    other, _ = example_data([perturbed_after(holed, split.cuts_ms[1])], RECIPE)
    problems = [prepare_problem(d, replace(TINY, anchor="har"), SCALING, None) for d in (data, other)]
    kept = [{k: v for k, v in fitted_on_train(p).items() if k != "anchor"} for p in problems]
    assert kept[0] == kept[1]


def test_an_auxiliary_target_is_the_range_of_its_span_and_unknown_after_the_last_row(candles: list[Candles]) -> None:
    data, _ = example_data(candles, RECIPE)
    series = data.series[0]
    table = auxiliary_targets(series, 1000)
    squares = np.log(series.base_candles.high / series.base_candles.low) ** 2 / (4 * np.log(2))
    for column, (start, stop) in enumerate(AUXILIARY_SPANS):
        known = np.flatnonzero(np.isfinite(table[:, column]))
        assert known[-1] == 1000 - stop
        row = 500
        expected = 0.5 * np.log(np.mean(squares[row + 1 + start : row + 1 + stop])) - series.level[row]
        assert table[row, column] == pytest.approx(expected, rel=1e-9)


def test_weights_do_not_know_targets_outside_train_and_validation(candles: list[Candles]) -> None:
    data, _ = example_data(candles, RECIPE)
    training = TrainingSettings(sequence_length=48, batch_size=4, steps=6, evaluate_every=3, rehearsal=0.3, precision="float32", threads=1)
    states = []
    for taught in (data, scrambled(data, validation=False), scrambled(data, validation=True)):
        fitted, (run,) = fit_network(taught, replace(TINY, anchor="har"), training, SCALING)
        states.append((fitted.modules[0].state_dict(), run.history))
    first, second, third = (h for _, h in states)
    losses = [[row["validation_loss"] for row in h] for h in (first, second, third)]
    assert losses[0] == losses[1] != losses[2]
    assert all((states[0][0][k] == states[1][0][k]).all() for k in states[0][0])


def test_training_rows_whose_features_are_never_known_are_refused_with_figures() -> None:
    data, _ = example_data([example_candles("1h", 500, seed=1)], RECIPE)
    first_rows = replace(data, train_rows=(data.train_rows[0][:20],))
    with pytest.raises(DataError, match=r"no training bar has a known target .*from bar \d+ on, training ends at bar 19"):
        prepare_problem(first_rows, TINY, SCALING, new_model("persistence").fit(data))


def test_too_few_training_bars_for_a_sequence_are_refused_with_figures() -> None:
    data, _ = example_data([example_candles("1h", 500, seed=1)], RECIPE)
    anchor = new_model("persistence").fit(data)
    with pytest.raises(DataError, match=r"shorter than a sequence of 384: give more candles or set training.sequence_length <= "):
        fit_network(data, TINY, TrainingSettings(sequence_length=384, steps=1, rehearsal=0.0), SCALING, anchor=anchor)
