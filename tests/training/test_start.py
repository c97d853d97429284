"""Beginning from weights learned elsewhere: the same function of the same candles whatever the scalers, and leaving it is allowed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from candelabra.candles.frame import Candles
from candelabra.errors import UsageError
from candelabra.features.scaling import ScalerSettings
from candelabra.models.base import FitData
from candelabra.models.network import FittedNetwork
from candelabra.models.settings import ArmsSettings, Gpt2Settings
from candelabra.testing import example_candles, example_data
from candelabra.training.fit import _build, fit_network
from candelabra.training.problem import prepare_problem
from candelabra.training.settings import TrainingSettings
from candelabra.training.start import adopt
from candelabra.windows.recipe import Recipe

BASE = ("return(1)", "log_rv(6)", "range", "target_hour")
RECIPE = Recipe("1h", coarse=("4h",), horizons=("1h", "6h"), base_features=BASE, coarse_features=("return(1)", "range"))
MORE = Recipe(
    "1h", coarse=("2h", "4h"), horizons=("1h", "6h"), base_features=("log_rv(12)", *reversed(BASE)), coarse_features=("range", "return(1)")
)
TINY = ArmsSettings(
    width=16, layers=2, heads=2, coarse_width=8, coarse_layers=1, coarse_heads=1, attention_width=8, dropout=0.0, anchor="har"
)
GPT2 = Gpt2Settings(width=16, layers=1, heads=2, context_length=12, anchor="har")
SCALING = ScalerSettings(fill=0.0, clip=None)
TRAINING = TrainingSettings(
    sequence_length=48, batch_size=4, steps=12, evaluate_every=4, warmup_steps=2, rehearsal=0.0, precision="float32",
                            threads=1, learning_rate=3e-3,
)  # fmt: skip


def learning(seed: int, recipe: Recipe = RECIPE) -> tuple[FitData, Candles]:
    candles = example_candles("1h", 2600, seed=seed)
    return example_data([candles], recipe)[0], candles


@pytest.fixture(scope="module")
def start() -> FittedNetwork:
    return fit_network(learning(1)[0], TINY, TRAINING, SCALING)[0]


def correction(fitted: FittedNetwork, data: FitData) -> np.ndarray:
    """What the network adds to its anchor's log volatility at the last bars."""
    series = data.series[0]
    rows = np.arange(len(series) - 200, len(series))
    return fitted.predict(series, rows).log_volatility - fitted.spec.prepare(series).anchor[rows]


@pytest.mark.parametrize("recipe", [RECIPE, MORE], ids=["same inputs", "other order, a channel and an arm more"])
@pytest.mark.parametrize("fusion", ["cross", "concat", "hierarchical"])
def test_what_is_taken_over_is_the_same_function_of_the_candles(recipe: Recipe, fusion: str) -> None:
    settings = replace(TINY, fusion=fusion)
    begun = fit_network(learning(1)[0], settings, TRAINING, SCALING)[0]
    problem = prepare_problem(learning(2, recipe)[0], settings, SCALING, None)
    torch.manual_seed(5)
    module = _build(problem, settings)
    adoption = adopt(module, problem.spec, begun)
    module.eval()
    if fusion == "hierarchical" and recipe is MORE:
        pytest.skip("a new arm between the base and the coarse one changes what a hierarchy computes")
    wanted = correction(begun, learning(2)[0])
    if module.fuse is None or recipe is RECIPE:  # a new arm is silent, but takes a share of the attention
        got = correction(FittedNetwork("arms", problem.spec, (module,)), learning(2, recipe)[0])
        np.testing.assert_allclose(got, wanted, atol=2e-5)
        assert np.abs(wanted).max() > 1e-3
    assert ("1h log_rv(12)" in adoption.unknown_channels) == (recipe is MORE)
    assert any(name.startswith("head") for name in adoption.weights)


def test_an_arm_keeps_its_own_place_in_the_fusion(start: FittedNetwork) -> None:
    problem = prepare_problem(learning(2, MORE)[0], TINY, SCALING, None)
    module = _build(problem, TINY)
    adoption = adopt(module, problem.spec, start)
    there = start.modules[0].fuse.keys[0].weight
    assert module.layout.coarse == ("2h", "4h")
    assert torch.equal(module.fuse.keys[1].weight, there)
    assert not torch.equal(module.fuse.keys[0].weight, there)
    assert not module.fuse.values[0].weight.any()
    assert "fuse.keys.0.weight" in adoption.fresh
    assert "begin at zero (1h log_rv(12))" in adoption.sentence()


def test_gpt2_begins_from_gpt2() -> None:
    begun = fit_network(learning(1)[0], GPT2, TRAINING, SCALING)[0]
    problem = prepare_problem(learning(2)[0], GPT2, SCALING, None)
    module = _build(problem, GPT2)
    adopt(module, problem.spec, begun)
    got = correction(FittedNetwork("gpt2", problem.spec, (module.eval(),)), learning(2)[0])
    np.testing.assert_allclose(got, correction(begun, learning(2)[0]), atol=2e-5)


def test_leaving_the_weights_as_they_are_is_one_of_the_candidates(start: FittedNetwork) -> None:
    wild = replace(TRAINING, learning_rate=50.0, start_rate=1.0)
    fitted, (run,) = fit_network(learning(2)[0], TINY, wild, SCALING, start=start)
    assert run.best_step == 0
    assert run.history[0]["step"] == 0
    np.testing.assert_allclose(correction(fitted, learning(2)[0]), correction(start, learning(2)[0]), atol=2e-5)


def test_it_learns_further_and_knows_nothing_of_later_targets(start: FittedNetwork) -> None:
    data = learning(2)[0]
    gentle = replace(TRAINING, learning_rate=1e-3, start_rate=0.5, steps=8)
    fitted, (run,) = fit_network(data, TINY, gentle, SCALING, start=start)
    assert [row["step"] for row in run.history] == [0, 4, 8]
    targets = data.targets[0]
    hidden = np.ones(len(targets), bool)
    hidden[data.train_rows[0]] = hidden[data.validation_rows[0]] = False
    noise = np.random.default_rng(3).normal(0, 5, targets.returns.shape)
    other = replace(
        targets,
        returns=np.where(hidden[:, None], noise, targets.returns),
        log_volatility=np.where(hidden[:, None], noise, targets.log_volatility),
    )
    again = fit_network(replace(data, targets=(other,)), TINY, gentle, SCALING, start=start)[0]
    for name, weight in fitted.modules[0].state_dict().items():
        assert torch.equal(weight, again.modules[0].state_dict()[name]), name


@pytest.mark.parametrize(
    ("settings", "words"),
    [(replace(TINY, width=32), "set model.width"), (replace(TINY, layers=1), "model.layers"), (GPT2, "same model")],
)
def test_other_networks_are_refused(start: FittedNetwork, settings: ArmsSettings | Gpt2Settings, words: str) -> None:
    problem = prepare_problem(learning(2)[0], settings, SCALING, None)
    with pytest.raises(UsageError, match=words):
        adopt(_build(problem, settings), problem.spec, start)
