"""What a candle is."""

from candelabra.candles.frame import Candles
from candelabra.candles.resample import cascade, resample
from candelabra.candles.timeframe import Timeframe

__all__ = ["Candles", "Timeframe", "cascade", "resample"]
