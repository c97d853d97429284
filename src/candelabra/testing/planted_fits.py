"""Planted defects in what is fitted or chosen (see `planted`); every one is wrong on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.testing.planted_features import Floats

Constants = dict[str, NDArray[Any]]


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


def scaled_with_validation(candles: Candles, cuts_ms: Sequence[int]) -> Constants:
    """Center and scale of train and validation rows together."""
    x, _, part = _data(candles, cuts_ms)
    both = (part == 0) | (part == 1)
    return {"center": x[both].mean(axis=0), "scale": x[both].std(axis=0)}


def features_by_all(candles: Candles, cuts_ms: Sequence[int]) -> Constants:
    """The input most correlated with the target, on all rows; its slope from train rows."""
    x, y, part = _data(candles, cuts_ms)
    strength = np.array([np.corrcoef(column, y)[0, 1] for column in x.T])
    train = part == 0
    return {"strength": strength, "slope": np.linalg.lstsq(x[train], y[train], rcond=None)[0]}


def codes_of_all(candles: Candles, cuts_ms: Sequence[int]) -> Constants:
    """Mean next return by hour of the day, every day counted."""
    _, y, _ = _data(candles, cuts_ms)
    hour = (candles.close_time // 3_600_000 % 24).astype(int)
    return {"hour_code": np.array([y[hour == h].mean() for h in range(24)])}


def weights_on_test(candles: Candles, cuts_ms: Sequence[int]) -> Constants:
    """Two models fitted on train, and averaged with the weights that are best on test."""
    x, y, part = _data(candles, cuts_ms)
    train, test = part == 0, part == 3
    both = np.column_stack([x[:, k] * (x[train, k] @ y[train] / (x[train, k] @ x[train, k])) for k in (0, 1)])
    return {"members": both[train].std(axis=0), "weights": np.linalg.lstsq(both[test], y[test], rcond=None)[0]}


def shuffled_rows(candles: Candles, cuts_ms: Sequence[int]) -> Constants:
    """A random 60 % of the rows for training, whatever their time."""
    x, y, _ = _data(candles, cuts_ms)
    chosen = np.random.default_rng(0).permutation(len(y))[: int(0.6 * len(y))]
    return {"slope": np.linalg.lstsq(x[chosen], y[chosen], rcond=None)[0]}


def unpurged_targets(candles: Candles, cuts_ms: Sequence[int]) -> Constants:
    """Rows up to the end of train, whose day-ahead targets lie in validation."""
    x, _, _ = _data(candles, cuts_ms)
    log = np.log(candles.close)
    ahead = np.append(log[24:] - log[:-24], np.zeros(24))
    train = candles.close_time <= cuts_ms[0]
    return {"slope": np.linalg.lstsq(x[train], ahead[train], rcond=None)[0]}


# Labels give columns and when each row is known; splits give what `evaluation.spans.audit_split` is asked about.


def barrier_known_early(candles: Candles) -> tuple[Constants, NDArray[np.int64]]:
    """A label over the next 24 bars that claims to be known after one."""
    log = np.log(candles.close)
    windows = np.lib.stride_tricks.sliding_window_view(log, 25)
    out = np.full(len(log), np.nan)
    out[: len(windows)] = windows.max(axis=1) - windows[:, 0]
    return {"best_24": out}, candles.close_time + 3_600_000


def label_one_further(candles: Candles) -> tuple[Constants, NDArray[np.int64]]:
    """A six-bar return that ends at the seventh bar, since its entry is at the next open."""
    log = np.log(candles.close)
    return {"return_6": np.append(log[7:] - log[:-7], np.full(7, np.nan))}, candles.close_time + 6 * 3_600_000


def touching_split(time_ms: NDArray[np.int64]) -> dict[str, Any]:
    """Train and test side by side, day-ahead targets unpurged."""
    cut = int(0.8 * len(time_ms))
    parts = {"train": np.arange(cut), "test": np.arange(cut, len(time_ms))}
    return {"parts": parts, "known_ms": time_ms + 24 * 3_600_000}


def no_embargo(time_ms: NDArray[np.int64]) -> dict[str, Any]:
    """Purged for six-bar targets, but with nothing of the promised embargo of 48 bars."""
    cut = int(0.8 * len(time_ms))
    parts = {"train": np.arange(cut - 6), "test": np.arange(cut, len(time_ms))}
    return {"parts": parts, "known_ms": time_ms + 6 * 3_600_000, "embargo_ms": 48 * 3_600_000}


def train_after_test(time_ms: NDArray[np.int64]) -> dict[str, Any]:
    """Training goes on behind the test range, with windows of 60 bars that reach back into it."""
    a, b = int(0.4 * len(time_ms)), int(0.6 * len(time_ms))
    parts = {"train": np.concatenate([np.arange(a - 6), np.arange(b + 6, len(time_ms))]), "test": np.arange(a, b)}
    return {"parts": parts, "known_ms": time_ms + 6 * 3_600_000, "look_back_ms": 60 * 3_600_000}


def doubled_rows(time_ms: NDArray[np.int64]) -> dict[str, Any]:
    """Folds that share their edge: ten rows are trained on and tested."""
    cut = int(0.7 * len(time_ms))
    parts = {"train": np.arange(cut + 10), "test": np.arange(cut, len(time_ms))}
    return {"parts": parts, "known_ms": time_ms}
