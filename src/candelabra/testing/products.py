"""A sealed bundle in small, made in seconds, for tests of what runs bundles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from candelabra.bundles.format import seal
from candelabra.candles.frame import Candles
from candelabra.features.scaling import ScalerSettings
from candelabra.metrics.calibration import Calibration
from candelabra.models.ensemble import combine
from candelabra.models.inputs import windows_needed
from candelabra.models.registry import new_model
from candelabra.models.settings import ArmsSettings
from candelabra.testing import example_candles, example_data, example_recipe
from candelabra.training.export import export_graphs
from candelabra.training.fit import fit_network
from candelabra.training.settings import TrainingSettings
from candelabra.windows.recipe import candles_needed

__all__ = ["small_bundle"]


def small_bundle(folder: Path) -> Path:
    """Like those of `train`: an ensemble of `arms` (1h, 4h, patches of 15m) and yesterday's volatility, sealed as ``folder/bundle``.

    `example_candles("15m", 4 * 1400, seed=3)` are its market.
    """
    recipe = example_recipe(coarse=("4h",))
    candles: Candles = example_candles("15m", 4 * 1400, seed=3)
    settings = ArmsSettings(
        width=16, layers=2, heads=2, coarse_width=8, coarse_layers=1, coarse_heads=1, attention_width=6, coarse_attention_width=5
    )
    training = TrainingSettings(sequence_length=48, batch_size=4, steps=2, evaluate_every=2, rehearsal=0.0, precision="float32", threads=1)
    data, split = example_data([candles], recipe)
    anchor = new_model("persistence").fit(data)
    network, _ = fit_network(data, settings, training, ScalerSettings(fill=0.0), anchor=anchor)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.modules[0].parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    ensemble = combine({"arms": network, "persistence": new_model("persistence").fit(data)}, data)
    draft = folder / "draft"
    ensemble.save(draft / "parts" / "ensemble")
    export_graphs(network, draft / "parts" / "ensemble" / "arms")
    Calibration(("1h", "6h"), (0.5, 0.0), (1.2, 0.9)).save(draft / "calibration.json")
    series = data.series[0]
    values: dict[str, Any] = {
        "model": "ensemble", "created_ms": 1, "version": "0", "symbols": (series.symbol,), "simulated": True, "horizons": ("1h", "6h"),
        "needs": candles_needed(recipe, windows_needed(settings, network.spec), ensemble.warm_up), "recipe": json.loads(recipe.to_json()),
        "feature_versions": {tf: t.version for tf, t in series.features.items()}, "data": {},
        "ranges": {"train": (split.cuts_ms[0], split.cuts_ms[1])}, "libraries": {}, "seed": 0,
    }  # fmt: skip
    seal(draft, folder / "bundle", values)
    return folder / "bundle"
