"""The forecasting head and its losses."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from candelabra.models.base import QUANTILE_LEVELS
from candelabra.models.heads import ForecastHead, forecast_loss, qlike_loss

LEVELS = torch.tensor(QUANTILE_LEVELS)
REFERENCE = np.stack([np.linspace(-2.5, 2.3, 21), np.linspace(-4, 4.4, 21)]).astype(np.float32)


def head() -> ForecastHead:
    return ForecastHead(6, REFERENCE, np.array([0.5, 0.25], np.float32))


def test_an_untrained_head_says_the_reference_and_no_correction() -> None:
    quantiles, volatility = head()(torch.randn(3, 7, 6))
    torch.testing.assert_close(quantiles, torch.from_numpy(REFERENCE).expand(3, 7, 2, 21), rtol=0, atol=1e-6)
    assert (volatility == 0).all()


@given(seed=st.integers(0, 10_000), size=st.floats(0.0, 20.0))
def test_quantiles_rise_whatever_the_weights(seed: int, size: float) -> None:
    torch.manual_seed(seed)
    one = head()
    with torch.no_grad():
        one.linear.weight.normal_(0, size)
        one.linear.bias.normal_(0, size)
        quantiles, _ = one(torch.randn(11, 6))
    assert torch.isfinite(quantiles).all()
    assert (torch.diff(quantiles, dim=-1) >= 0).all()


def test_a_wider_volatility_makes_wider_quantiles() -> None:
    one = head()
    with torch.no_grad():
        one.linear.bias[[0, 23]] = 2.0  # the volatility outputs of both horizons
        quantiles, volatility = one(torch.zeros(1, 6))
    assert torch.allclose(volatility, torch.tensor([[2.0, 2.0]]))
    spread = (quantiles[0, :, -1] - quantiles[0, :, 0]) / torch.from_numpy(REFERENCE[:, -1] - REFERENCE[:, 0])
    torch.testing.assert_close(spread, torch.exp(torch.tensor([1.0, 0.5])))


def test_the_quantile_loss_is_the_pinball_loss_of_known_targets_only() -> None:
    torch.manual_seed(0)
    quantiles = torch.sort(torch.randn(4, 2, 21), -1)[0].requires_grad_()
    volatility = torch.randn(4, 2, requires_grad=True)
    returns, realised = torch.randn(4, 2), torch.randn(4, 2)
    returns[1, 0], realised[2, 1] = float("nan"), float("nan")
    unit = torch.tensor([0.5, 2.0])
    total, parts = forecast_loss(quantiles, volatility, returns, realised, LEVELS, unit, 3.0)
    expected = []
    for i in range(4):
        for h in range(2):
            if not torch.isnan(returns[i, h]):
                error = returns[i, h] - quantiles[i, h].detach()
                expected.append(float(torch.where(error > 0, LEVELS * error, (LEVELS - 1) * error).mean() / unit[h]))
    squares = [float((volatility.detach() - realised)[i, h] ** 2) for i in range(4) for h in range(2) if not torch.isnan(realised[i, h])]
    np.testing.assert_allclose(parts.numpy(), [np.mean(expected), np.mean(squares)], rtol=1e-5)
    np.testing.assert_allclose(float(total.detach()), np.mean(expected) + 3 * np.mean(squares), rtol=1e-5)
    total.backward()
    assert quantiles.grad is not None
    assert (quantiles.grad[1, 0] == 0).all()
    assert torch.isfinite(quantiles.grad).all()


def test_without_a_single_known_target_the_loss_is_zero_and_has_a_gradient() -> None:
    quantiles, volatility = torch.randn(3, 2, 21, requires_grad=True), torch.randn(3, 2, requires_grad=True)
    nothing = torch.full((3, 2), float("nan"))
    total, _ = forecast_loss(quantiles, volatility, nothing, nothing, LEVELS, torch.ones(2), 1.0)
    total = total + qlike_loss(volatility, nothing, torch.ones(2), torch.zeros(2), torch.ones(2))
    total.backward()
    assert float(total.detach()) == 0
    assert quantiles.grad is not None
    assert (quantiles.grad == 0).all()


def test_qlike_is_least_at_the_mean_ratio_and_survives_a_crash() -> None:
    target = torch.tensor([[0.3], [-1.2], [2.0]])
    offset = torch.tensor([0.4])
    right = target - offset / 2.0
    best = qlike_loss(right, target, torch.tensor([2.0]), offset, torch.ones(1))
    assert float(best) == 0
    for error in (-0.5, 0.5):
        assert float(qlike_loss(right + error, target, torch.tensor([2.0]), offset, torch.ones(1))) > 0.1
    assert torch.isfinite(qlike_loss(right - 1e3, target, torch.tensor([2.0]), offset, torch.ones(1)))
