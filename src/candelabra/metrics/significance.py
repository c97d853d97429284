"""Is a difference of losses more than luck: Diebold-Mariano, the block bootstrap, and the words that may be used.

Losses of several symbols at the same bar are one event, not several: everything here works on *sums per bar* and counts per bar, so that
symbols move together and every statistic made of means (loss, R2, ratio of losses) is resampled jointly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from candelabra.errors import DataError

__all__ = [
    "CONFIDENCE",
    "MARGIN",
    "DieboldMariano",
    "Difference",
    "Words",
    "adjusted_p_value",
    "block_bootstrap",
    "block_bootstrap_sums",
    "bootstrap_mean_difference",
    "bootstrap_r2_difference",
    "bootstrap_skill",
    "diebold_mariano",
    "diebold_mariano_sums",
    "effective_sample_size",
    "hac_lag",
    "summarise",
    "words",
]

Floats = NDArray[np.float64]
Words = Literal["clearly better", "level", "behind", "clearly worse"]

CONFIDENCE: Final = 0.95
MARGIN: Final = 0.01
_DIRECT_LAGS: Final = 100  # beyond this many lags a Fourier transform is cheaper
_GATHERED: Final = 2_000_000  # numbers gathered at once while resampling, to bound memory


@dataclass(frozen=True)
class DieboldMariano:
    """Diebold-Mariano test of equal loss: mean of loss_a - loss_b, its HAC standard error, statistic, two-sided p-value, lag used."""

    difference: float
    standard_error: float
    statistic: float
    p_value: float
    lag: int


@dataclass(frozen=True)
class Difference:
    """A figure of comparison, its percentile interval (95 % unless said), two-sided bootstrap p-value and the resamples behind it.

    Positive means better than what it is compared with, for skill and R2 differences.
    """

    value: float
    low: float
    high: float
    p_value: float
    resamples: int

    @property
    def words(self) -> Words:
        """The words DESIGN law 8 allows for it, see `words`."""
        return words(self.value, self.low, self.high)


def words(value: float, low: float, high: float, margin: float = MARGIN) -> Words:
    """Words for a difference whose positive side is better: R2 difference, or skill 1 - loss / baseline loss.

    *clearly better* / *clearly worse*: the interval excludes 0. *level*: it contains 0 and the point difference is above ``-margin``
    (-0.01 of R2, -1 % of a loss). *behind*: it contains 0 but the point difference is not above ``-margin``.

    >>> words(0.02, 0.01, 0.03), words(-0.005, -0.02, 0.01), words(-0.02, -0.05, 0.01), words(-0.02, -0.03, -0.01)
    ('clearly better', 'level', 'behind', 'clearly worse')
    """
    if low > 0.0:
        return "clearly better"
    if high < 0.0:
        return "clearly worse"
    return "level" if value > -margin else "behind"


def adjusted_p_value(p_value: float, trials: int) -> float:
    """Šidák: probability that the best of ``trials`` independent tries under "no difference" looks at least this good.

    >>> round(adjusted_p_value(0.01, 10), 4)
    0.0956
    """
    return float(-np.expm1(max(trials, 1) * np.log1p(-min(max(p_value, 0.0), 1.0 - 1e-16)))) if p_value == p_value else float("nan")


# --- Diebold-Mariano ---------------------------------------------------------------------------------------------------------------


def hac_lag(bars: int, horizon: int) -> int:
    """Newey-West lag: twice the overlap of the horizon, at least floor(4 (n / 100)^(2/9)), at most a quarter of the bars.

    Forecasts ``horizon`` bars ahead from every bar share horizon - 1 bars; Bartlett weights halve the covariances in the middle of the
    lag window, so twice that overlap is taken.
    """
    rule = int(4.0 * (max(bars, 1) / 100.0) ** (2.0 / 9.0))
    return int(max(0, min(max(2 * (horizon - 1), rule), bars // 4)))


def _long_run(residual: Floats, lag: int) -> float:
    """Sum of Bartlett-weighted autocovariances times n (Newey and West 1987); ``residual`` is centred, 0 where absent."""
    own = float(residual @ residual)
    if lag == 0:
        return own
    weights = 1.0 - np.arange(1, lag + 1) / (lag + 1.0)
    if lag <= _DIRECT_LAGS:
        products = np.array([residual[:-k] @ residual[k:] for k in range(1, lag + 1)])
    else:
        size = 1 << int(residual.size + lag).bit_length()
        products = np.fft.irfft(np.abs(np.fft.rfft(residual, size)) ** 2, size)[1 : lag + 1]
    return own + 2.0 * float(weights @ products)


def _slots(loss: ArrayLike) -> tuple[Floats, Floats]:
    values = np.asarray(loss, np.float64)
    there = ~np.isnan(values)
    return np.where(there, values, 0.0), there.astype(np.float64)


def diebold_mariano_sums(total: ArrayLike, count: ArrayLike, horizon: int, lag: int | None = None) -> DieboldMariano:
    """Diebold-Mariano from loss differences summed per bar: ``total`` and ``count`` float64 ``(bars,)``, 0 where a bar has no row.

    The variance is Newey-West's over bars (rows of one bar may correlate in any way), the statistic carries the correction of Harvey,
    Leybourne and Newbold (1997), sqrt((n + 1 - 2h + h (h - 1) / n) / n), and is compared with Student's t of n - 1 degrees of freedom.
    """
    from scipy.special import stdtr

    t, c = np.asarray(total, np.float64), np.asarray(count, np.float64)
    n, rows = int((c > 0.0).sum()), float(c.sum())
    nan = float("nan")
    if n < 2:
        return DieboldMariano(nan, nan, nan, nan, 0)
    used = hac_lag(n, horizon) if lag is None else min(lag, len(t) - 1)
    mean = float(t.sum() / rows)
    residual = t - mean * c
    variance = max(_long_run(residual, used), 0.0) / rows**2
    if variance <= 1e-30 * max(mean * mean, 1e-300):
        p = 1.0 if mean == 0.0 else 0.0
        return DieboldMariano(mean, 0.0, 0.0 if mean == 0.0 else float(np.copysign(np.inf, mean)), p, used)
    h = max(1, min(horizon, n // 2))
    correction = np.sqrt(max((n + 1.0 - 2.0 * h + h * (h - 1.0) / n) / n, 0.0))
    error = float(np.sqrt(variance))
    statistic = float(correction * mean / error)
    return DieboldMariano(mean, error, statistic, float(2.0 * stdtr(n - 1, -abs(statistic))), used)


def diebold_mariano(loss_a: ArrayLike, loss_b: ArrayLike, horizon: int = 1, lag: int | None = None) -> DieboldMariano:
    """Are the losses of two forecasts of the same bars equal in expectation? Negative difference: a is better.

    ``loss_a``, ``loss_b`` ``(bars,)`` in order of time, NaN where a bar is not judged; ``horizon`` in bars; ``lag`` of the HAC variance,
    by default `hac_lag`.
    """
    return diebold_mariano_sums(*_slots(np.asarray(loss_a, np.float64) - np.asarray(loss_b, np.float64)), horizon, lag)


def effective_sample_size(values: ArrayLike, horizon: int = 1, lag: int | None = None) -> float:
    """How many independent rows would give the mean of ``values`` the same precision: n x variance / long-run variance, in [1, n]."""
    filled, there = _slots(values)
    n = int(there.sum())
    if n < 2:
        return float(n)
    residual = filled - filled.sum() / n * there
    own = float(residual @ residual)
    if own == 0.0:
        return float(n)
    long_run = _long_run(residual, hac_lag(n, horizon) if lag is None else lag)
    return float(np.clip(n * own / long_run, 1.0, n)) if long_run > 0.0 else float(n)


# --- block bootstrap ---------------------------------------------------------------------------------------------------------------


def block_bootstrap_sums(sums: ArrayLike, block: int, resamples: int = 2000, seed: int = 0) -> Floats:
    """Column sums of circular block resamples: ``(bars, columns)`` -> ``(resamples, columns)``.

    Every resample draws blocks of ``block`` consecutive bars (the end is joined to the start; Politis and Romano 1992) until it has as
    many bars as the data, the last block cut. All columns are resampled by the same draws, so statistics made of several stay paired.
    Costs O(resamples x bars / block) per column, since blocks enter as differences of a running sum.
    """
    table = np.asarray(sums, np.float64)
    bars, columns = table.shape
    if bars < 2 or block < 1 or resamples < 1:
        raise DataError(f"cannot resample {bars} bars in blocks of {block} bars {resamples} times: all must be at least 1, bars at least 2")
    block = min(block, bars)
    whole, rest = divmod(bars, block)
    running = np.zeros((bars + block + 1, columns))
    np.cumsum(np.concatenate([table, table[:block]]), axis=0, out=running[1:])
    starts = np.random.default_rng(seed).integers(0, bars, (resamples, whole + (rest > 0)))
    of_block = running[block : block + bars] - running[:bars]
    out = np.empty((resamples, columns))
    step = max(1, _GATHERED // max(whole * columns, 1))
    for first in range(0, resamples, step):
        out[first : first + step] = of_block[starts[first : first + step, :whole]].sum(axis=1)
    if rest:
        out += (running[rest : rest + bars] - running[:bars])[starts[:, whole]]
    return out


def summarise(value: float, resampled: ArrayLike, confidence: float = CONFIDENCE) -> Difference:
    """Percentile interval and two-sided p-value of a statistic from its resampled values.

    The p-value is 2 min(P(s <= 0), P(s >= 0)) with one resample added to both counts, so that it is never 0.
    """
    draws = np.asarray(resampled, np.float64)
    draws = draws[np.isfinite(draws)]
    if not draws.size or not np.isfinite(value):
        return Difference(value, float("nan"), float("nan"), float("nan"), draws.size)
    low, high = np.quantile(draws, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    tail = 1 + min(int((draws <= 0.0).sum()), int((draws >= 0.0).sum()))
    return Difference(value, float(low), float(high), float(min(1.0, 2.0 * tail / (draws.size + 1))), draws.size)


def block_bootstrap(
    statistic: Callable[[Floats], Floats], sums: ArrayLike, block: int, *, resamples: int = 2000, seed: int = 0
) -> Difference:
    """A statistic of column sums and its block-bootstrap interval.

    ``statistic`` maps sums ``(..., columns)`` to values ``(...)``, e.g. ``lambda s: s[..., 0] / s[..., 1]`` for a mean of a loss and a
    count; it sees the sums of the data once and those of all resamples once.
    """
    table = np.asarray(sums, np.float64)
    value = float(statistic(table.sum(axis=0)))
    return summarise(value, statistic(block_bootstrap_sums(table, block, resamples, seed)))


def _paired(*columns: ArrayLike) -> Floats:
    table = np.stack([np.asarray(c, np.float64) for c in columns], axis=1)
    there = np.isfinite(table.sum(axis=1))
    return np.concatenate([np.where(there[:, None], table, 0.0), there[:, None].astype(np.float64)], axis=1)


def bootstrap_mean_difference(loss: ArrayLike, baseline: ArrayLike, block: int, *, resamples: int = 2000, seed: int = 0) -> Difference:
    """mean(baseline) - mean(loss) over the bars that have both: positive means a smaller loss than the baseline's."""

    def statistic(s: Floats) -> Floats:
        return np.asarray((s[..., 1] - s[..., 0]) / s[..., 2])

    return block_bootstrap(statistic, _paired(loss, baseline), block, resamples=resamples, seed=seed)


