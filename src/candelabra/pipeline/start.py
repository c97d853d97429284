"""The bundle a training begins from: opened, sealed, and knowing nothing later than the training range."""

from __future__ import annotations

import json
from pathlib import Path

from candelabra.bundles.format import Manifest, read_manifest
from candelabra.bundles.verify import require_sealed
from candelabra.candles.frame import format_minute
from candelabra.config.tree import Config
from candelabra.errors import BundleError, DataError, UsageError
from candelabra.models.network import FittedNetwork, load
from candelabra.windows.recipe import Recipe
from candelabra.windows.splits import Split

__all__ = ["starting_networks"]


def starting_networks(config: Config, recipe: Recipe, split: Split) -> dict[str, FittedNetwork]:
    """Networks by name whose weights ``training.start_from`` offers; none when it is empty.

    DataError when that bundle learned from candles after this run's training range: markets move together, so weights that saw another
    symbol later would carry the validation and test ranges into this training. UsageError when it foretells other horizons.
    """
    if not config.training.start_from:
        return {}
    given = Path(config.training.start_from)
    bundle = given if (given / "bundle.json").is_file() else given / "bundle"
    manifest = read_manifest(bundle)
    require_sealed(bundle)
    _require_earlier(manifest, bundle, split)
    earlier = Recipe.of(manifest.recipe)
    if earlier.steps != recipe.steps:
        raise UsageError(
            f"training.start_from = {given}: it foretells {', '.join(map(str, earlier.steps))} bars ahead, this run "
            f"{', '.join(map(str, recipe.steps))}: give both the same horizons in bars (windows.horizons)"
        )
    found = {}
    for path in sorted(bundle.glob("parts/**/model.json")):
        name = str(json.loads(path.read_text(encoding="utf-8")).get("model"))
        if (path.parent / "weights-0.safetensors").is_file():
            found[name] = load(path.parent)
    if not found:
        raise BundleError(f"training.start_from = {given}: there is no network in it to begin from; give a bundle of arms or gpt2")
    return found


def _require_earlier(manifest: Manifest, bundle: Path, split: Split) -> None:
    knew, cut = manifest.ranges["validation"][1], split.cuts_ms[1]
    if knew > cut:
        raise DataError(
            f"{bundle} learned from candles up to {format_minute(knew)}, and this run is validated from {format_minute(cut)} on: its "
            "weights know that market already. Train the bundle to start from on earlier candles: candelabra train ... "
            f"--until {format_minute(cut)[:10]}"
        )
