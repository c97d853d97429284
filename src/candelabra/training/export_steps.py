"""The cached step as ONNX graphs: one new bar in, its forecast and the keys and values to remember out.

Decisions: a graph holds no state, so what is remembered goes in and only the new bar's keys and values come out: a runner writes them into
its ring of ``attention_width - 1`` bars in place, and nothing is copied; the order of a ring's rows does not matter, since keys are already
turned by their position; a coarse arm has a graph of its own, run when its bar closes. It is the arithmetic of `models.stream`, written so
that the runtime has few operations to start: their number is what a step costs.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from candelabra.models.arms import ArmsNetwork
from candelabra.models.layers import Block, Encoder
from candelabra.training.onnx_graph import to_onnx

__all__ = ["export_steps"]


def _normed(x: Tensor, weight: Tensor, epsilon: float = 1e-6) -> Tensor:
    """RMSNorm in the form that the runtime knows as one operation."""
    return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + epsilon) * weight


class _BlockStep(nn.Module):
    """A block at one bar, given the keys and values of the bars before it."""

    qkv: Tensor
    out: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor
    swapped: Tensor

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.heads, self.size, self.band = block.heads, block.size, block.band
        self.norm1, self.norm2 = block.norm1.weight, block.norm2.weight
        gate, up = block.gate_up.weight.chunk(2)
        for name, weight in (("qkv", block.qkv.weight), ("out", block.out.weight), ("gate", gate), ("up", up), ("down", block.down.weight)):
            # turned round once, here: the runtime would do it in each step
            self.register_buffer(name, weight.detach().T.contiguous())
        self.register_buffer("swapped", torch.arange(self.size).roll(self.size // 2))

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, empty: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """The block's state, and the bar's own key and value ``(2, heads, 1, size)`` to remember.

        ``x`` ``(1, width)``; ``cos`` and ``sin`` ``(3, 1, 1, size)`` for query, key and (nothing turned) value; ``empty`` ``(rows,)`` is
        -inf where the rings have no bar yet; ``keys`` and ``values`` ``(heads, rows, size)``.
        """
        qkv = (_normed(x, self.norm1) @ self.qkv).view(3, self.heads, 1, self.size)
        qkv = qkv * cos + torch.index_select(qkv, -1, self.swapped) * sin
        query, kept = qkv[0], qkv[1:]
        if self.band == 1:
            empty = empty - torch.inf  # a ring has at least one row, and this block must not read it
        seen = query @ keys.transpose(1, 2) + empty
        weights = torch.softmax(torch.cat((seen, (query * kept[0]).sum(-1, keepdim=True)), -1), -1)
        rows = keys.shape[1]
        read = weights[..., :rows] @ values + weights[..., rows:] * kept[1]
        x = x + read.reshape(1, -1) @ self.out
        y = _normed(x, self.norm2)
        return x + (F.silu(y @ self.gate) * (y @ self.up)) @ self.down, kept


class _Steps(nn.Module):
    """An encoder's blocks at one bar."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        steps = [_BlockStep(block) for block in encoder.blocks]  # type: ignore[arg-type]
        self.blocks = nn.ModuleList(steps)
        self.norm = encoder.norm.weight
        self.shape = (steps[0].heads, max(1, steps[0].band - 1), steps[0].size)

    def example(self) -> dict[str, Tensor]:
        """Inputs beside the bar itself, by name."""
        heads, rows, size = self.shape
        turns = {name: torch.zeros(3, 1, 1, size) for name in ("cos", "sin")}
        rings = {f"{what}:{k}": torch.zeros(heads, rows, size) for k in range(len(self.blocks)) for what in ("keys", "values")}
        return turns | {"empty": torch.zeros(rows)} | rings


class _CoarseStep(nn.Module):
    """A coarse arm when its bar closes: what finer arms read of it (``cross``: its key and value for the base arm)."""

    def __init__(self, network: ArmsNetwork, tf: str) -> None:
        super().__init__()
        self.embed, self.steps = network.coarse_embeds[tf], _Steps(network.coarse_encoders[tf])  # type: ignore[arg-type]
        arm = network.layout.coarse.index(tf)
        above = network.settings.fusion == "hierarchical" and arm + 1 < len(network.layout.coarse)
        self.bridge = network.bridges[tf] if above else None
        fuse = network.fuse
        self.key = None if fuse is None else fuse.keys[arm]
        self.value = None if fuse is None else fuse.values[arm]

    def forward(self, x: Tensor, *rest: Tensor) -> tuple[Tensor, Tensor]:
        state = self.embed(x)
        if self.bridge is not None:
            state, rest = state + self.bridge(rest[0]), rest[1:]
        cos, sin, empty, *rings = rest
        kept = []
        for k, block in enumerate(self.steps.blocks):
            state, new = block(state, cos, sin, empty, rings[2 * k], rings[2 * k + 1])
            kept.append(new)
        state = _normed(state, self.steps.norm)
        if self.key is not None and self.value is not None:
            state = torch.cat((self.key(state), self.value(state)))
        return state, torch.stack(kept)


