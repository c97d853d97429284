"""Networks as ONNX graphs: what a server runs, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from candelabra.models.arms import ArmsNetwork
from candelabra.models.inputs import REGIME_BARS, windows_needed
from candelabra.models.network import FittedNetwork, Network
from candelabra.training.export_steps import export_steps
from candelabra.training.onnx_graph import to_onnx

__all__ = ["export_graphs"]


class _Newest(nn.Module):
    """A network on one full window of every timeframe: outputs at the newest bar only."""

    def __init__(self, network: Network, names: tuple[str, ...], links: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.names, self.links = network, names, links

    def forward(self, *arrays: Tensor) -> tuple[Tensor, Tensor]:
        x: Mapping[str, Tensor] = dict(zip(self.names, arrays, strict=False))
        asof = dict(zip(self.links, arrays[len(self.names) :], strict=True))
        return self.network.head(self.network.hidden(x, asof)[:, -1])


class _Regimes(nn.Module):
    """How the last bars of a window correct an anchor's logits of regimes."""

    def __init__(self, network: ArmsNetwork, names: tuple[str, ...], links: tuple[str, ...], bars: int) -> None:
        super().__init__()
        self.network, self.names, self.links, self.bars = network, names, links, bars

    def forward(self, *arrays: Tensor) -> Tensor:
        x: Mapping[str, Tensor] = dict(zip(self.names, arrays, strict=False))
        asof = dict(zip(self.links, arrays[len(self.names) :], strict=True))
        assert self.network.regimes is not None
        said: Tensor = self.network.regimes(self.network.hidden(x, asof)[:, -self.bars :])
        return said


def export_graphs(fitted: FittedNetwork, folder: Path) -> list[Path]:
    """Write ``graph-<k>.onnx`` per network: windows of scaled rows in, the newest bar's outputs out; and the steps of `arms`.

    Inputs ``x:<timeframe>`` float32 ``(1, bars, channels)`` and ``asof:<link>`` int64 ``(1, finer bars)``; outputs ``quantiles`` and
    ``volatility``. All sizes are fixed (`windows_needed`): one window at a time has the same bits in any company, and symbolic sizes
    cost the exporter more than twice the time. Networks that learned regimes beside the forecast also have ``regimes-<k>.onnx``: how they
    correct an anchor's logits of regimes at the last `REGIME_BARS` base bars of a longer window, so that a history costs one pass.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, module in enumerate(fitted.modules):
        names, links, inputs = _inputs(module, fitted, 1)
        paths.append(folder / f"graph-{index}.onnx")
        to_onnx(_Newest(module, names, links).eval(), inputs, ("quantiles", "volatility"), paths[-1])
        if isinstance(module, ArmsNetwork):
            paths += export_steps(module, folder, index)
        if isinstance(module, ArmsNetwork) and module.regimes is not None:
            names, links, inputs = _inputs(module, fitted, REGIME_BARS)
            paths.append(folder / f"regimes-{index}.onnx")
            to_onnx(_Regimes(module, names, links, REGIME_BARS).eval(), inputs, ("regimes",), paths[-1])
    return paths


def _inputs(module: Network, fitted: FittedNetwork, bars: int) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, Tensor]]:
    """Names of the tables and the links of a window that answers at its last ``bars`` base bars, and empty inputs of its sizes."""
    spec = fitted.spec
    windows = windows_needed(module.settings, spec, bars)
    base = windows[spec.base]
    if isinstance(module, ArmsNetwork):
        lengths = {spec.base: base} | {tf: windows[tf] for tf in spec.coarse} | dict.fromkeys(spec.fine, base)
        widths = module.layout.channels
        links = {f"{f}>{c}": lengths[f] for f, c in spec.links}
    else:
        lengths, widths, links = {spec.base: base}, {spec.base: module.layout.channels}, {}
    inputs = {f"x:{tf}": torch.zeros(1, n, widths[tf]) for tf, n in lengths.items()}
    inputs |= {f"asof:{link}": torch.zeros(1, n, dtype=torch.int64) for link, n in links.items()}
    return tuple(lengths), tuple(links), inputs
