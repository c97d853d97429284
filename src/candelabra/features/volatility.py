"""How much prices move: realised and range-based volatility per bar, in logs, and the causal current level.

All are logs of a per-bar standard deviation of log returns, never annualised, so they differ only by estimator and window.
Across a gap the return of several bars counts with the bars it took: sums are divided by elapsed bars.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import UsageError
from candelabra.features.bars import Array, Bars
from candelabra.features.kernels import decayed_mean, segment_sums, window_sum, window_variance
from candelabra.features.kind import Kind, Parameter, bars_parameter

__all__ = ["LEAST_SD", "fine_log_rv", "level", "level_of", "level_warm_up", "log_rv", "log_sd"]

LEAST_SD: Final = 1e-6
"""Floor of a per-bar standard deviation (a hundredth of a basis point): what flat prices are said to move."""

_DAY_MS: Final = 86_400_000
_HALF_LIVES: Final = 4  # the exponential weights are cut off where they have fallen to 1/16


def log_sd(variance: Array) -> Array:
    """Log of the square root of a per-bar variance, floored for flat prices; NaN stays NaN."""
    return np.asarray(0.5 * np.log(np.maximum(variance, LEAST_SD**2)))


def log_rv(bars: Bars, n: int) -> Array:
    """``0.5 log(sum of the last n squared log returns / elapsed bars)``: log realised sd per bar ``(bars,)``."""
    variance = bars.sum_over("squared return", lambda: bars.returns**2, n) / bars.elapsed_over(n)
    return bars.known(log_sd(variance), n)


def level(candles: Candles) -> Array:
    """The causal current volatility level: log sd of one bar's log return, float64 ``(n,)``; NaN for the first bars of a run.

    The mean of two logs: exponential means of the bar's size with half-lives of a day and of a week (in bars, within limits).
    The size is the root of the average of the squared return and of Garman-Klass with the opening jump: the range makes it
    precise, the return keeps it in the unit of returns, and roots are moved less by one crash than squares are (on hourly BTC of
    2018-2022 the next day's log volatility minus this level has 1 - R2 of 0.505, against 0.534 for squares and 0.61 for squared
    returns alone). It is the reference of all ``rel_`` features.
    """
    return level_of(Bars(candles))


def level_of(bars: Bars) -> Array:
    """:func:`level` of prepared bars, computed once."""
    found: Array = bars.once("level", lambda: _level(bars))
    return found


def level_half_lives(timeframe: Timeframe) -> tuple[int, int]:
    """Half-lives of the level in bars: a day and a week, but at least 8 and 32 and at most 1440 and 4320 bars."""
    day = _DAY_MS / timeframe.milliseconds
    return int(np.clip(round(day), 8, 1440)), int(np.clip(round(7 * day), 32, 4320))


def level_warm_up(timeframe: Timeframe) -> int:
    """Bars the level remembers."""
    return _HALF_LIVES * level_half_lives(timeframe)[1]


def bar_variance(bars: Bars) -> Array:
    """Garman-Klass variance of each bar with its opening jump (Garman & Klass 1980)."""
    span = bars.log_high - bars.log_low
    body = bars.log_close - bars.log_open
    return np.asarray(0.5 * span**2 - (2 * np.log(2) - 1) * body**2 + bars.overnight**2)


def _level(bars: Bars) -> Array:
    day, week = level_half_lives(bars.timeframe)
    width = _HALF_LIVES * week
    size = np.sqrt(0.5 * (bars.returns**2 + bar_variance(bars)))
    age = bars.age(width)
    days, weeks = (decayed_mean(size, np.sqrt(bars.elapsed), age, float(h), _HALF_LIVES * h) for h in (day, week))
    level = 0.5 * (np.log(np.maximum(days, LEAST_SD)) + np.log(np.maximum(weeks, LEAST_SD)))
    return np.where(age >= day, level, np.nan)


def rv_ratio(bars: Bars, a: int, b: int) -> Array:
    """``log_rv(a) - log_rv(b)``: is volatility higher now than it was?"""
    return log_rv(bars, a) - log_rv(bars, b)


def rel_log_rv(bars: Bars, n: int) -> Array:
    """``log_rv(n)`` minus the level."""
    return log_rv(bars, n) - level_of(bars)


def deviation(bars: Bars, n: int) -> Array:
    """Standard deviation of the last ``n`` log returns about their mean (population form)."""
    variance = window_variance(bars.returns, n)
    return bars.known(np.sqrt(variance, out=variance), n)


def log_parkinson(bars: Bars, n: int) -> Array:
    """Log sd per bar from ranges: ``sum log(high/low)**2 / (4 log 2)`` per elapsed bar (Parkinson 1980)."""
    total = bars.sum_over("squared range", lambda: (bars.log_high - bars.log_low) ** 2, n)
    return bars.known(log_sd(total / (4 * np.log(2) * n)), n - 1, n)


def log_garman_klass(bars: Bars, n: int) -> Array:
    """Log sd per bar from open, high, low, close and the opening jump (Garman & Klass 1980)."""
    total = bars.sum_over("garman-klass", lambda: bar_variance(bars), n)
    return bars.known(log_sd(total / bars.elapsed_over(n)), n)


def log_rogers_satchell(bars: Bars, n: int) -> Array:
    """Log sd per bar from ranges, free of drift (Rogers & Satchell 1991)."""
    total = bars.sum_over("rogers-satchell", lambda: _rogers_satchell(bars), n)
    return bars.known(log_sd(total / n), n - 1, n)


def log_yang_zhang(bars: Bars, n: int) -> Array:
    """Log sd per bar, free of drift and with opening jumps (Yang & Zhang 2000); needs n >= 2."""
    k = 0.34 / (1.34 + (n + 1) / (n - 1))
    jump = window_variance(bars.overnight, n) * n / (n - 1)
    body = window_variance(bars.log_close - bars.log_open, n) * n / (n - 1)
    inside = bars.sum_over("rogers-satchell", lambda: _rogers_satchell(bars), n) / n
    return bars.known(log_sd((jump + k * body + (1 - k) * inside) * n / bars.elapsed_over(n)), n)


def log_semivariance_up(bars: Bars, n: int) -> Array:
    """Log sd per bar of the rises alone (Barndorff-Nielsen, Kinnebrock & Shephard 2010)."""
    total = bars.sum_over("squared rise", lambda: np.maximum(bars.returns, 0) ** 2, n)
    return bars.known(log_sd(total / bars.elapsed_over(n)), n)


def log_semivariance_down(bars: Bars, n: int) -> Array:
    """Log sd per bar of the falls alone."""
    total = bars.sum_over("squared fall", lambda: np.minimum(bars.returns, 0) ** 2, n)
    return bars.known(log_sd(total / bars.elapsed_over(n)), n)


def up_share(bars: Bars, n: int) -> Array:
    """Share of the realised variance made by rises, minus one half: in [-0.5, 0.5], 0 for flat prices."""
    total = bars.sum_over("squared return", lambda: bars.returns**2, n)
    rises = bars.sum_over("squared rise", lambda: np.maximum(bars.returns, 0) ** 2, n)
    return bars.known(np.where(total > n * LEAST_SD**2, rises / np.maximum(total, n * LEAST_SD**2) - 0.5, 0.0), n)


def log_ewma_vol(bars: Bars, half_life: int) -> Array:
    """Log sd per bar from exponentially weighted squared returns, cut off after 8 half-lives (RiskMetrics 1996, finite memory)."""
    width = 8 * half_life
    mean = decayed_mean(bars.returns**2, bars.elapsed, bars.age(width), float(half_life), width)
    return bars.known(log_sd(mean), half_life, width)


def log_bipower(bars: Bars, n: int) -> Array:
    """Log sd per bar from products of neighbouring absolute returns, robust to jumps (Barndorff-Nielsen & Shephard 2004); n >= 2."""
    return bars.known(log_sd(_bipower(bars, n) / bars.elapsed_over(n)), n)


def jump_share(bars: Bars, n: int) -> Array:
    """Share of the realised variance made by jumps: ``max(0, 1 - bipower / realised)``; 0 for flat prices."""
    total = bars.sum_over("squared return", lambda: bars.returns**2, n)
    share = 1 - _bipower(bars, n) / np.maximum(total, n * LEAST_SD**2)
    return bars.known(np.where(total > n * LEAST_SD**2, np.maximum(share, 0.0), 0.0), n)


def rel_log_parkinson(bars: Bars, n: int) -> Array:
    """``log_parkinson(n)`` minus the level; ``n = 1`` is the newest bar's range."""
    return log_parkinson(bars, n) - level_of(bars)


