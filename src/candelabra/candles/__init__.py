"""What a candle is."""

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe

__all__ = ["Candles", "Timeframe"]
