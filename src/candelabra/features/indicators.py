"""Technical indicators through TA-Lib, fed gap by gap, scale-free, and defined where prices stand still.

TA-Lib goes on with finite wrong numbers after one NaN and knows nothing of time, so it only ever sees runs of bars without
a gap longer than 24 bars. Prices leave as ratios to the close of the same bar; which function gives what was found by scaling
and shifting its inputs, and a test repeats that. Functions without a finite memory are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from candelabra.candles.timeframe import Timeframe
from candelabra.features.bars import Array, Bars
from candelabra.features.kernels import window_max, window_min
from candelabra.features.kind import Kind, Parameter, bars_parameter
from candelabra.features.talib_functions import Function, function
from candelabra.features.volatility import LEAST_SD

__all__ = ["TALIB", "TalibKind", "by_runs"]

_LEAST_LOG: Final = -6.9
"""A lower band may pass through zero: a thousandth of the close is as low as a log ratio goes."""

_BLOCK: Final = 16_384

WILDER: Final = 20
"""Warm-up of Wilder's smoothing in periods: (1 - 1/n)**(20 n) < 3e-9."""

EXPONENTIAL: Final = 10
"""Warm-up of an exponential mean in periods: (1 - 2/(n + 1))**(10 n) < 5e-9 for n of 10 and more."""


def by_runs(bars: Bars, call: Callable[..., Any], columns: tuple[Array, ...], outputs: int, lookback: int) -> list[Array]:
    """TA-Lib's ``call`` on each run of bars without a long gap; NaN for the first ``lookback`` rows of each."""
    n = len(bars)
    starts = bars.runs()
    if len(starts) == 1 and n > lookback:
        found = call(*columns)
        single = list(found) if isinstance(found, (tuple, list)) else [found]
        for i, values in enumerate(single):
            if values.dtype != np.float64:
                single[i] = values.astype(np.float64)
                single[i][:lookback] = np.nan
        return single
    out = [np.full(n, np.nan) for _ in range(outputs)]
    for begin, end in zip(starts, [*starts[1:], n], strict=True):
        if end - begin <= lookback:
            continue
        found = call(*(column[begin:end] for column in columns))
        for target, values in zip(out, found if isinstance(found, (tuple, list)) else (found,), strict=True):
            target[begin:end] = values
            target[begin : begin + lookback] = np.nan  # whole-number outputs hold 0 there
    return out


def _talib() -> Any:
    import talib  # only now: loading it costs 50 ms that a listing need not pay

    return talib


def moving(bars: Bars) -> Array:
    """1 at bars in which any price moved, 0 at those that stand still."""
    still = (bars.candles.high == bars.candles.low) & (bars.returns == 0)
    return np.where(still, 0.0, 1.0)


