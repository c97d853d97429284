"""The decoder's blocks against plain arithmetic written out: rotary positions, a band of attention, normalisation, gated units."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from candelabra.models.layers import Block, Encoder, RMSNorm


def encoder_of(width: int = 16, layers: int = 1, heads: int = 2, band: int = 8) -> Encoder:
    torch.manual_seed(0)
    encoder = Encoder(width, layers, heads, band, 0.0).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return encoder


def turned(x: Tensor, first: int) -> Tensor:
    """Pairs (k, k + half) of each head turned by position x frequency, in float64."""
    half = x.shape[-1] // 2
    frequency = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(first, first + x.shape[-2], dtype=torch.float64)[:, None] * frequency
    a, b = x[..., :half], x[..., half:]
    return torch.cat((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()), -1)


def normalised(x: Tensor, norm: RMSNorm) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + 1e-6).sqrt() * norm.weight.double()


def plainly(block: Block, x: Tensor, band: int) -> Tensor:
    """The block with one full masked score matrix, in float64."""
    batch, bars, width = x.shape
    heads = block.heads
    q, k, v = (normalised(x, block.norm1) @ block.qkv.weight.double().T).view(batch, bars, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    scores = turned(q, 0) @ turned(k, 0).transpose(-1, -2) / math.sqrt(width // heads)
    distance = torch.arange(bars)[:, None] - torch.arange(bars)
    weights = scores.masked_fill((distance < 0) | (distance >= band), -math.inf).softmax(-1)
    x = x + (weights @ v).transpose(1, 2).reshape(batch, bars, width) @ block.out.weight.double().T
    gate, up = (normalised(x, block.norm2) @ block.gate_up.weight.double().T).chunk(2, -1)
    return x + (gate * torch.sigmoid(gate) * up) @ block.down.weight.double().T


@pytest.mark.parametrize("bars", [1, 7, 8, 9, 16, 17, 24, 61, 500])
@pytest.mark.parametrize("band", [1, 8])
def test_attention_in_blocks_equals_one_plain_masked_matrix(bars: int, band: int) -> None:
    encoder = encoder_of(band=band)
    x = torch.randn(2, bars, 16)
    expected = normalised(plainly(encoder.blocks[0], x.double(), band), encoder.norm)  # type: ignore[arg-type]
    with torch.no_grad():
        kept = encoder(x)
    torch.testing.assert_close(kept.double(), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(encoder(x).double(), expected, rtol=1e-5, atol=1e-5)  # the path that keeps gradients


def test_gradients_equal_those_of_the_plain_matrix() -> None:
    encoder = encoder_of(layers=1, band=6)
    x = torch.randn(1, 40, 16, requires_grad=True)
    weight = torch.randn(1, 40, 16)
    (encoder(x) * weight).sum().backward()
    parameters = dict(encoder.named_parameters())
    found = {"x": x.grad, **{n: p.grad for n, p in parameters.items()}}
    twin = x.detach().double().requires_grad_()
    for parameter in parameters.values():
        parameter.grad = None
    (normalised(plainly(encoder.blocks[0], twin, 6), encoder.norm) * weight).sum().backward()  # type: ignore[arg-type]
    expected = {"x": twin.grad, **{n: p.grad for n, p in parameters.items()}}
    for name, gradient in found.items():
        assert gradient is not None, name
        torch.testing.assert_close(gradient.double(), expected[name].double(), rtol=1e-4, atol=1e-4)


def test_only_distances_matter_and_not_where_a_sequence_begins() -> None:
    encoder = encoder_of(layers=2, band=8)
    x = torch.randn(1, 4000, 16)
    with torch.no_grad():
        whole, later = encoder(x)[:, 2000:], encoder(x[:, 1900:])[:, 100:]
    torch.testing.assert_close(whole, later, rtol=1e-4, atol=1e-5)


def test_a_bar_reads_exactly_its_receptive_field() -> None:
    encoder = encoder_of(layers=3, band=5)
    x = torch.randn(1, 60, 16)
    with torch.no_grad():
        before = encoder(x)[0, 40]
        moved = []
        for row in range(60):
            other = x.clone()
            other[0, row] += 1.0
            moved.append(not torch.equal(encoder(other)[0, 40], before))
    assert [row for row, hit in enumerate(moved) if hit] == list(range(40 - 3 * 4, 41))


def test_dropout_keeps_the_mean_and_is_off_in_evaluation() -> None:
    torch.manual_seed(1)
    encoder = Encoder(16, 1, 2, 4, 0.5)
    x = torch.randn(1, 20, 16)
    with torch.no_grad():
        assert torch.equal(encoder.eval()(x), encoder(x))
        encoder.train()
        assert not torch.equal(encoder(x), encoder(x))
        block = encoder.blocks[0]
        ones = torch.ones(200, 500)
        dropped = block._drop(ones)  # type: ignore[operator]
    assert abs(float(dropped.mean()) - 1) < 0.02
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
