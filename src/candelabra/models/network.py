"""`FittedNetwork`: trained weights with everything that turns a series into their forecasts, and how it rests in a folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from candelabra.errors import BundleError
from candelabra.models.arms import ArmsLayout, ArmsNetwork
from candelabra.models.base import ModelOutput
from candelabra.models.gpt2 import Gpt2Layout, Gpt2Network
from candelabra.models.inputs import InputSpec, Prepared, windows_needed
from candelabra.models.registry import load_fitted
from candelabra.models.settings import ArmsSettings, Gpt2Settings, receptive_field
from candelabra.windows.series import Series

__all__ = ["FittedNetwork", "Network", "history_pass", "history_states", "load", "outputs_at", "regime_states"]

Network: TypeAlias = ArmsNetwork | Gpt2Network
_SEGMENT: Final = 65_536  # base bars evaluated at once; the receptive field before a segment is computed again
_WINDOWS: Final = 64
_FORMAT: Final = 1


@dataclass(frozen=True, eq=False)
class FittedNetwork:
    """One or more trained networks of one kind (their outputs are averaged), with their inputs' specification."""

    name: str
    spec: InputSpec
    modules: tuple[Network, ...]

    @property
    def responds(self) -> bool:
        """The newest candle can move the newest forecast."""
        return True

    @property
    def warm_up(self) -> int:
        """Base bars that the anchor remembers."""
        return int(getattr(self.spec.anchor, "warm_up", 0))

    @property
    def windows(self) -> dict[str, int]:
        """Bars of each timeframe that can move a forecast."""
        return windows_needed(self.modules[0].settings, self.spec)

    def predict(self, series: Series, rows: NDArray[np.int64]) -> ModelOutput:
        """Forecasts at base rows, each a function of the receptive field before it; NaN before everything is known."""
        prepared = self.spec.prepare(series)
        quantiles, volatility = average_outputs(self.modules, prepared, rows)
        output = self.spec.finish(quantiles, volatility, prepared.anchor[rows])
        early = rows < prepared.first
        for values in (output.quantiles, output.mean, output.log_volatility):
            values[early] = np.nan
        return output

    def save(self, folder: Path) -> None:
        """Write ``model.json``, one safetensors file per network, and the anchor in its own subfolder."""
        folder.mkdir(parents=True, exist_ok=True)
        first = self.modules[0]
        for index, module in enumerate(self.modules):
            save_file({k: v.contiguous() for k, v in module.state_dict().items()}, folder / f"weights-{index}.safetensors")
        self.spec.anchor.save(folder / "anchor")
        values: dict[str, Any] = {
            "format": _FORMAT,
            "model": self.name,
            "settings": asdict(first.settings),
            "layout": asdict(first.layout),
            "networks": len(self.modules),
            "parameters": sum(p.numel() for p in first.parameters()),
            "inputs": self.spec.to_dict(),
            "reference": first.head.reference.tolist(),
            "windows": self.windows,
        }
        if isinstance(first, Gpt2Network):
            values["blocks"] = first.blocks.config.to_diff_dict()
        (folder / "model.json").write_text(json.dumps(values, indent=1), encoding="utf-8")


def load(folder: Path) -> FittedNetwork:
    """The networks saved in ``folder``; BundleError when something is missing or does not fit."""
    try:
        values = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        if values["format"] != _FORMAT:
            raise BundleError(f"{folder / 'model.json'} has format {values['format']}, this version reads {_FORMAT}: train again")
        spec = InputSpec.from_dict(values["inputs"], load_fitted(folder / "anchor"))
        modules = tuple(_load_module(values, spec, folder / f"weights-{k}.safetensors") for k in range(values["networks"]))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise BundleError(f"{folder} cannot be read as a network ({error!r}): restore it from the sealed bundle") from error
    return FittedNetwork(values["model"], spec, modules)


def _load_module(values: dict[str, Any], spec: InputSpec, weights: Path) -> Network:
    reference = np.asarray(values["reference"], np.float32)
    module: Network
    if values["model"] == "gpt2":
        from transformers import GPT2Config

        settings = Gpt2Settings(**values["settings"])
        module = Gpt2Network(settings, Gpt2Layout(**values["layout"]), reference, spec.volatility_scale, GPT2Config(**values["blocks"]))
    else:
        layout = values["layout"]
        regimes = {tf: tuple(labels) for tf, labels in layout.get("regimes", {}).items()}
        arms = ArmsLayout(layout["base"], tuple(layout["coarse"]), tuple(layout["fine"]), layout["channels"], regimes)
        module = ArmsNetwork(ArmsSettings(**values["settings"]), arms, reference, spec.volatility_scale)
    module.load_state_dict(load_file(weights))
    return module.eval()


