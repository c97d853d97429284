"""Named lists of features to start from.

Networks get few and level-free ones (absolute levels broke when the market left the range it was trained in); trees and
linear models get hand-made volatility at many spans.
"""

from __future__ import annotations

from typing import Final

__all__ = ["BASE", "BENCH16", "COARSE", "FINE", "HAR_X", "SETS", "TABULAR"]

BASE: Final = (
    "scaled_return(1)",
    "scaled_return(24)",
    "scaled_return(168)",
    "rel_log_parkinson(1)",
    "rel_log_rv(24)",
    "rel_log_rv(168)",
    "close_position(1)",
    "rel_volume(168)",
    "target_hour",
    "target_weekday",
    "window_week(24)",
    "window_weekend(24)",
    "gap",
    "bars_since_gap",
)
"""The base arm: 10 numbers about the market relative to its current level, the calendar of what comes, and gaps."""

COARSE: Final = (
    "scaled_return(1)",
    "scaled_return(6)",
    "rel_log_parkinson(1)",
    "rel_log_rv(6)",
    "rel_log_rv(24)",
    "close_position(1)",
    "rel_volume(24)",
)
"""Coarser arms, each in its own bars and relative to its own level."""

FINE: Final = (
    "scaled_return(1)",
    "scaled_return(12)",
    "rel_log_parkinson(1)",
    "rel_log_rv(12)",
    "close_position(1)",
    "rel_volume(288)",
    "target_hour",
)
"""Arms finer than the base."""

HAR_X: Final = (
    "log_rv(24)",
    "log_rv(168)",
    "log_rv(720)",
    "log_parkinson(24)",
    "log_parkinson(168)",
    "log_semivariance_down(24)",
    "log_rv(6)",
    "rel_volume(168)",
    "window_weekend(24)",
    "window_week(24)",
    "target_hour",
)
"""A heterogeneous autoregression (Corsi 2009: day, week, month, in absolute logs) with ranges, falls, volume and calendar."""

TABULAR: Final = (
    *HAR_X,
    "log_rv(3)",
    "log_rv(12)",
    "log_rv(48)",
    "log_rv(336)",
    "log_parkinson(1)",
    "log_parkinson(6)",
    "log_yang_zhang(24)",
    "log_semivariance_up(24)",
    "log_bipower(24)",
    "jump_share(24)",
    "up_share(168)",
    "level",
    "return(1)",
    "scaled_return(1)",
    "scaled_return(3)",
    "scaled_return(6)",
    "scaled_return(24)",
    "scaled_return(72)",
    "scaled_return(168)",
    "scaled_return(336)",
    "lag(scaled_return(1),1)",
    "lag(scaled_return(1),2)",
    "close_position(24)",
    "rel_volume(24)",
    "rel_dollar_volume(24,168)",
    "volume_zscore(168)",
    "amihud(24,168)",
    "obv(24)",
    "ad(24)",
    "rsi(14)",
    "macd(12,26,9).histogram",
    "sma_ratio(50)",
    "ema_ratio(200)",
    "bollinger(20,2)",
    "atr(14)",
    "adx(14)",
    "stochastic(14,3,3).k",
    "talib.CCI(20)",
    "vwap_ratio(24)",
    "target_weekday",
    "gap",
)
"""For trees: HAR-X and about forty hand-made numbers more."""

BENCH16: Final = (
    "rsi(14)",
    "talib.SMA(50)",
    "talib.SMA(200)",
    "macd(12,26,9)",
    "talib.BBANDS(20,2,2,0)",
    "atr(14)",
    "return(1)",
    "lag(return(1),1)",
    "lag(return(1),2)",
    "lag(return(1),3)",
    "lag(return(1),4)",
    "deviation(20)",
)
"""The sixteen columns whose cost is measured against raw TA-Lib calls."""

SETS: Final = {"base": BASE, "coarse": COARSE, "fine": FINE, "har_x": HAR_X, "tabular": TABULAR, "bench16": BENCH16}
"""The lists by name."""
