"""Planted defects in columns made from one series of candles (see `planted`); every one is wrong on purpose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles

Floats = NDArray[np.float64]
Columns = dict[str, Floats]


def _returns(candles: Candles) -> Floats:
    return np.diff(np.log(candles.close), prepend=np.log(candles.close[:1]))


def _mean(values: Floats, n: int) -> Floats:
    """Mean of the last ``n`` values, NaN before there are as many; every window is summed by itself."""
    out = np.full(len(values), np.nan)
    out[n - 1 :] = np.lib.stride_tricks.sliding_window_view(values, n).mean(axis=1)
    return out


def next_return(candles: Candles) -> Columns:
    """The next bar's return in the row of this one."""
    r = _returns(candles)
    return {"return_1": np.append(r[1:], np.nan), "range": np.log(candles.high / candles.low)}


def centred_window(candles: Candles) -> Columns:
    """A mean over three bars on either side."""
    mean = _mean(candles.close, 7)
    return {"sma_7": np.log(candles.close) - np.log(np.append(mean[3:], [np.nan] * 3))}


def global_scaler(candles: Candles) -> Columns:
    """Standardised with the mean and deviation of all rows."""
    r = _returns(candles)
    return {"z": (r - r.mean()) / r.std()}


def backfill(candles: Candles) -> Columns:
    """The first known mean stands in every row before it."""
    mean = _mean(candles.close, 24)
    return {"sma_24": np.where(np.isnan(mean), mean[23], mean)}


def whole_rank(candles: Candles) -> Columns:
    """Rank among all volumes, past and to come."""
    return {"volume_rank": np.argsort(np.argsort(candles.volume)) / len(candles)}


def winsorised(candles: Candles) -> Columns:
    """Clipped at the 2nd and 98th percentile of the whole series: only rows in the tails know the future."""
    r = _returns(candles)
    return {"clipped": np.clip(r, *np.quantile(r, [0.02, 0.98]))}


def horizon_in_window(candles: Candles) -> Columns:
    """Mean and deviation of a window that holds the twelve bars to be foretold."""
    log = np.log(candles.close)
    windows = np.lib.stride_tricks.sliding_window_view(log, 60)  # 48 bars of look-back, 12 of horizon
    out = np.full(len(log), np.nan)
    out[47 : 47 + len(windows)] = (log[47 : 47 + len(windows)] - windows.mean(axis=1)) / windows.std(axis=1)
    return {"z_window": out}