def bootstrap_skill(loss: ArrayLike, baseline: ArrayLike, block: int, *, resamples: int = 2000, seed: int = 0) -> Difference:
    """Skill 1 - mean(loss) / mean(baseline), as a fraction: 0.01 is one percent less loss than the baseline."""

    def statistic(s: Floats) -> Floats:
        return np.asarray(1.0 - s[..., 0] / s[..., 1])

    return block_bootstrap(statistic, _paired(loss, baseline), block, resamples=resamples, seed=seed)


def bootstrap_r2_difference(
    actual: ArrayLike, forecast: ArrayLike, baseline: ArrayLike, block: int, *, resamples: int = 2000, seed: int = 0
) -> Difference:
    """R2(forecast) - R2(baseline), both around the mean of the resampled rows."""
    y, f, b = (np.asarray(x, np.float64) for x in (actual, forecast, baseline))
    centre = np.nanmean(y)

    def statistic(s: Floats) -> Floats:
        return np.asarray((s[..., 1] - s[..., 0]) / (s[..., 3] - s[..., 2] ** 2 / s[..., 4]))

    table = _paired((y - f) ** 2, (y - b) ** 2, y - centre, (y - centre) ** 2)
    return block_bootstrap(statistic, table, block, resamples=resamples, seed=seed)
