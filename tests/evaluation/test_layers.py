"""Networks layer by layer: ours pass in both modes to the bit, and a leak put into one of them is named where it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from candelabra.errors import UsageError
from candelabra.evaluation.layers import audit_layers
from candelabra.evaluation.networks import audit_networks, networks_in
from candelabra.features.scaling import ScalerSettings
from candelabra.models.ensemble import combine
from candelabra.models.network import FittedNetwork
from candelabra.models.registry import new_model
from candelabra.models.settings import ArmsSettings, Gpt2Settings
from candelabra.testing import LawBroken, check_layers, example_candles, example_data, example_recipe
from candelabra.training.fit import fit_network
from candelabra.training.settings import TrainingSettings

RECIPE = example_recipe()
TINY = {
    "width": 16, "layers": 2, "heads": 2, "coarse_width": 8, "coarse_layers": 1, "coarse_heads": 1, "attention_width": 8,
    "coarse_attention_width": 6,
}  # fmt: skip
SETTINGS: dict[str, Any] = {
    **{fusion: ArmsSettings(**TINY, fusion=fusion, dropout=0.2) for fusion in ("cross", "hierarchical", "concat")},
    "gpt2": Gpt2Settings(width=16, layers=2, heads=2, context_length=17, dropout=0.2),
}
ONE_STEP = TrainingSettings(sequence_length=48, batch_size=2, steps=1, evaluate_every=1, rehearsal=0.0, precision="float32", threads=1)
CANDLES = example_candles("15m", bars=4 * 1_000, seed=2)


@pytest.fixture(scope="module")
def fitted() -> dict[str, FittedNetwork]:
    data, _ = example_data([CANDLES], RECIPE)
    anchor = new_model("persistence").fit(data)
    found = {n: fit_network(data, s, ONE_STEP, ScalerSettings(fill=0.0), anchor=anchor)[0] for n, s in SETTINGS.items()}
    generator = torch.Generator().manual_seed(1)
    for network in found.values():  # new paths start at zero and would hide a leak
        with torch.no_grad():
            for parameter in network.modules[0].parameters():
                if parameter.dim() > 1:
                    parameter.normal_(0, 0.25, generator=generator)
    return found


@pytest.mark.parametrize("name", SETTINGS)
def test_every_layer_of_every_network_is_causal_in_both_modes(name: str, fitted: dict[str, FittedNetwork]) -> None:
    data, _ = example_data([CANDLES], RECIPE)
    (found,) = audit_networks(fitted[name], data.series[0])
    assert found.passed, [f.words for f in found.findings]
    assert set(found.tried) == {"layers, train", "layers, eval"}
    assert found.columns > 10  # layers looked into


def test_networks_inside_an_ensemble_are_found(fitted: dict[str, FittedNetwork]) -> None:
    data, _ = example_data([CANDLES], RECIPE)
    both = combine({"arms": fitted["cross"], "persistence": new_model("persistence").fit(data)}, data, 0.2)
    assert [name for name, _ in networks_in(both)] == ["ensemble/arms"]


def test_a_coarse_bar_seen_early_is_named_with_its_layer(fitted: dict[str, FittedNetwork], monkeypatch: pytest.MonkeyPatch) -> None:
    from candelabra.models import arms

    plain = arms.gather
    monkeypatch.setattr(arms, "gather", lambda states, index: plain(states, (index + 1).clamp(max=states.shape[1] - 1)))
    data, _ = example_data([CANDLES], RECIPE)
    (found,) = audit_networks(fitted["cross"], data.series[0])
    assert {f.column for f in found.findings} <= {"fuse.keys.0", "fuse.keys.1"}  # the first layers that read what was gathered
    assert {f.way for f in found.findings} >= {"eval"}
    assert all(f.bars for f in found.findings)


def test_running_statistics_and_modes_are_left_as_they_were() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    module.add_module("norm", nn.BatchNorm1d(31))
    module.eval()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    audit_layers("kept", module, {"x": torch.randn(2, 31, 3)})
    assert not module.training
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_checks_raise_in_words_and_refuse_inputs_that_cannot_be_told_apart() -> None:
    class Flipped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x).flip(1)

    with pytest.raises(LawBroken, match=r"the output reads \d+ positions ahead.*training mode"):
        check_layers(Flipped(), torch.randn(2, 31, 3))
    check_layers(nn.GRU(3, 4, batch_first=True), torch.randn(2, 31, 3))
    with pytest.raises(UsageError, match="inputs of one length"):
        audit_layers("twins", Flipped(), {"a": torch.randn(1, 31, 3), "b": torch.randn(1, 31, 3)})
