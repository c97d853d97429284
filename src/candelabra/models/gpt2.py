"""`gpt2`: Hugging Face GPT-2 blocks on candle features, with a forecasting head.

Decisions:
- features enter through ``inputs_embeds``: one bar is one position, no token table, no made-up vocabulary;
- multi-scale inputs: the as-of features of coarser timeframes stand beside the base features of each bar;
- trained densely like `arms`; a forecast is defined as the last position of a fresh window of ``context_length`` bars, because
  learned absolute positions know no stream (so there is no cached step, and evaluation costs a window per bar);
- ``weights`` may name pretrained blocks (a local folder or a hub name): then only input and output layers start from nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import GPT2Config, GPT2Model

from candelabra.errors import DataError
from candelabra.models.heads import ForecastHead
from candelabra.models.settings import Gpt2Settings
from candelabra.windows.auxiliary import AUXILIARY_SPANS

__all__ = ["Gpt2Layout", "Gpt2Network", "blocks_config", "pretrained_blocks"]


@dataclass(frozen=True)
class Gpt2Layout:
    """Name of the base timeframe and how many values a bar has."""

    base: str
    channels: int


class Gpt2Network(nn.Module):
    """GPT-2 between a linear embedding and the forecasting head; outputs are in the anchor's units (see heads)."""

    def __init__(
        self,
        settings: Gpt2Settings,
        layout: Gpt2Layout,
        reference: NDArray[np.float32],
        volatility_scale: NDArray[np.float32],
        config: GPT2Config | None = None,
    ) -> None:
        super().__init__()
        self.settings, self.layout = settings, layout
        self.blocks = GPT2Model(blocks_config(settings) if config is None else config)
        # the token table is never used: one row instead of thousands that would be trained, averaged and sealed for nothing
        self.blocks.wte = nn.Embedding(1, self.blocks.config.n_embd)
        self.embed = nn.Linear(layout.channels, self.blocks.config.n_embd)
        self.head = ForecastHead(self.blocks.config.n_embd, reference, volatility_scale)
        self.auxiliary = nn.Linear(self.blocks.config.n_embd, len(AUXILIARY_SPANS))

    def forward(self, x: Mapping[str, Tensor], asof: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """``x[base]`` ``(batch, bars, channels)`` -> quantiles, volatility at every bar; ``asof`` is not needed."""
        return self.head(self.hidden(x, asof))

    def hidden(self, x: Mapping[str, Tensor], asof: Mapping[str, Tensor]) -> Tensor:
        """States that the heads read, ``(batch, bars, width)``."""
        return self.blocks(inputs_embeds=self.embed(x[self.layout.base]), use_cache=False).last_hidden_state


def blocks_config(settings: Gpt2Settings) -> GPT2Config:
    """GPT-2's own settings for blocks trained from nothing."""
    return GPT2Config(
        vocab_size=1,
        n_positions=settings.context_length,
        n_embd=settings.width,
        n_layer=settings.layers,
        n_head=settings.heads,
        resid_pdrop=settings.dropout,
        embd_pdrop=settings.dropout,
        attn_pdrop=settings.dropout,
        bos_token_id=0,
        eos_token_id=0,
    )


def pretrained_blocks(settings: Gpt2Settings) -> GPT2Model:
    """The blocks that ``settings.weights`` names, from a local folder or the hub (safetensors only).

    Raises DataError when they cannot be read or have fewer positions than ``context_length``.
    """
    where = settings.weights
    try:
        blocks = GPT2Model.from_pretrained(where, use_safetensors=True, local_files_only=Path(where).exists())
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"no GPT-2 weights could be read from model.weights = {where!r} ({reason}): give a folder with config.json and "
            'model.safetensors, a hub name that can be reached, or "" to train from nothing'
        ) from error
    if blocks.config.n_positions < settings.context_length:
        raise DataError(
            f"the GPT-2 weights {where!r} know {blocks.config.n_positions} positions, fewer than model.context_length = "
            f"{settings.context_length}: set it to {blocks.config.n_positions} or less"
        )
    return blocks
