"""Opening what a bundle holds of regimes, without torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from candelabra.bundles.engines import OnnxNetwork, load_engine, networks_of
from candelabra.bundles.format import Manifest, read_manifest
from candelabra.bundles.verify import require_sealed
from candelabra.candles.frame import Candles
from candelabra.errors import BundleError
from candelabra.models.regime_encoder import Mode
from candelabra.models.segmenter import BaseStates, Segmenter
from candelabra.windows.recipe import Recipe, build_series

__all__ = ["asked", "open_segmenter", "regime_modes"]


def regime_modes(bundle: str | Path) -> tuple[str, ...]:
    """Which modes a bundle holds, none where it has no regimes."""
    parts = Path(bundle) / "parts"
    return tuple(mode for mode in ("filtered", "smoothed") if (parts / f"regimes-{mode}" / "regimes.json").is_file())


def open_segmenter(bundle: str | Path, mode: Mode = "filtered") -> tuple[Manifest, Segmenter]:
    """The segmenter of a mode after checking every file against its seal; BundleError says what is wrong."""
    folder = Path(bundle)
    require_sealed(folder)
    manifest, there = read_manifest(folder), regime_modes(folder)
    if mode not in there:
        held = f"it has {' and '.join(there)} ones" if there else "it was trained to forecast"
        raise BundleError(f"the bundle {manifest.id} holds no {mode} regimes ({held}): train with labels, or choose another mode")
    segmenter = Segmenter.load(folder / "parts" / f"regimes-{mode}")
    if segmenter.mode != mode:
        raise BundleError(f"{folder / 'parts' / f'regimes-{mode}'} holds a {segmenter.mode} segmenter: the bundle was put together by hand")
    if segmenter.asks_states:
        segmenter = replace(segmenter, ask=asked(folder / "parts" / manifest.model, Recipe.of(manifest.recipe)))
    return manifest, segmenter


def asked(part: Path, recipe: Recipe) -> Callable[[Candles], BaseStates]:
    """How the network in a part corrects the logits of regimes, from candles of a symbol; it is opened when it is first asked."""

    @cache
    def network() -> OnnxNetwork:
        found = [one for one in networks_of(load_engine(part)) if one.tells_regimes]
        if not found:
            raise BundleError(f"regimes are read with a network in {part}, and none there learned any: restore the sealed bundle")
        return found[0]

    return lambda candles: network().regime_states(build_series(candles, recipe))
