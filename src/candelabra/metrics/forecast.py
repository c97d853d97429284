"""How far point forecasts of returns and volatility are from what came: a loss per row, and figures made of them.

Every loss function keeps the shape of its input and is NaN where the forecast or the outcome is NaN, so that losses of several models
can be compared row by row; every figure ignores NaN rows and is NaN where no row is left.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Estimate",
    "absolute_error",
    "correlation",
    "correlation_standard_error",
    "direction_hits",
    "directional_accuracy",
    "independent_origins",
    "mean_loss",
    "naive_error",
    "price_percentage_error",
    "qlike",
    "r2",
    "rank_correlation",
    "share",
    "squared_error",
    "variance_scale",
]

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """A figure and its standard error."""

    value: float
    standard_error: float


def _floats(*arrays: ArrayLike) -> list[Floats]:
    return [np.asarray(a, dtype=np.float64) for a in arrays]


def mean_loss(loss: ArrayLike) -> float:
    """Mean over the finite rows of a loss; NaN when there is none (no warning)."""
    values = np.asarray(loss, dtype=np.float64)
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def squared_error(actual: ArrayLike, forecast: ArrayLike) -> Floats:
    """(actual - forecast)^2 per row; its mean is the MSE, the root of that the RMSE."""
    a, f = _floats(actual, forecast)
    return np.asarray((a - f) ** 2)


def absolute_error(actual: ArrayLike, forecast: ArrayLike) -> Floats:
    """|actual - forecast| per row; its mean is the MAE, divided by `naive_error` of the train range the MASE."""
    a, f = _floats(actual, forecast)
    return np.asarray(np.abs(a - f))


def price_percentage_error(actual_return: ArrayLike, forecast_return: ArrayLike) -> Floats:
    """Absolute percentage error of the *price* a log return implies, as a fraction per row; its mean is the MAPE.

    |P exp(f) - P exp(r)| / (P exp(r)) = |exp(f - r) - 1|: the price at the decision cancels, so that no price is needed.

    >>> float(price_percentage_error(np.log(100 / 80), np.log(90 / 80)).round(6))
    0.1
    """
    r, f = _floats(actual_return, forecast_return)
    return np.asarray(np.abs(np.expm1(f - r)))


def naive_error(train_returns: ArrayLike) -> float:
    """MAE of "the price stays" over the train range, the scale of MASE (Hyndman and Koehler 2006) for log returns."""
    return mean_loss(np.abs(np.asarray(train_returns, dtype=np.float64)))


def independent_origins(rows: int, horizon: int) -> float:
    """How many of ``rows`` consecutive origins do not overlap when each looks ``horizon`` bars ahead: rows / horizon, at least 1 if any."""
    return max(rows / max(horizon, 1), 1.0) if rows else 0.0


def share(hits: ArrayLike, horizon: int = 1, origins: float | None = None) -> Estimate:
    """Share of ones among the finite entries of ``hits`` and its binomial standard error with n / horizon independent origins.

    ``origins`` replaces n / horizon where rows are not consecutive (several symbols at the same times).
    """
    values = np.asarray(hits, dtype=np.float64)
    values = values[~np.isnan(values)]
    if not values.size:
        return Estimate(float("nan"), float("nan"))
    n = independent_origins(values.size, horizon) if origins is None else max(origins, 1.0)
    p = float(values.mean())
    return Estimate(p, float(np.sqrt(p * (1.0 - p) / n)))


def direction_hits(actual: ArrayLike, forecast: ArrayLike) -> Floats:
    """1 where forecast and outcome have the same sign, 0 where not, NaN where either is exactly zero or NaN (no direction named)."""
    a, f = _floats(actual, forecast)
    product = np.sign(a) * np.sign(f)
    return np.asarray(np.where(product == 0.0, np.nan, np.where(np.isnan(product), np.nan, (product + 1.0) / 2.0)))


def directional_accuracy(actual: ArrayLike, forecast: ArrayLike, horizon: int = 1) -> Estimate:
    """Share of rows whose direction was right, with the standard error of n / ``horizon`` independent origins.

    >>> directional_accuracy([1.0, -1.0, 2.0, 3.0], [0.5, -0.1, 0.3, -0.2])
    Estimate(value=0.75, standard_error=0.21650635094610965)
    """
    return share(direction_hits(actual, forecast), horizon)


def correlation(actual: ArrayLike, forecast: ArrayLike) -> float:
    """Pearson correlation of forecast and outcome over the rows that have both (IC); NaN if either is constant."""
    a, f = (x.ravel() for x in _floats(actual, forecast))
    keep = ~(np.isnan(a) | np.isnan(f))
    a, f = a[keep], f[keep]
    if a.size < 2 or a.min() == a.max() or f.min() == f.max():
        return float("nan")
    a, f = a - a.mean(), f - f.mean()
    a, f = a / np.abs(a).max(), f / np.abs(f).max()
    scale = np.sqrt(np.dot(a, a) * np.dot(f, f))
    return float(np.clip(np.dot(a, f) / scale, -1.0, 1.0))


def _ranks(values: Floats) -> Floats:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2.0)[place], dtype=np.float64)


def rank_correlation(actual: ArrayLike, forecast: ArrayLike) -> float:
    """Spearman correlation (rank IC): `correlation` of average ranks."""
    a, f = (x.ravel() for x in _floats(actual, forecast))
    keep = ~(np.isnan(a) | np.isnan(f))
    if keep.sum() < 2:
        return float("nan")
    return correlation(_ranks(a[keep]), _ranks(f[keep]))


def correlation_standard_error(origins: float) -> float:
    """Standard error of a correlation under "no relation": 1 / sqrt(origins - 1), with independent ``origins``."""
    return float(1.0 / np.sqrt(origins - 1.0)) if origins > 1.0 else float("nan")


def r2(actual: ArrayLike, forecast: ArrayLike) -> float:
    """1 - SSE / sum (actual - mean of actual)^2, around the mean of the rows judged; NaN for constant outcomes."""
    a, f = _floats(actual, forecast)
    keep = ~(np.isnan(a) | np.isnan(f))
    a, f = a[keep], f[keep]
    if a.size < 2 or a.min() == a.max():
        return float("nan")
    return float(1.0 - np.sum((a - f) ** 2) / np.sum((a - a.mean()) ** 2))


def variance_scale(actual_log_volatility: ArrayLike, forecast_log_volatility: ArrayLike) -> float:
    """Mean ratio of realised to forecast variance, mean(exp(2 (actual - forecast))): the constant that minimises mean `qlike`."""
    a, f = _floats(actual_log_volatility, forecast_log_volatility)
    return mean_loss(np.exp(2.0 * (a - f)))


def qlike(actual_log_volatility: ArrayLike, forecast_log_volatility: ArrayLike, scale: float | Floats = 1.0) -> Floats:
    """QLIKE of a variance forecast per row: x - log x - 1 with x = exp(2 actual) / (scale exp(2 forecast)); 0 when exact.

    Inputs are log volatilities. ``scale`` (positive) turns the expected log into an expected variance, see `variance_scale`; it is fitted
    before the rows that are judged (Patton 2011).
    """
    a, f = _floats(actual_log_volatility, forecast_log_volatility)
    log_ratio = 2.0 * (a - f) - np.log(scale)
    return np.asarray(np.expm1(log_ratio) - log_ratio)