def fine_log_rv(bars: Bars, timeframe: str, n: int) -> Array:
    """Log sd per base bar from squared returns of finer bars that closed within the last ``n`` base bars ``(bars,)``.

    NaN where under 95 % of the fine bars due are there. Their sum is divided by the fine bars they took, times fine bars per bar.
    """
    finer = bars.finer(timeframe, f"fine_log_rv({timeframe},{n})")
    if not finer.timeframe < bars.timeframe:
        raise UsageError(f"fine_log_rv({timeframe},{n}) at {bars.timeframe}: {timeframe} is not finer than {bars.timeframe}")
    per_bar = bars.timeframe.milliseconds / finer.timeframe.milliseconds
    close_time, open_time = bars.candles.close_time, bars.candles.open_time
    rows_by = bars.once(("fine rows by close", timeframe), lambda: np.searchsorted(finer.close_time, close_time, "right"))
    rows_before_open = bars.once(("fine rows by open", timeframe), lambda: np.searchsorted(finer.close_time, open_time, "right"))
    inner = bars.once(("fine", timeframe), lambda: Bars(finer))
    begins = np.full(len(bars), 0)
    begins[n - 1 :] = rows_before_open[: max(0, len(bars) - n + 1)]
    begins = np.maximum(begins, 1)  # the first fine bar has no return
    total, taken = segment_sums(inner.returns**2, inner.elapsed, begins, rows_by)
    enough = (rows_by - begins) >= 0.95 * n * per_bar
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(enough, total / taken * per_bar, np.nan)
    return bars.known(log_sd(variance), n - 1, n)


