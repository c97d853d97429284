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


def same_padding() -> Any:
    """A convolution over five bars, padded on both sides so that lengths agree."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(4, 8)
            self.conv = nn.Conv1d(8, 8, 5, padding=2)
            self.head = nn.Linear(8, 1)

        def forward(self, x: Any) -> Any:
            return self.head(self.conv(self.embed(x).transpose(1, 2)).transpose(1, 2))

    torch.manual_seed(0)
    return Network()


def mask_one_off() -> Any:
    """A causal mask whose diagonal is one too high."""
    import torch
    from torch import nn

    class Attention(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.qkv = nn.Linear(width, 3 * width)

        def forward(self, x: Any) -> Any:
            q, k, v = self.qkv(x).chunk(3, dim=-1)
            hidden = torch.ones(x.shape[1], x.shape[1]).triu(2).bool()
            return x + torch.softmax((q @ k.transpose(1, 2)).masked_fill(hidden, float("-inf")), -1) @ v

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(4, 16)
            self.attention = Attention(16)
            self.head = nn.Linear(16, 2)

        def forward(self, x: Any) -> Any:
            return self.head(self.attention(self.embed(x)))

    torch.manual_seed(0)
    return Network()


def both_directions() -> Any:
    """A recurrent layer that reads the window from both ends."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = nn.LSTM(4, 8, batch_first=True, bidirectional=True)
            self.head = nn.Linear(16, 1)

        def forward(self, x: Any) -> Any:
            return self.head(self.recurrent(x)[0])

    torch.manual_seed(0)
    return Network()


def pooled_gate() -> Any:
    """Channels weighed by their mean over the whole window (squeeze and excite)."""
    import torch
    from torch import nn

    class Gate(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.weigh = nn.Linear(width, width)

        def forward(self, x: Any) -> Any:
            return x * torch.sigmoid(self.weigh(x.mean(dim=1, keepdim=True)))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(4, 8)
            self.gate = Gate(8)
            self.head = nn.Linear(8, 1)

        def forward(self, x: Any) -> Any:
            return self.head(self.gate(self.embed(x)))

    torch.manual_seed(0)
    return Network()
