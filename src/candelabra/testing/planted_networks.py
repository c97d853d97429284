"""Planted defects inside networks (see `planted`); every one is wrong on purpose. torch is loaded when a network is made."""

from __future__ import annotations

from typing import Any


def eval_bidirectional() -> Any:
    """Attention whose mask depends on the mode: causal while training, open when evaluated."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Attention(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.qkv = nn.Linear(width, 3 * width)

        def forward(self, x: Any) -> Any:
            q, k, v = self.qkv(x).chunk(3, dim=-1)
            return x + F.scaled_dot_product_attention(q, k, v, is_causal=self.training)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(4, 16)
            self.first = nn.GRU(16, 16, batch_first=True)
            self.cross = Attention(16)
            self.head = nn.Linear(16, 2)

        def forward(self, x: Any) -> Any:
            return self.head(self.cross(self.first(self.embed(x))[0]))

    torch.manual_seed(0)
    return Network()


def batch_statistics() -> Any:
    """A batch norm between causal layers: while training, its statistics run over all positions."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(4, 8)
            self.norm = nn.BatchNorm1d(8)
            self.recurrent = nn.GRU(8, 8, batch_first=True)
            self.head = nn.Linear(8, 1)

        def forward(self, x: Any) -> Any:
            normed = self.norm(self.embed(x).transpose(1, 2)).transpose(1, 2)
            return self.head(self.recurrent(normed)[0])

    torch.manual_seed(0)
    return Network()
