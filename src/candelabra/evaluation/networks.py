"""The networks of a fitted model, layer by layer, in training and in evaluation mode (torch is loaded by whoever fitted or opened one)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from candelabra.evaluation.findings import Audit
from candelabra.evaluation.layers import audit_layers
from candelabra.models.base import FittedModel
from candelabra.models.inputs import Prepared
from candelabra.windows.series import Series

__all__ = ["audit_networks", "networks_in"]

_BARS: Final = 61


def networks_in(model: FittedModel, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every fitted network of a model and of its members, with the path of names to it."""
    label = f"{name}/{model.name}" if name else model.name
    if hasattr(model, "modules") and hasattr(model, "spec"):
        yield label, model
    for member in getattr(model, "members", {}).values():
        yield from networks_in(member, label)


def audit_networks(model: FittedModel, series: Series, seed: int = 0) -> list[Audit]:
    """An audit for each network: its first layer, if any, whose past moves when later bars of any timeframe change."""
    return [_audit_one(label, fitted, series, seed) for label, fitted in networks_in(model)]


def _audit_one(label: str, fitted: Any, series: Series, seed: int) -> Audit:
    import torch

    base = fitted.spec.base
    prepared: Prepared = fitted.spec.prepare(series)
    rows = len(prepared.x[base])
    settings = fitted.modules[0].settings
    longest = getattr(settings, "context_length", None)
    lengths = {len(v) for v in prepared.x.values()}
    count = min(rows, longest if longest is not None else _BARS)
    while count in lengths - {rows} and count > 3:  # a layer's positions are told by their number
        count -= 1
    own = [tf for tf, v in prepared.x.items() if len(v) == rows]
    x = {tf: torch.from_numpy(np.array(v[rows - count :] if tf in own else v))[None] for tf, v in prepared.x.items()}
    x = {base: x[base], **{tf: v for tf, v in x.items() if tf != base}}
    asof = {
        name: torch.from_numpy((index[rows - count :] if name.startswith(f"{base}>") else index).astype(np.int64))[None]
        for name, index in prepared.asof.items()
    }

    def known(_input: str, position: int) -> Mapping[str, int]:
        upto = {base: position}
        for name, index in asof.items():
            finer, coarser = name.split(">")
            upto[coarser] = int(index[0, upto[finer]]) if upto[finer] >= 0 else -1
        return upto

    return audit_layers(
        f"network {label}", fitted.modules[0], x, run=lambda module, given: module(given, asof), known=known,
        clocks=dict.fromkeys(own, base), seed=seed, rounding=0.0,
    )  # fmt: skip
