"""Networks as ONNX graphs: what a server runs, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from candelabra.models.arms import ArmsNetwork
from candelabra.models.inputs import windows_needed
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


def export_graphs(fitted: FittedNetwork, folder: Path) -> list[Path]:
    """Write ``graph-<k>.onnx`` per network: windows of scaled rows in, the newest bar's outputs out; and the steps of `arms`.

    Inputs ``x:<timeframe>`` float32 ``(1, bars, channels)`` and ``asof:<link>`` int64 ``(1, finer bars)``; outputs ``quantiles`` and
    ``volatility``. All sizes are fixed (`windows_needed`): one window at a time has the same bits in any company, and symbolic sizes
    cost the exporter more than twice the time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, module in enumerate(fitted.modules):
        path = folder / f"graph-{index}.onnx"
        _export(module, fitted, path)
        paths.append(path)
        if isinstance(module, ArmsNetwork):
            paths += export_steps(module, folder, index)
    return paths


def _export(module: Network, fitted: FittedNetwork, path: Path) -> None:
    spec = fitted.spec
    windows = windows_needed(module.settings, spec)
    base = windows[spec.base]
    if isinstance(module, ArmsNetwork):
        lengths = {spec.base: base} | {tf: windows[tf] for tf in spec.coarse} | dict.fromkeys(spec.fine, base)
        widths = module.layout.channels
        links = {f"{f}>{c}": lengths[f] for f, c in spec.links}
    else:
        lengths, widths, links = {spec.base: base}, {spec.base: module.layout.channels}, {}
    inputs = {f"x:{tf}": torch.zeros(1, n, widths[tf]) for tf, n in lengths.items()}
    inputs |= {f"asof:{link}": torch.zeros(1, n, dtype=torch.int64) for link, n in links.items()}
    to_onnx(_Newest(module, tuple(lengths), tuple(links)).eval(), inputs, ("quantiles", "volatility"), path)
