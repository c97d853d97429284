"""Planted defects in what is fitted or chosen (see `planted`); every one is wrong on purpose."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from candelabra.candles.frame import Candles
from candelabra.testing.planted_features import Floats

Constants = dict[str, Floats]


def _data(candles: Candles, cuts_ms: Sequence[int]) -> tuple[Floats, Floats, Floats]:
    """Inputs ``(rows, 3)``, the next return ``(rows,)``, and the part of each row (0 train .. 3 test) whose target is known in it."""
    log = np.log(candles.close)
    x = np.column_stack([np.r_[np.zeros(n), log[n:] - log[:-n]] for n in (1, 6, 24)])
    y = np.append(np.diff(log), 0.0)
    known = np.append(candles.close_time[1:], candles.close_time[-1])
    part = np.searchsorted(np.asarray(cuts_ms), known, "left").astype(np.float64)
    part[np.searchsorted(np.asarray(cuts_ms), candles.close_time, "left") != part] = -1.0  # its target lies in the next part
    part[:24] = part[-1] = -1.0
    return x, y, part


def fit_on_all(candles: Candles, cuts_ms: Sequence[int]) -> Constants:
    """Center and scale of every row; the slope, rightly, of train rows."""
    x, y, part = _data(candles, cuts_ms)
    train = part == 0
    slope = np.linalg.lstsq(x[train], y[train], rcond=None)[0]
    return {"slope": slope, "center": x.mean(axis=0), "scale": x.std(axis=0)}


def threshold_on_test(candles: Candles, cuts_ms: Sequence[int]) -> Constants:
    """Of ten thresholds, the one that would have earned most in the test range."""
    x, y, part = _data(candles, cuts_ms)
    tried = np.linspace(0.0, 0.01, 60)
    test = part == 3
    earned = [(y * np.sign(x[:, 1]) * (np.abs(x[:, 1]) > t))[test].sum() for t in tried]
    return {"threshold": tried[[int(np.argmax(earned))]]}


def stopped_on_test(candles: Candles, cuts_ms: Sequence[int]) -> Constants:
    """Gradient descent on train rows, kept at the step of least loss on test rows."""
    x, y, part = _data(candles, cuts_ms)
    train, test = part == 0, part == 3
    scale = x[train].std(axis=0)
    u, weights = x / scale, np.full(3, 0.01)
    best, kept = np.inf, weights
    for _ in range(60):
        weights = weights - 0.05 * u[train].T @ (u[train] @ weights - y[train]) / train.sum()
        loss = float(((u[test] @ weights - y[test]) ** 2).mean())
        if loss < best:
            best, kept = loss, weights
    return {"scale": scale, "weights": kept}


def calibrated_on_test(candles: Candles, cuts_ms: Sequence[int]) -> Constants:
    """The half-width that covers 90 % of the test range it will be judged on."""
    _, y, part = _data(candles, cuts_ms)
    return {"half_width": np.quantile(np.abs(y[part == 3]), [0.9])}