def flat_over(bars: Bars, n: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Rows at which no price has moved for ``n`` bars."""

    def make() -> Any:
        return window_max(bars.once("moving", lambda: moving(bars)), max(n, 1)) == 0

    found: np.ndarray[Any, np.dtype[np.bool_]] = bars.once(("flat", n), make)
    return found


def talib_columns(bars: Bars, name: str, *parameters: float) -> tuple[Array, ...]:
    """A TA-Lib function by name, its price-like outputs turned into ratios to the close."""
    use = function(name)
    filled = use.filled(parameters)
    lookback = use.lookback(filled)
    columns = tuple(getattr(bars.candles, c) for c in use.inputs)
    call = getattr(_talib(), name)
    raw = by_runs(bars, lambda *x: call(*x, *filled), columns, len(use.outputs), lookback)
    return tuple(_scale_free(bars, use, x, lookback) for x in raw)


def _scale_free(bars: Bars, use: Function, values: Array, lookback: int) -> Array:
    """TA-Lib's fresh ``values`` made free of the unit of price, in place (fresh memory costs more than the arithmetic)."""
    starts = bars.runs()
    runs = [slice(begin + lookback, end) for begin, end in zip(starts, [*starts[1:], len(bars)], strict=True) if end - begin > lookback]
    if use.scale in ("price", "difference"):
        _over_close(values, bars.candles.close, in_logs=use.scale == "price")
    elif use.scale == "pattern":
        values /= 100.0
    elif bars.once("ever still", lambda: bool((bars.candles.high == bars.candles.low).any())):
        values[flat_over(bars, lookback)] = use.neutral
    if "volume" in use.inputs:  # running sums leave a residue where nothing is traded, and 0/0 of residues is any number
        values[window_max(bars.candles.volume, max(lookback, 1)) == 0] = use.neutral
    if use.scale == "price":  # a minimum is NaN when any value is, so one pass finds all that is broken or too low
        if not all(values[run].min() >= _LEAST_LOG for run in runs):
            np.fmax(values, _LEAST_LOG, out=values)
    elif not all(np.isfinite(values[run].sum()) for run in runs):
        values[~np.isfinite(values)] = use.neutral
    return bars.known(values, lookback, 1)


def _over_close(values: Array, close: Array, *, in_logs: bool) -> None:
    """Divide by the close, and take logs, in place; by blocks that stay in the cache."""
    with np.errstate(invalid="ignore", divide="ignore"):
        for begin in range(0, len(values), _BLOCK):
            part = values[begin : begin + _BLOCK]
            np.divide(part, close[begin : begin + _BLOCK], out=part)
            if in_logs:
                np.log(part, out=part)


class TalibKind:
    """``talib.NAME(parameters)``: any function of TA-Lib that has a finite memory."""

    name = "talib"
    formula = "TA-Lib's function NAME; prices as log ratios to the close, price differences divided by the close"
    source = "TA-Lib"
    version = "1"
    parameters = (Parameter("NAME", "name", "CCI"), *(Parameter(f"p{i}", "number", "", -1e9) for i in range(1, 9)))

    def channels(self, *arguments: Any) -> tuple[str, ...]:
        """TA-Lib's names of the outputs; none when there is one only."""
        outputs = function(arguments[0]).outputs
        return outputs if len(outputs) > 1 else ()

    def complete(self, *arguments: Any) -> tuple[Any, ...]:
        """The arguments with TA-Lib's defaults filled in, checked."""
        use = function(arguments[0])
        return (arguments[0], *use.filled(tuple(a for a in arguments[1:] if a != "")))

    def warm_up(self, timeframe: Timeframe, *arguments: Any) -> int:
        """Lookback, and for recursive functions enough periods for the seed to be forgotten."""
        return function(arguments[0]).memory(arguments[1:])

    def compute(self, bars: Bars, *arguments: Any) -> tuple[Array, ...]:
        """A float64 column per output."""
        return talib_columns(bars, *arguments)


TALIB = TalibKind()


def rsi(bars: Bars, n: int) -> Array:
    """Wilder's relative strength index, 0..100; 50 when no price moved for ``n`` bars."""
    return talib_columns(bars, "RSI", n)[0]


def macd(bars: Bars, fast: int, slow: int, signal: int) -> tuple[Array, ...]:
    """MACD line, signal and histogram, divided by the close."""
    return talib_columns(bars, "MACD", fast, slow, signal)


def sma_ratio(bars: Bars, n: int) -> Array:
    """``log(close / simple mean of n closes)``."""
    return -talib_columns(bars, "SMA", n)[0]


def ema_ratio(bars: Bars, n: int) -> Array:
    """``log(close / exponential mean of closes)``."""
    return -talib_columns(bars, "EMA", n)[0]


def bollinger(bars: Bars, n: int, width: float) -> tuple[Array, ...]:
    """%b (0 at the lower band, 1 at the upper; 0.5 for flat prices) and the bands' distance relative to their middle."""
    close = bars.candles.close
    upper, middle, lower = by_runs(bars, lambda x: _talib().BBANDS(x, n, width, width, 0), (close,), 3, n - 1)
    span = upper - lower
    wide = span > LEAST_SD * middle
    percent = np.where(wide, (close - lower) / np.where(wide, span, 1.0), 0.5)
    return np.where(np.isnan(span), np.nan, percent), span / middle


def atr(bars: Bars, n: int) -> Array:
    """Wilder's average true range divided by the close."""
    return talib_columns(bars, "ATR", n)[0]


def adx(bars: Bars, n: int) -> Array:
    """Average directional index, 0..100; 0 for flat prices."""
    return talib_columns(bars, "ADX", n)[0]


def stochastic(bars: Bars, n: int, slow: int, signal: int) -> tuple[Array, ...]:
    """Slow stochastic %K and %D, 0..100; 50 where the range of ``n`` bars is nothing."""
    top = window_max(bars.log_high, n)
    bottom = window_min(bars.log_low, n)
    candles = bars.candles
    inputs = (candles.high, candles.low, candles.close)
    lookback = n + slow + signal - 3
    k, d = by_runs(bars, lambda *x: _talib().STOCH(*x, n, slow, 0, signal, 0), inputs, 2, lookback)
    still = top - bottom <= LEAST_SD
    return tuple(np.where(still & ~np.isnan(x), 50.0, x) for x in (k, d))


RSI = Kind(
    "rsi",
    rsi,
    "100 - 100 / (1 + Wilder mean of rises / of falls)",
    bars_parameter(14, least=2),
    memory=lambda t, n: WILDER * n,
    source="Wilder 1978",
)
MACD = Kind(
    "macd",
    macd,
    "(EMA fast - EMA slow) / close; its EMA; their difference",
    (Parameter("fast", default=12, least=2), Parameter("slow", default=26, least=2), Parameter("signal", default=9)),
    ("line", "signal", "histogram"),
    memory=lambda t, fast, slow, signal: EXPONENTIAL * (fast + slow + signal),
    source="Appel 1979",
)
SMA_RATIO = Kind("sma_ratio", sma_ratio, "log(close / mean of n closes)", bars_parameter(50, least=2))
EMA_RATIO = Kind(
    "ema_ratio", ema_ratio, "log(close / exponential mean of closes)", bars_parameter(50, least=2), memory=lambda t, n: EXPONENTIAL * n
)
BOLLINGER = Kind(
    "bollinger",
    bollinger,
    "(close - lower) / (upper - lower); (upper - lower) / middle",
    (Parameter("n", default=20, least=2), Parameter("width", "number", 2.0, 0.01)),
    ("percent_b", "width"),
    source="Bollinger 2001",
)
ATR = Kind(
    "atr", atr, "Wilder mean of the true range / close", bars_parameter(14), memory=lambda t, n: WILDER * n + 1, source="Wilder 1978"
)
ADX = Kind(
    "adx",
    adx,
    "Wilder mean of |+DI - -DI| / (+DI + -DI)",
    bars_parameter(14, least=2),
    memory=lambda t, n: (WILDER + 5) * n,
    source="Wilder 1978",
)
STOCHASTIC = Kind(
    "stochastic",
    stochastic,
    "mean over slow bars of 100 (close - lowest low) / (highest high - lowest low) over n; its mean",
    (Parameter("n", default=14), Parameter("slow", default=3), Parameter("signal", default=3)),
    ("k", "d"),
    memory=lambda t, n, slow, signal: n + slow + signal,
    source="Lane 1984",
)
