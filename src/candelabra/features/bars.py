"""`Bars`: candles as features see them, with what many features share computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import UsageError
from candelabra.features.kernels import rows_since, window_sum

__all__ = ["BRIDGED_BARS", "Array", "Bars", "bridged_bars"]

Array = NDArray[np.float64]

BRIDGED_BARS: Final = 24


def bridged_bars(window: int) -> int:
    """How many absent bars in a row a window of ``window`` bars steps over: 24, or 5 % of the window if that is more.

    A longer gap restarts the feature. (A month-long window need not fall silent for a month after an outage of two days.)

    >>> bridged_bars(24), bridged_bars(720), bridged_bars(8640)
    (24, 36, 432)
    """
    return max(BRIDGED_BARS, window // 20)


class Bars:
    """One candle series prepared for features; every array has a value per bar ``(n,)``.

    Windows count *present* bars: a window over a short gap reaches further back in time. ``fine`` holds candles of finer
    timeframes by name, for features that read them.
    """

    def __init__(self, candles: Candles, fine: Mapping[str, Candles] | None = None) -> None:
        self.candles = candles
        self.fine = dict(fine or {})
        self._memo: dict[Any, Any] = {}

    def __len__(self) -> int:
        return len(self.candles)

    @property
    def timeframe(self) -> Timeframe:
        """The bars' timeframe."""
        return self.candles.timeframe

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """The value of ``make()``, computed at the first call with ``key``."""
        if key not in self._memo:
            self._memo[key] = make()
        return self._memo[key]

    @cached_property
    def log_open(self) -> Array:
        """Logs of the open."""
        return np.log(self.candles.open)

    @cached_property
    def log_high(self) -> Array:
        """Logs of the high."""
        return np.log(self.candles.high)

    @cached_property
    def log_low(self) -> Array:
        """Logs of the low."""
        return np.log(self.candles.low)

    @cached_property
    def log_close(self) -> Array:
        """Logs of the close."""
        return np.log(self.candles.close)

    @cached_property
    def returns(self) -> Array:
        """Log return since the present bar before, also across a gap; 0 at the first row."""
        change = np.empty(len(self))
        change[:1] = 0.0
        np.subtract(self.log_close[1:], self.log_close[:-1], out=change[1:])
        return change

    @cached_property
    def overnight(self) -> Array:
        """Log of the open over the close before; 0 at the first row."""
        jump = np.zeros(len(self))
        jump[1:] = self.log_open[1:] - self.log_close[:-1]
        return jump

    @cached_property
    def elapsed(self) -> Array:
        """Bars of time since the present bar before: 1, or 1 + the absent bars of a gap; 1 at the first row."""
        return np.diff(self.candles.bar, prepend=self.candles.bar[:1] - 1).astype(np.float64)

    def age(self, window: int = 1) -> NDArray[np.int64]:
        """Rows since the last gap that a window of ``window`` bars cannot step over, or since the first row."""
        bridged = bridged_bars(window)
        found: NDArray[np.int64] = self.once(("age", bridged), lambda: rows_since(self.candles.bar, bridged))
        return found

    def known(self, values: Array, bars_before: int, window: int | None = None) -> Array:
        """``values``, a fresh array, with NaN written wherever fewer than ``bars_before`` bars precede the row in its run."""
        for start in self.runs(bars_before if window is None else window):
            values[start : start + bars_before] = np.nan
        return values

    def runs(self, window: int = 1) -> list[int]:
        """Rows where a run begins for a window of ``window`` bars: the first, and each after a gap it cannot step over."""
        bridged = bridged_bars(window)
        found: list[int] = self.once(("runs", bridged), lambda: self._runs(bridged))
        return found

    def _runs(self, bridged: int) -> list[int]:
        starts = self.candles.run_starts  # after any gap
        bar = self.candles.bar
        return [int(s) for s in starts if s == 0 or bar[s] - bar[s - 1] - 1 > bridged]

    def elapsed_over(self, n: int) -> Array:
        """Bars of time in which the last ``n`` returns were made: ``n`` plus the absent bars among them."""
        bar = self.candles.bar
        span = np.full(len(self), float(n))
        span[n:] = bar[n:] - bar[:-n]
        return span

    def sum_over(self, key: str, values: Callable[[], Array], n: int) -> Array:
        """Sum of the last ``n`` values of a named column."""
        column: Array = self.once(("column", key), values)
        total: Array = self.once(("sum", key, n), lambda: window_sum(column, n))
        return total

    def finer(self, name: str, feature: str) -> Candles:
        """The candles of a finer timeframe; UsageError when they were not given."""
        if name not in self.fine:
            given = ", ".join(sorted(self.fine)) or "none"
            raise UsageError(
                f"{feature} at {self.timeframe} reads {name} candles, which were not given (given: {given}): "
                f"add the timeframe {name}, or leave the feature out"
            )
        return self.fine[name]
