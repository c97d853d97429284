"""The sixteen columns by the library `ta`, as the brief uses it."""

from __future__ import annotations

from typing import Any

import numpy as np


def sixteen_columns(candles: dict[str, Any]) -> list[Any]:
    """RSI, two means, MACD, Bollinger bands, ATR by `ta`; lagged log returns and their deviation by pandas."""
    import pandas as pd
    import ta

    high, low, close = (pd.Series(candles[name]) for name in ("high", "low", "close"))
    macd = ta.trend.MACD(close)
    bands = ta.volatility.BollingerBands(close, 20, 2)
    change = np.log(close).diff()
    made = [
        ta.momentum.RSIIndicator(close, 14).rsi(), ta.trend.SMAIndicator(close, 50).sma_indicator(),
        ta.trend.SMAIndicator(close, 200).sma_indicator(), macd.macd(), macd.macd_signal(), macd.macd_diff(), bands.bollinger_hband(),
        bands.bollinger_mavg(), bands.bollinger_lband(), ta.volatility.AverageTrueRange(high, low, close, 14).average_true_range(),
        change, *(change.shift(k) for k in range(1, 5)), change.rolling(20).std(ddof=0),
    ]  # fmt: skip
    return [column.to_numpy() for column in made]