def rel_fine_log_rv(bars: Bars, timeframe: str, n: int) -> Array:
    """``fine_log_rv(timeframe, n)`` minus the level."""
    return fine_log_rv(bars, timeframe, n) - level_of(bars)


def _rogers_satchell(bars: Bars) -> Array:
    o, h, lo, c = bars.log_open, bars.log_high, bars.log_low, bars.log_close
    return np.asarray((h - c) * (h - o) + (lo - c) * (lo - o))


def _bipower(bars: Bars, n: int) -> Array:
    def products() -> Array:
        size = np.abs(bars.returns)
        return np.concatenate([np.zeros(min(1, len(size))), size[1:] * size[:-1]])

    found: Array = bars.once(("bipower", n), lambda: window_sum(bars.once("products", products), n - 1))
    return found * (np.pi / 2) * n / (n - 1)


_N = bars_parameter(24)
_N2 = bars_parameter(24, least=2)
_FINE = (Parameter("timeframe", "timeframe", "5m"), Parameter("n", default=24))


def _with_level(timeframe: Timeframe, *arguments: object) -> int:
    return max(level_warm_up(timeframe), *(a for a in arguments if isinstance(a, int)))


LOG_RV = Kind("log_rv", log_rv, "0.5 log(sum of n squared log returns / elapsed bars)", _N, source="Andersen & Bollerslev 1998")
DEVIATION = Kind("deviation", deviation, "standard deviation of the last n log returns", bars_parameter(20, least=2))
RV_RATIO = Kind("rv_ratio", rv_ratio, "log_rv(a) - log_rv(b)", (Parameter("a", default=24), Parameter("b", default=168)))
REL_LOG_RV = Kind("rel_log_rv", rel_log_rv, "log_rv(n) - level", _N, memory=_with_level)
LEVEL = Kind(
    "level",
    level_of,
    "mean of two logs: exponential means of sqrt((return^2 + Garman-Klass)/2), half-lives of a day and a week",
    memory=level_warm_up,
)
LOG_PARKINSON = Kind("log_parkinson", log_parkinson, "0.5 log(mean log(high/low)^2 / (4 log 2))", _N, source="Parkinson 1980")
REL_LOG_PARKINSON = Kind("rel_log_parkinson", rel_log_parkinson, "log_parkinson(n) - level", bars_parameter(1), memory=_with_level)
LOG_GARMAN_KLASS = Kind(
    "log_garman_klass",
    log_garman_klass,
    "0.5 log(mean(0.5 log(h/l)^2 - 0.386 log(c/o)^2 + opening jump^2))",
    _N,
    source="Garman & Klass 1980",
)
LOG_ROGERS_SATCHELL = Kind(
    "log_rogers_satchell",
    log_rogers_satchell,
    "0.5 log(mean(log(h/c) log(h/o) + log(l/c) log(l/o)))",
    _N,
    source="Rogers & Satchell 1991",
)
LOG_YANG_ZHANG = Kind(
    "log_yang_zhang",
    log_yang_zhang,
    "0.5 log(var(opening jump) + k var(log(c/o)) + (1-k) rogers-satchell), k = 0.34/(1.34+(n+1)/(n-1))",
    _N2,
    source="Yang & Zhang 2000",
)
LOG_SEMIVARIANCE_UP = Kind(
    "log_semivariance_up", log_semivariance_up, "0.5 log(sum of n squared rises / elapsed bars)", _N, source="Barndorff-Nielsen et al. 2010"
)
LOG_SEMIVARIANCE_DOWN = Kind(
    "log_semivariance_down",
    log_semivariance_down,
    "0.5 log(sum of n squared falls / elapsed bars)",
    _N,
    source="Barndorff-Nielsen et al. 2010",
)
UP_SHARE = Kind("up_share", up_share, "squared rises / squared returns over n bars - 0.5", _N, source="Patton & Sheppard 2015")
LOG_EWMA_VOL = Kind(
    "log_ewma_vol",
    log_ewma_vol,
    "0.5 log(exponential mean of squared returns, cut off after 8 half-lives)",
    bars_parameter(24, "half_life"),
    memory=lambda timeframe, half_life: 8 * half_life,
    source="RiskMetrics 1996",
)
LOG_BIPOWER = Kind("log_bipower", log_bipower, "0.5 log(pi/2 mean |r_t| |r_t-1|)", _N2, source="Barndorff-Nielsen & Shephard 2004")
JUMP_SHARE = Kind("jump_share", jump_share, "max(0, 1 - bipower / realised variance)", _N2, source="Barndorff-Nielsen & Shephard 2004")
FINE_LOG_RV = Kind("fine_log_rv", fine_log_rv, "log_rv per base bar from returns of finer bars inside the last n bars", _FINE)
REL_FINE_LOG_RV = Kind("rel_fine_log_rv", rel_fine_log_rv, "fine_log_rv(timeframe, n) - level", _FINE, memory=_with_level)
