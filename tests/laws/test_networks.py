"""Point in time and fresh: `arms` with every fusion and `gpt2`, in training and in evaluation, from tensors and from raw candles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.resample import resample
from candelabra.features.scaling import ScalerSettings
from candelabra.models.gpt2 import Gpt2Network
from candelabra.models.inputs import Prepared
from candelabra.models.network import FittedNetwork, outputs_at
from candelabra.models.registry import new_model
from candelabra.models.settings import ArmsSettings, Gpt2Settings
from candelabra.testing import example_candles, example_data, example_recipe, perturbed_after, shocked
from candelabra.training.fit import fit_network
from candelabra.training.settings import TrainingSettings
from candelabra.windows.recipe import build_series

TINY = ArmsSettings(
    width=16, layers=2, heads=2, coarse_width=8, coarse_layers=1, coarse_heads=1, attention_width=8, coarse_attention_width=6,
    dropout=0.3, arm_dropout=0.3,
)  # fmt: skip
SETTINGS = {
    **{fusion: replace(TINY, fusion=fusion) for fusion in ("cross", "hierarchical", "concat")},  # type: ignore[arg-type]
    "gpt2": Gpt2Settings(width=16, layers=2, heads=2, context_length=16, dropout=0.3),
}
ONE_STEP = TrainingSettings(sequence_length=48, batch_size=2, steps=1, evaluate_every=1, rehearsal=0.0, precision="float32")
RECIPE = example_recipe()
EVERY = pytest.mark.parametrize("name", SETTINGS)


def randomised(fitted: FittedNetwork) -> FittedNetwork:
    """The network with every path open: heads and new paths start at zero and would hide both leaks and staleness."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in fitted.modules[0].parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.25, generator=generator)
    return fitted


@pytest.fixture(scope="module")
def candles() -> Candles:
    return example_candles("15m", bars=4 * 1300, seed=2)


@pytest.fixture(scope="module")
def fitted(candles: Candles) -> dict[str, FittedNetwork]:
    data, _ = example_data([candles], RECIPE)
    anchor = new_model("persistence").fit(data)
    return {
        name: randomised(fit_network(data, settings, ONE_STEP, ScalerSettings(fill=0.0), anchor=anchor)[0])
        for name, settings in SETTINGS.items()
    }