def average_outputs(
    modules: Sequence[Network], prepared: Prepared, rows: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean over networks of their outputs at base rows."""
    outputs = [outputs_at(module, prepared, rows) for module in modules]
    quantiles = np.stack([q for q, _ in outputs]).mean(axis=0, dtype=np.float64)
    volatility = np.stack([v for _, v in outputs]).mean(axis=0, dtype=np.float64)
    return np.asarray(quantiles, np.float32), np.asarray(volatility, np.float32)


def outputs_at(module: Network, prepared: Prepared, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A network's outputs at base rows: quantiles ``(rows, horizons, levels)``, volatility ``(rows, horizons)``, in the head's units."""
    if len(rows) == 0:
        horizons, levels = module.head.horizons, module.head.levels
        return np.zeros((0, horizons, levels), np.float32), np.zeros((0, horizons), np.float32)
    if isinstance(module, ArmsNetwork):
        first = int(rows.min())
        quantiles, volatility = history_pass(module, prepared, first, int(rows.max()) + 1)
        return quantiles[rows - first], volatility[rows - first]
    return _window_pass(module, prepared, rows)


@torch.inference_mode()
def history_pass(module: ArmsNetwork, prepared: Prepared, start: int, stop: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Outputs at base rows ``start .. stop`` in one banded pass: quantiles ``(rows, horizons, levels)``, volatility ``(rows, horizons)``.

    Reads the receptive field before ``start``; equal to a stream that began at least that much earlier.
    """
    heads = [module.head(states) for states in history_states(module, prepared, start, stop)]
    return np.concatenate([q[0].cpu().numpy() for q, _ in heads]), np.concatenate([v[0].cpu().numpy() for _, v in heads])


@torch.inference_mode()
def history_states(module: ArmsNetwork, prepared: Prepared, start: int, stop: int) -> Iterator[Tensor]:
    """What the heads read at base rows ``start .. stop``, in one banded pass: pieces ``(1, rows, width)``, in order."""
    module.eval()
    field = receptive_field(module.settings.layers, module.settings.attention_width)
    base, device = module.layout.base, module.head.reference.device
    asof = {name: torch.from_numpy(index.astype(np.int64))[None].to(device) for name, index in prepared.asof.items()}
    states = module.coarse_states({tf: _tensor(prepared.x[tf], device) for tf in module.layout.coarse}, asof)
    for first in range(start, stop, _SEGMENT):
        last = min(stop, first + _SEGMENT)
        low = max(0, first - field + 1)
        x = {tf: _tensor(prepared.x[tf][low:last], device) for tf in (base, *module.layout.fine)}
        local = {name: index[:, low:last] if name.startswith(f"{base}>") else index for name, index in asof.items()}
        yield module.base_states(x, local, states)[:, first - low :]


@torch.inference_mode()
def regime_states(modules: Sequence[ArmsNetwork], prepared: Prepared, start: int, stop: int) -> NDArray[np.float32]:
    """How networks correct an anchor's logits of regimes at base rows ``start .. stop``, their mean ``(rows, R)`` (see `RegimeHead`)."""
    told = []
    for module in modules:
        head = module.regimes
        assert head is not None
        pieces = [head(states)[0].cpu().numpy() for states in history_states(module, prepared, start, stop)]
        told.append(np.concatenate(pieces) if pieces else np.zeros((0, head.linear.out_features), np.float32))
    return np.stack(told).mean(axis=0, dtype=np.float64).astype(np.float32)


@torch.inference_mode()
def _window_pass(module: Gpt2Network, prepared: Prepared, rows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A fresh window for every row; before ``context_length`` bars are there, the window starts with zeros."""
    module.eval()
    length, base = module.settings.context_length, module.layout.base
    table = prepared.x[base]
    padded = np.concatenate([np.zeros((length - 1, table.shape[1]), np.float32), table])
    view = np.lib.stride_tricks.sliding_window_view(padded, length, axis=0)
    quantiles, volatility = [], []
    for first in range(0, len(rows), _WINDOWS):
        window = np.ascontiguousarray(view[rows[first : first + _WINDOWS]].transpose(0, 2, 1))
        q, v = module({base: torch.from_numpy(window).to(module.head.reference.device)}, {})
        quantiles.append(q[:, -1].cpu().numpy())
        volatility.append(v[:, -1].cpu().numpy())
    return np.concatenate(quantiles), np.concatenate(volatility)


def _tensor(values: NDArray[np.float32], device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))[None].to(device)
