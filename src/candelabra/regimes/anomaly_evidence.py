"""What each closed bar shows against what was to be expected of it at the close before: logs of ratios, nothing judged yet.

Expectations are the causal volatility level and a causal volume level, each with the week's pattern counted on the train range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.features.bars import Bars
from candelabra.features.kernels import decayed_mean, window_max, window_min, window_sum
from candelabra.features.volatility import LEAST_SD, level_half_lives, level_of, level_warm_up

__all__ = ["LONGEST_RUN", "SPIKE", "STRETCH", "Evidence", "Expectation", "evidence_memory", "fit_expectation", "gather"]

Array: TypeAlias = NDArray[np.float64]
STRETCH: Final = 6
"""Bars of a *stretch*: what rises and falls over several bars is seen in their range and volume together."""
SPIKE: Final = 4
"""Bars of a *spike*: the wick of the candle they make together is a move out and back over several bars."""
LONGEST_RUN: Final = 48
"""Bars of a run that are counted: a feed stuck for longer is not more stuck."""
_HOUR_MS: Final = 3_600_000
_WEEK_MS: Final = 168 * _HOUR_MS
_MONDAY_MS: Final = 96 * _HOUR_MS
_SHRINK: Final = 12  # bars of a time of week that weigh as much as "no pattern"
_LEAST_VOLUME: Final = 1e-3
_LEAST_MOVE: Final = 1e-3
_HALF_LIVES: Final = 4


@dataclass(frozen=True, eq=False)
class Expectation:
    """What train bars say about a usual bar: the week's patterns and the usual volume.

    ``move`` and ``volume`` float64 ``(times of week,)``: log range and log volume against their levels; ``usual``: median volume of bars
    with any; ``held``: log volumes beyond these two (relative to ``usual``) move the volume level no further.
    """

    move: Array
    volume: Array
    usual: float
    held: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"move": self.move.tolist(), "volume": self.volume.tolist(), "usual": self.usual, "held": list(self.held)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Expectation:
        """What `to_dict` wrote."""
        move, volume = (np.asarray(content[name], np.float64) for name in ("move", "volume"))
        low, high = content["held"]
        return cls(move, volume, float(content["usual"]), (float(low), float(high)))


@dataclass(frozen=True, eq=False)
class Evidence:
    """Statistics per bar, float64 ``(n,)``, NaN where not yet known; logs are natural, ``..._run`` int64 bars so far.

    ``sd``: expected log standard deviation of the bar's return; ``move``: its return (over the root of the bars it took) in units of it.
    ``span``, ``wick``, ``spike``, ``stretch``, ``reverted``: logs of true range, longer wick, how much longer that of `SPIKE` bars as one
    is, range of `STRETCH` bars, and a jump taken back, in units of ``sd``. ``volume``, ``stretch_volume``: log volume against what is
    usual. ``elapsed``: bars since the present bar before; ``missing``: source bars absent inside; ``repeat_run``, ``idle_run``: bars in a
    row that repeat the one before, or trade nothing.
    """

    sd: Array
    returns: Array
    move: Array
    span: Array
    wick: Array
    spike: Array
    stretch: Array
    reverted: Array
    volume: Array
    stretch_volume: Array
    elapsed: Array
    missing: Array
    repeat_run: NDArray[np.int64]
    idle_run: NDArray[np.int64]


def evidence_memory(timeframe: Timeframe) -> int:
    """Bars before a bar that its evidence reads."""
    return max(level_warm_up(timeframe) + STRETCH, LONGEST_RUN) + 2


def fit_expectation(candles: Candles) -> Expectation:
    """Patterns and usual volume of train candles; a time of week seen seldom is drawn to no pattern."""
    bars, times = Bars(candles), _times(candles.timeframe)
    traded = candles.volume[candles.volume > 0]
    usual = float(np.median(traded)) if len(traded) else 1.0
    log_volume = _log_volume(candles, usual)
    low, high = np.quantile(log_volume, [0.01, 0.99]) if len(log_volume) else (0.0, 0.0)
    flat = Expectation(np.zeros(times), np.zeros(times), usual, (float(low), float(high)))
    seen = _time_of_week(candles)
    move = np.log(np.maximum(bars.log_high - bars.log_low, LEAST_SD)) - _before(level_of(bars))
    volume = log_volume - _before(_volume_level(bars, flat, log_volume))
    return Expectation(_pattern(move, seen, times), _pattern(volume, seen, times), usual, flat.held)


def gather(candles: Candles, expected: Expectation, forecast_sd: Array | None = None) -> Evidence:
    """The evidence of every bar; a row reads nothing after it.

    ``forecast_sd`` ``(n,)``: log standard deviations of each bar's return, forecast at the close before, for use where they are known.
    """
    bars = Bars(candles)
    seen = _time_of_week(candles)
    level = level_of(bars)
    sd = _before(level) + expected.move[seen]
    if forecast_sd is not None:
        sd = np.where(np.isfinite(forecast_sd), forecast_sd, sd)
    root, wick = 0.5 * np.log(bars.elapsed), _wick(bars, 1)
    high, low = np.maximum(bars.log_high, bars.log_close - bars.returns), np.minimum(bars.log_low, bars.log_close - bars.returns)
    log_volume = _log_volume(candles, expected.usual)
    clean = log_volume - expected.volume[seen]
    volume_level = _volume_level(bars, expected, clean)
    known = np.arange(len(bars)) >= STRETCH
    stretch = window_max(bars.log_high, STRETCH) - window_min(bars.log_low, STRETCH)
    mean_volume = window_sum(clean, STRETCH) / STRETCH
    return Evidence(
        sd=sd,
        returns=bars.returns,
        move=bars.returns / np.exp(sd + root),
        span=_log_size(high - low, sd + root),
        wick=_log_size(wick, sd),
        # Wicks that these bars had on their own were told then: what is left went out and back over several of them.
        spike=_log_size(_wick(bars, SPIKE) - window_max(wick, SPIKE), _before(level, SPIKE)),
        stretch=_log_size(stretch, np.where(known, _before(level, STRETCH), np.nan)),
        reverted=_log_size(_taken_back(bars), _before(level, 2)),
        volume=clean - _before(volume_level),
        stretch_volume=np.where(known, mean_volume - _before(volume_level, STRETCH), np.nan),
        elapsed=bars.elapsed,
        missing=candles.missing.astype(np.float64),
        repeat_run=_run(_repeats(candles)),
        idle_run=_run(candles.volume == 0),
    )


def _before(values: Array, bars: int = 1) -> Array:
    """What was known ``bars`` bars earlier."""
    out = np.full(len(values), np.nan)
    out[bars:] = values[: max(0, len(values) - bars)]
    return out


def _log_size(size: Array, sd: Array) -> Array:
    """Log of a size in units of ``exp(sd)``, floored where there is none."""
    return np.asarray(np.log(np.maximum(size / np.exp(sd), _LEAST_MOVE)))


def _times(timeframe: Timeframe) -> int:
    """How many times of a week are told apart: hours at most, fewer for longer bars, one for months."""
    return 1 if timeframe.is_calendar else int(max(1, _WEEK_MS // max(timeframe.milliseconds, _HOUR_MS)))


def _time_of_week(candles: Candles) -> NDArray[np.int64]:
    times = _times(candles.timeframe)
    return ((candles.open_time - _MONDAY_MS) % _WEEK_MS) * times // _WEEK_MS


def _pattern(values: Array, seen: NDArray[np.int64], times: int) -> Array:
    """Medians by time of week about the median of all, weighed against none at all."""
    known = np.isfinite(values)
    x, at = values[known], seen[known]
    order = np.lexsort((x, at))
    count = np.bincount(at, minlength=times)
    stop = np.cumsum(count)
    middle = np.minimum(stop - count + count // 2, max(0, len(x) - 1))
    if not len(x):
        return np.zeros(times)
    return np.asarray((x[order][middle] - np.median(x)) * count / (count + _SHRINK))


def _log_volume(candles: Candles, usual: float) -> Array:
    return np.asarray(np.log(np.maximum(candles.volume / usual, _LEAST_VOLUME)))


def _volume_level(bars: Bars, expected: Expectation, log_volume: Array) -> Array:
    """Exponential mean of log volume, half-life a day; NaN for the first bars of a run."""
    day = level_half_lives(bars.timeframe)[0]
    width = _HALF_LIVES * day
    age = bars.age(_HALF_LIVES * level_half_lives(bars.timeframe)[1])
    mean = decayed_mean(np.clip(log_volume, *expected.held), np.ones(len(bars)), age, float(day), width)
    return np.where(age >= min(day, width), mean, np.nan)


def _wick(bars: Bars, n: int) -> Array:
    """The longer wick of the last ``n`` bars as one candle."""
    first = np.maximum(np.arange(len(bars)) - n + 1, 0)
    top, bottom = np.maximum(bars.log_open[first], bars.log_close), np.minimum(bars.log_open[first], bars.log_close)
    return np.maximum(window_max(bars.log_high, n) - top, bottom - window_min(bars.log_low, n))


def _taken_back(bars: Bars) -> Array:
    """Size of a jump of the bar before that this bar has taken back, at least by half and at most half too much; else 0."""
    now, then = bars.returns, np.concatenate([np.zeros(min(1, len(bars))), bars.returns[:-1]])
    small, large = np.minimum(np.abs(now), np.abs(then)), np.maximum(np.abs(now), np.abs(then))
    return np.where((now * then < 0) & (small >= 0.5 * large), small, 0.0)


def _repeats(candles: Candles) -> NDArray[np.bool_]:
    """Bars with all values of the bar before, or without any move from its close."""
    out = np.zeros(len(candles), np.bool_)
    out[1:] = np.logical_and.reduce([v[1:] == v[:-1] for v in candles.values()])
    still = (candles.high == candles.low) & (np.diff(candles.close, prepend=candles.close[:1]) == 0)
    still[:1] = False
    return np.asarray(out | still)


def _run(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """At each bar, how many bars in a row up to it are so, up to `LONGEST_RUN`."""
    count = np.arange(1, len(mask) + 1)
    return np.asarray(np.minimum(count - np.maximum.accumulate(np.where(mask, 0, count)), LONGEST_RUN), np.int64)
