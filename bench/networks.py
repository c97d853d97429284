"""The networks and inputs that speed items use: random but fixed numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

BARS, CHANNELS, BATCH = 60, 11, 32
"""The brief's window: 60 bars of 11 features in batches of 32."""


def large(dropout: float = 0.1) -> Any:
    """The 3.2 M parameter decoder of the training row: d 256, 4 layers, one arm over 60 bars."""
    import torch

    from candelabra.models.arms import ArmsLayout, ArmsNetwork
    from candelabra.models.settings import ArmsSettings

    torch.manual_seed(0)
    settings = ArmsSettings(width=256, layers=4, heads=4, attention_width=BARS, dropout=dropout)
    return ArmsNetwork(settings, ArmsLayout("1h", (), (), {"1h": CHANNELS}), _reference(1), np.ones(1, np.float32))


def small() -> Any:
    """`small` with a 1h base, 4h and 1d arms; paths that begin at zero are filled, or nothing would be seen."""
    import torch

    from candelabra.models.arms import ArmsLayout, ArmsNetwork
    from candelabra.models.settings import ArmsSettings

    torch.manual_seed(0)
    channels = {"1h": 30, "4h": 8, "1d": 8}
    network = ArmsNetwork(ArmsSettings(), ArmsLayout("1h", ("4h", "1d"), (), channels), _reference(3), np.ones(3, np.float32))
    for weights in network.parameters():
        if not weights.detach().any():
            torch.nn.init.normal_(weights, std=0.02)
    return network.eval()


def _reference(horizons: int) -> Any:
    return np.repeat(np.linspace(-2, 2, 21, dtype=np.float32)[None], horizons, axis=0)


def prepared(bars: int) -> Any:
    """Random scaled inputs of ``bars`` base bars for :func:`small`."""
    from candelabra.models.inputs import Prepared

    random = np.random.default_rng(1)
    rows = {"1h": bars, "4h": bars // 4, "1d": bars // 24}
    x = {tf: random.normal(size=(n, 30 if tf == "1h" else 8)).astype(np.float32) for tf, n in rows.items()}
    closed = np.arange(1, bars + 1)
    asof = {f"1h>{tf}": (closed // k - 1).astype(np.int32) for tf, k in (("4h", 4), ("1d", 24))}
    return Prepared(x, asof, np.zeros((bars, 3)), 0)


def training_flops(network: Any) -> float:
    """Operations of a training step on one window: 3 x (2 x matrix weights + 2 T d L) per bar (the causal half counted)."""
    weights = sum(p.numel() for p in network.parameters() if p.dim() > 1)
    return float(3 * (2 * weights + 2 * BARS * 256 * 4) * BARS)
