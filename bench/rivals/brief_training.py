"""The brief's training loop made to run: a GPT-2 body fed with embeddings, one answer per window, items one by one through a DataLoader.

What it sketches cannot run as written (floats are given where token numbers are wanted), so a linear layer embeds the features; the rest
is as the brief has it: GPT-2's own dropout, mean squared error at the last position, Adam at 1e-4, batches of 32, shuffled.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from transformers import GPT2Config, GPT2Model
from transformers.utils import logging

logging.set_verbosity_error()


class _Regressor(nn.Module):
    def __init__(self, channels: int, bars: int) -> None:
        super().__init__()
        self.embed = nn.Linear(channels, 256)
        config = GPT2Config(vocab_size=1, n_positions=bars, n_embd=256, n_layer=4, n_head=4, bos_token_id=None, eos_token_id=None)
        self.body = GPT2Model(config)
        self.answer = nn.Linear(256, 1)

    def forward(self, windows: Tensor) -> Tensor:
        states = self.body(inputs_embeds=self.embed(windows), use_cache=False).last_hidden_state
        return self.answer(states[:, -1, :])


class _Windows(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, windows: Tensor, answers: Tensor) -> None:
        self.windows, self.answers = windows, answers

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.windows[index], self.answers[index]


def new_model(channels: int, bars: int) -> nn.Module:
    """3.2 M parameters: width 256, 4 layers, 4 heads."""
    return _Regressor(channels, bars)


_OPTIMIZERS: dict[int, Any] = {}


def steps(model: nn.Module, windows: Tensor, answers: Tensor) -> Iterator[float]:
    """One pass over the windows: the loss after each optimizer step. A second call goes on with the same optimizer."""
    optimizer = _OPTIMIZERS.setdefault(id(model), torch.optim.Adam(model.parameters(), lr=1e-4))
    judge = nn.MSELoss()
    model.train()
    for x, y in DataLoader(_Windows(windows, answers), batch_size=32, shuffle=True):
        loss = judge(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.train()
        yield loss.item()


def validation_loss(model: nn.Module, windows: Tensor, answers: Tensor) -> float:
    """Mean squared error on held-out windows."""
    model.eval()
    with torch.no_grad():
        total = sum(float(((model(x) - y) ** 2).sum()) for x, y in zip(windows.split(64), answers.split(64), strict=True))
    model.train()
    return total / len(windows)