def target_encoding(candles: Candles) -> Columns:
    """For each hour of the day the mean next return of the whole history."""
    hour = (candles.close_time // 3_600_000 % 24).astype(int)
    following = np.append(_returns(candles)[1:], 0.0)
    means = np.array([following[hour == h].mean() for h in range(24)])
    return {"hour_code": means[hour]}


def dropna(candles: Candles) -> Columns:
    """Twelve unknown rows are dropped and the others take the places from the first on."""
    log = np.log(candles.close)
    known = log[12:] - log[:-12]
    return {"momentum_12": np.append(known, np.full(12, np.nan))}


def smoothed_regime(candles: Candles) -> Columns:
    """Probability of the calm state from a forward and a backward pass (the backward one reads what is to come)."""
    r = _returns(candles)
    sd, stay = np.array([0.004, 0.012]), 0.95
    density = np.exp(-0.5 * (r[:, None] / sd) ** 2) / sd + 1e-12
    move = np.array([[stay, 1 - stay], [1 - stay, stay]])
    forward, backward = np.ones((len(r), 2)) / 2, np.ones((len(r), 2))
    for t in range(1, len(r)):
        forward[t] = density[t] * (forward[t - 1] @ move)
        forward[t] /= forward[t].sum()
    for t in range(len(r) - 2, -1, -1):
        backward[t] = move @ (density[t + 1] * backward[t + 1])
        backward[t] /= backward[t].sum()
    both = forward * backward
    return {"p_calm": both[:, 0] / both.sum(axis=1)}


def revised_candle(candles: Candles) -> Columns:
    """A close far from both neighbours is replaced by their mean: the correction was not known when the bar closed."""
    close = candles.close.copy()
    middle = 0.5 * (close[:-2] + close[2:])
    spike = np.abs(np.log(close[1:-1] / middle)) > 0.004
    close[1:-1] = np.where(spike, middle, close[1:-1])
    return {"close_clean": np.log(close)}


def refit_on_chunk(candles: Candles) -> Columns:
    """Each chunk of 500 bars is standardised with its own mean and deviation."""
    r = _returns(candles)
    out = np.empty(len(r))
    for begin in range(0, len(r), 500):
        chunk = r[begin : begin + 500]
        out[begin : begin + 500] = (chunk - chunk.mean()) / chunk.std()
    return {"z_chunk": out}


def one_late(candles: Candles) -> Columns:
    """A momentum of two spans, kept back by one bar although it was known."""
    log = np.log(candles.close)
    signal = _mean(log, 6) - _mean(log, 24)
    return {"signal": np.append(np.nan, signal[:-1])}


def window_one_late(candles: Candles) -> Columns:
    """Predictions of a model over windows of ten bars; row t gets the window that ends at t - 1, and the first ten rows a zero."""
    r = _returns(candles)
    window = 10
    out = np.zeros(len(r))
    weights = np.linspace(0.1, 1.0, window)
    for t in range(len(r) - window):
        out[t + window] = r[t : t + window] @ weights
    return {"prediction": out}


def fft_smoothed(candles: Candles) -> Columns:
    """High frequencies taken out of the whole series at once."""
    spectrum = np.fft.rfft(np.log(candles.close))
    spectrum[len(spectrum) // 20 :] = 0.0
    return {"low_pass": np.fft.irfft(spectrum, len(candles))}


def filtered_back(candles: Candles) -> Columns:
    """An exponential mean forward and then backward, so that it does not lag."""
    smooth = _ema(_ema(np.log(candles.close), 0.2)[::-1], 0.2)[::-1]
    return {"zero_lag": smooth}


def _ema(values: Floats, share: float) -> Floats:
    out = np.array(values)
    for t in range(1, len(out)):
        out[t] = out[t - 1] + share * (values[t] - out[t - 1])
    return out


def swing_high(candles: Candles) -> Columns:
    """A top is marked in its own row, though it takes three more bars to know that it was one."""
    high = candles.high
    windows = np.lib.stride_tricks.sliding_window_view(high, 7)
    out = np.zeros(len(high))
    out[3 : 3 + len(windows)] = windows.max(axis=1) == high[3 : 3 + len(windows)]
    return {"swing_high": out}


def share_of_day(candles: Candles) -> Columns:
    """Volume as a share of its day's: the day's total is known at midnight."""
    _, day = np.unique(candles.open_time // 86_400_000, return_inverse=True)
    return {"volume_share": candles.volume / np.bincount(day, weights=candles.volume)[day]}


def bars_to_end(candles: Candles) -> Columns:
    """A weight that grows towards the newest bar there is."""
    return {"age_weight": np.exp(-(len(candles) - 1 - np.arange(len(candles))) / 500.0)}


def detrended(candles: Candles) -> Columns:
    """The distance from a line fitted through the whole history."""
    t = np.arange(len(candles), dtype=float)
    log = np.log(candles.close)
    slope = ((t - t.mean()) * (log - log.mean())).sum() / ((t - t.mean()) ** 2).sum()
    return {"trend_gap": log - log.mean() - slope * (t - t.mean())}


def worst_to_come(candles: Candles) -> Columns:
    """How deep the price will fall from here: a running minimum from the wrong end."""
    low = np.minimum.accumulate(candles.low[::-1])[::-1]
    return {"drawdown": np.log(low / candles.close)}


def barrier_as_feature(candles: Candles) -> Columns:
    """Which barrier is touched within a day: a label that lost its way into the features."""
    log = np.log(candles.close)
    out = np.zeros(len(log))
    for t in range(len(log) - 1):
        path = log[t + 1 : t + 25] - log[t]
        hit = np.flatnonzero(np.abs(path) > 0.02)
        out[t] = np.sign(path[hit[0]]) if len(hit) else 0.0
    return {"barrier": out}


def leading_component(candles: Candles) -> Columns:
    """The first principal component of three returns, its direction from all rows."""
    log = np.log(candles.close)
    x = np.column_stack([np.r_[np.zeros(n), log[n:] - log[:-n]] for n in (1, 6, 24)])
    _, _, directions = np.linalg.svd(x - x[:200].mean(axis=0), full_matrices=False)
    return {"pc_1": x @ directions[0] * np.sign(directions[0][2])}


def lagged_twice(candles: Candles) -> Columns:
    """A signal shifted where it is made and again where it is used."""
    signal = np.log(candles.close / candles.open)
    return {"body": np.concatenate([[np.nan, np.nan], signal[:-2]])}


def endless(candles: Candles) -> Columns:
    """On-balance volume since the first bar there is: another history, another level."""
    return {"obv": np.cumsum(np.sign(_returns(candles)) * candles.volume) / 1e3, "body": np.log(candles.close / candles.open)}


class Counting:
    """A running mean that goes on from one call to the next."""

    def __init__(self) -> None:
        self.mean = 0.0

    def __call__(self, candles: Candles) -> Columns:
        """Deviations from a mean that remembers every earlier call."""
        self.mean = 0.9 * self.mean + 0.1 * float(np.log(candles.close[:100]).mean())
        return {"deviation": np.log(candles.close) - self.mean}