def tensors(prepared: Prepared, first: int, stop: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A stretch of base rows with whole coarse histories."""
    base_rows = len(prepared.x["1h"])
    x = {tf: torch.from_numpy(np.array(v[first:stop] if len(v) == base_rows else v))[None] for tf, v in prepared.x.items()}
    asof = {}
    for name, index in prepared.asof.items():
        asof[name] = torch.from_numpy((index[first:stop] if name.startswith("1h>") else index).astype(np.int64))[None]
    return x, asof


def last_rows(asof: dict[str, torch.Tensor], row: int) -> dict[str, int]:
    """The coarse row of each timeframe known at a base row, by way of the links there are."""
    known = {"1h": row}
    for name, index in asof.items():
        finer, coarser = name.split(">")
        known[coarser] = int(index[0, known[finer]])
    return known


def run(network: FittedNetwork, x: dict[str, torch.Tensor], asof: dict[str, torch.Tensor], mode: str, seed: int = 0) -> torch.Tensor:
    module = network.modules[0]
    module.train(mode != "eval")
    torch.manual_seed(seed)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=mode == "train in bfloat16"):
        quantiles, volatility = module(x, asof)
    module.eval()
    return torch.cat((quantiles.flatten(-2).float(), volatility.float()), -1)[0]


MODES = pytest.mark.parametrize("mode", ["eval", "train", "train in bfloat16"])


@EVERY
@MODES
def test_inputs_after_a_bar_move_nothing_at_or_before_it(name: str, mode: str, fitted: dict[str, FittedNetwork], candles: Candles) -> None:
    network = fitted[name]
    prepared = network.spec.prepare(build_series(candles, RECIPE))
    length = 16 if name == "gpt2" else 60
    x, asof = tensors(prepared, 900, 900 + length)
    before = run(network, x, asof, mode)
    for t in (length // 3, length - 2):
        known = last_rows(asof, t)
        random = torch.Generator().manual_seed(t)
        for tf in x:
            other = {k: v.clone() for k, v in x.items()}
            first = known.get(tf, t) + 1  # patches of finer bars lie on the base grid
            other[tf][:, first:] += 3 * torch.randn(other[tf][:, first:].shape, generator=random)
            after = run(network, other, asof, mode)
            assert torch.equal(before[: t + 1], after[: t + 1]), (tf, t)
            assert tf != "1h" or not torch.equal(before, after)


@EVERY
@MODES
def test_the_newest_bar_of_each_timeframe_moves_the_newest_output(
    name: str, mode: str, fitted: dict[str, FittedNetwork], candles: Candles
) -> None:
    network = fitted[name]
    prepared = network.spec.prepare(build_series(candles, RECIPE))
    length = 16 if name == "gpt2" else 60
    x, asof = tensors(prepared, 900, 900 + length)
    known = last_rows(asof, length - 1)
    for tf in x:
        moved = []
        for seed in range(6):  # in training, dropout may silence a whole arm
            other = {k: v.clone() for k, v in x.items()}
            other[tf][:, known.get(tf, length - 1)] += 2.0
            moved.append(not torch.equal(run(network, x, asof, mode, seed)[-1], run(network, other, asof, mode, seed)[-1]))
        assert all(moved) if mode == "eval" else any(moved), tf


@pytest.mark.parametrize("name", ["cross", "hierarchical", "concat"])
def test_a_coarse_bar_is_seen_from_its_close_on_and_not_before(name: str, fitted: dict[str, FittedNetwork], candles: Candles) -> None:
    network = fitted[name]
    prepared = network.spec.prepare(build_series(candles, RECIPE))
    x, asof = tensors(prepared, 900, 960)
    before = run(network, x, asof, "eval")
    known = np.array([last_rows(asof, t)["4h"] for t in range(60)])
    row = known[30]
    other = {k: v.clone() for k, v in x.items()}
    other["4h"][:, row] += 2.0
    moved = ~(before == run(network, other, asof, "eval")).all(-1).numpy()
    first = int(np.argmax(known >= row))
    assert not moved[:first].any()
    assert moved[first]


def natural(network: FittedNetwork, candles: Candles, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    output = network.predict(build_series(candles, RECIPE), rows)
    return np.concatenate([output.quantiles.reshape(len(rows), -1), output.mean, output.log_volatility], axis=1).astype(np.float64)


@EVERY
def test_candles_after_a_close_move_no_forecast_made_by_then(name: str, fitted: dict[str, FittedNetwork], candles: Candles) -> None:
    series = build_series(candles, RECIPE)
    for t in (700, 1001, len(series) - 2):
        rows, time = np.arange(t - 60, t + 1), int(series.close_time[t])
        whole = natural(fitted[name], candles, rows)
        assert np.isfinite(whole).all()
        np.testing.assert_array_equal(whole, natural(fitted[name], perturbed_after(candles, time), rows))
        cut = natural(fitted[name], candles.between(end_ms=time), rows)
        assert (np.abs(cut - whole) <= 1e-5 * np.maximum(np.abs(whole), whole.std(axis=0))).all()
        assert not np.array_equal(whole, natural(fitted[name], perturbed_after(candles, time - 1), rows))


def test_the_check_sees_a_join_on_open_times(fitted: dict[str, FittedNetwork], candles: Candles) -> None:
    network = fitted["cross"]
    rows = np.arange(900, 1001)
    series = build_series(candles, RECIPE)
    later = build_series(perturbed_after(candles, int(series.close_time[1000])), RECIPE)

    def joined_early(prepared: Prepared) -> Prepared:
        return replace(prepared, asof={k: np.minimum(v + 1, v.max()).astype(np.int32) for k, v in prepared.asof.items()})

    one, two = (outputs_at(network.modules[0], joined_early(network.spec.prepare(s)), rows)[0] for s in (series, later))
    assert not np.array_equal(one, two)


@EVERY
def test_the_newest_candle_of_each_timeframe_moves_the_newest_output(name: str, fitted: dict[str, FittedNetwork], candles: Candles) -> None:
    network = fitted[name]
    given = {"15m": candles, **{tf: resample(candles, tf) for tf in ("1h", "4h", "1d")}}
    newest = np.array([len(given["1h"]) - 1])

    def outputs(changed: Callable[[Candles], Candles], timeframe: str = "") -> NDArray[np.float32]:
        series = build_series({tf: changed(c) if tf == timeframe else c for tf, c in given.items()}, RECIPE)
        return np.concatenate([v.ravel() for v in outputs_at(network.modules[0], network.spec.prepare(series), newest)])

    before = outputs(lambda c: c)
    for tf in given:
        if tf == "15m" and isinstance(network.modules[0], Gpt2Network):
            continue  # gpt2 reads no finer bars
        assert any(not np.array_equal(before, outputs(lambda c, s=size: shocked(c, s), tf)) for size in (0.02, -0.1)), tf