class _BaseStep(nn.Module):
    """The base arm at one bar, given what the coarse arms last said."""

    def __init__(self, network: ArmsNetwork, says: tuple[str, ...]) -> None:
        super().__init__()
        self.network, self.steps, self.says = network, _Steps(network.encoder), says

    def forward(self, x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        network = self.network
        fine, says = len(network.layout.fine), len(self.says)
        given = {network.layout.base: x} | dict(zip(network.layout.fine, rest[:fine], strict=True))
        said = dict(zip(self.says, rest[fine : fine + says], strict=True))
        cos, sin, empty, *rings = rest[fine + says :]
        state = network.embed_base(given, said)
        kept = []
        for depth, block in enumerate(self.steps.blocks):
            if network.fuse is not None and depth == network.settings.layers // 2:
                state = self._fuse(state, torch.stack(tuple(said.values())))
            state, new = block(state, cos, sin, empty, rings[2 * depth], rings[2 * depth + 1])
            kept.append(new)
        state = _normed(state, self.steps.norm)
        quantiles, volatility = network.head(state)
        if network.regimes is None:
            return quantiles, volatility, torch.stack(kept)
        return quantiles, volatility, torch.stack(kept), network.regimes(state)

    def _fuse(self, x: Tensor, said: Tensor) -> Tensor:
        """``said`` ``(arms, 2, width)``: keys and values; the null state has a key and no value."""
        fuse = self.network.fuse
        assert fuse is not None
        query = fuse.query(_normed(x, torch.ones(x.shape[-1]), torch.finfo(x.dtype).eps))
        keys = torch.cat((said[:, 0], fuse.null[None]))
        weights = torch.softmax(query @ keys.T * x.shape[-1] ** -0.5, -1)
        return x + fuse.out(weights[:, :-1] @ said[:, 1])


@torch.no_grad()
def export_steps(network: ArmsNetwork, folder: Path, index: int) -> list[Path]:
    """Write ``step-<index>.onnx`` for the base arm and ``step-<index>-<timeframe>.onnx`` for each coarse encoder into ``folder``.

    All sizes are fixed. Inputs of the base step: ``x:<base>`` and ``x:<fine>`` ``(1, channels)``, ``say:<coarse>`` (``cross``: its key and
    value ``(2, width)``; ``hierarchical``: the state of the nearest coarse arm; ``concat``: ``x:<coarse>``, its row), ``cos sin empty`` and
    ``keys:<layer> values:<layer>``; outputs ``quantiles volatility kept``, and ``regimes``, the
    correction of their logits, where they were learned. A coarse step gives ``say`` and ``kept`` ``(layers, 2, heads, 1,
    size)``, and in a hierarchy reads ``above``, what the next coarser arm said.
    """
    network.eval()
    layout, settings = network.layout, network.settings
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for tf in () if settings.fusion == "concat" else layout.coarse:
        step = _CoarseStep(network, tf).eval()
        inputs = {f"x:{tf}": torch.zeros(1, layout.channels[tf])}
        if step.bridge is not None:
            inputs["above"] = torch.zeros(1, settings.coarse_width)
        paths.append(folder / f"step-{index}-{tf}.onnx")
        to_onnx(step, inputs | step.steps.example(), ("say", "kept"), paths[-1])
    says = layout.coarse[:1] if settings.fusion == "hierarchical" else layout.coarse
    base = _BaseStep(network, says).eval()
    inputs = {f"x:{tf}": torch.zeros(1, layout.channels[tf]) for tf in (layout.base, *layout.fine)}
    for tf in says:
        if settings.fusion == "concat":
            inputs[f"x:{tf}"] = torch.zeros(1, layout.channels[tf])
        else:
            inputs[f"say:{tf}"] = torch.zeros(2, settings.width) if settings.fusion == "cross" else torch.zeros(1, settings.coarse_width)
    paths.append(folder / f"step-{index}.onnx")
    outputs = ("quantiles", "volatility", "kept", *(() if network.regimes is None else ("regimes",)))
    to_onnx(base, inputs | base.steps.example(), outputs, paths[-1])
    return paths
