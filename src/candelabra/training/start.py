"""Beginning from weights learned elsewhere: what has the same name is taken over, the rest begins as it would have.

Decisions: input layers are matched by the names of their channels, arms by their timeframe, so that a network may begin from one that
saw other symbols, fewer timeframes or other features; scalers and the unit of the volatility correction are those of the new candles,
and the weights are rescaled so that what was taken over is the same function of the same candles. A channel that the earlier network
did not have begins at zero: beginning with the weights of another estimator of the same quantity was worse (docs/experiments.md).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from candelabra.errors import UsageError
from candelabra.models.arms import ArmsNetwork
from candelabra.models.inputs import InputSpec
from candelabra.models.network import FittedNetwork, Network

__all__ = ["Adoption", "adopt"]

Floats: TypeAlias = NDArray[np.float64]
Places: TypeAlias = Sequence[int | None]
"""Where the weights of each channel come from: a column of the earlier network, None where it had nothing of the name."""


@dataclass(frozen=True)
class Adoption:
    """What a network took over: names of weights taken and begun anew, of input channels that were known and that begin at zero."""

    weights: tuple[str, ...]
    fresh: tuple[str, ...]
    channels: tuple[str, ...]
    unknown_channels: tuple[str, ...]

    def sentence(self) -> str:
        """The same for people."""
        parts = [f"{len(self.weights)} weights taken over", f"{len(self.channels)} input channels by name"]
        if self.unknown_channels:
            parts.append(f"{len(self.unknown_channels)} begin at zero ({', '.join(self.unknown_channels[:3])})")
        if self.fresh:
            parts.append(f"{len(self.fresh)} weights begin anew ({', '.join(self.fresh[:3])})")
        return ", ".join(parts)


def adopt(module: Network, spec: InputSpec, start: FittedNetwork, number: int = 0) -> Adoption:
    """Copy into ``module`` what ``start``'s network ``number`` learned; UsageError when the two are not of one kind and width.

    ``spec``: how ``module`` reads candles. Buffers (reference quantiles, volatility scale) stay the module's own.
    """
    given = start.modules[number % len(start.modules)]
    if type(given) is not type(module):
        raise UsageError(f"a {_kind(module)} network cannot begin from the weights of {start.name}: start from a bundle of the same model")
    if given.settings.width != module.settings.width or given.settings.layers != module.settings.layers:
        raise UsageError(
            f"a network of width {module.settings.width} and {module.settings.layers} layers cannot begin from one of width "
            f"{given.settings.width} and {given.settings.layers}: set model.width and model.layers (or the size) as the bundle has them"
        )
    theirs = given.state_dict()
    inputs = _inputs(module, spec)
    known, unknown = set[str](), set[str]()
    taken, fresh = [], []
    shifts: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, own in module.named_parameters():
            source = _source_name(name, module, given)
            theirs_value = theirs.get(source) if source is not None else None
            if theirs_value is None:
                fresh.append(name)
                if name.startswith(("fuse.values.", "bridges.")):
                    own.zero_()  # an arm that has learned nothing yet has nothing to say
            elif (tf := inputs.get(name)) is not None:
                earlier = start.spec.base if tf == spec.base else tf
                channels, there = _names(spec, tf), _names(start.spec, earlier)
                places = [there.index(name) if name in there else None for name in channels]
                scales, their_scales = _scales(spec, tf), _scales(start.spec, earlier)
                own.copy_(_columns(theirs_value, places, scales[1], their_scales[1]))
                shifts[name] = theirs_value @ _shift(places, scales[0], *their_scales)
                taken.append(name)
                for channel, place in zip(channels, places, strict=True):
                    (unknown if place is None else known).add(f"{tf} {channel}")
            elif theirs_value.shape == own.shape:
                own.copy_(theirs_value)
                taken.append(name)
            else:
                fresh.append(name)
        for name, shift in shifts.items():
            bias = name.removesuffix("weight") + "bias"
            # a bridge has no bias of its own: what it says is added to the base bars' embedding
            module.get_parameter(bias if bias in theirs else "embed.bias").add_(shift)
        _rescale_volatility(module, given)
    return Adoption(tuple(taken), tuple(fresh), tuple(sorted(known)), tuple(sorted(unknown)))


def _columns(weight: Tensor, places: Places, unit: Floats, their_unit: Floats) -> Tensor:
    """``weight`` ``(width, their channels)`` with a column per place, in its own units; zeros where the channel was not known."""
    out = weight.new_zeros(weight.shape[0], len(places))
    for k, there in enumerate(places):
        if there is not None:
            out[:, k] = weight[:, there] * float(unit[k] / their_unit[there])
    return out


def _shift(places: Places, centre: Floats, their_centre: Floats, their_unit: Floats) -> Tensor:
    """How much more the earlier network would see of each of its channels, in its units, because the centres differ."""
    shift = np.zeros(len(their_centre), np.float32)
    for k, there in enumerate(places):
        if there is not None:
            shift[there] = (centre[k] - their_centre[there]) / their_unit[there]
    return torch.from_numpy(shift)


def _scales(spec: InputSpec, tf: str) -> tuple[Floats, Floats]:
    """Centre and unit of each input channel of ``tf``, in the order of the layer that reads them."""
    frames = (tf, *spec.coarse) if spec.flat and tf == spec.base else (tf,)
    parts = [spec.scalers[f] for f in frames]
    repeat = spec.fine.get(tf, 1)
    if parts[0].settings.kind == "per_window":  # scaled by its own past: nothing that was fitted could differ
        width = sum(len(s.names) for s in parts) * repeat
        return np.zeros(width), np.ones(width)
    return np.tile(np.concatenate([s.center for s in parts]), repeat), np.tile(np.concatenate([s.scale for s in parts]), repeat)


def _names(spec: InputSpec, tf: str) -> tuple[str, ...]:
    """Names of the channels the layer of ``tf`` reads; a patch has each fine channel once for every fine bar."""
    if spec.flat and tf == spec.base:
        return (*spec.scalers[tf].names, *(f"{c}|{name}" for c in spec.coarse for name in spec.scalers[c].names))
    if tf in spec.fine:
        return tuple(f"{slot}|{name}" for slot in range(spec.fine[tf]) for name in spec.scalers[tf].names)
    return spec.scalers[tf].names


def _inputs(module: Network, spec: InputSpec) -> Mapping[str, str]:
    """Weights that read scaled features, and whose."""
    found = {"embed.weight": spec.base}
    if isinstance(module, ArmsNetwork):
        found |= {f"coarse_embeds.{tf}.weight": tf for tf in module.coarse_embeds}
        found |= {f"patches.{tf}.0.weight": tf for tf in module.patches}
        if module.settings.fusion == "concat":
            found |= {f"bridges.{tf}.weight": tf for tf in module.bridges}
    return found


def _source_name(name: str, module: Network, given: Network) -> str | None:
    """The name under which the earlier network has a weight; keys and values of the fusion are numbered by arm."""
    match = re.fullmatch(r"fuse\.(keys|values)\.(\d+)\.weight", name)
    if match is None or not isinstance(module, ArmsNetwork) or not isinstance(given, ArmsNetwork):
        return name
    tf = module.layout.coarse[int(match[2])]
    return f"fuse.{match[1]}.{given.layout.coarse.index(tf)}.weight" if tf in given.layout.coarse else None


def _rescale_volatility(module: Network, given: Network) -> None:
    """The correction of log volatility is said in standard deviations of the anchor's error, which differ."""
    head, earlier = module.head, given.head
    if head.horizons != earlier.horizons or head.levels != earlier.levels:
        return
    rows = torch.arange(head.horizons) * (head.levels + 2)
    factor = earlier.volatility_scale / head.volatility_scale
    head.linear.weight[rows] *= factor[:, None]
    head.linear.bias[rows] *= factor


def _kind(module: Network) -> str:
    return "arms" if isinstance(module, ArmsNetwork) else "gpt2"
