"""What a candle is."""

from candelabra.candles.frame import Candles
from candelabra.candles.oracle import oracle_log_volatility, oracle_return, oracle_variance
from candelabra.candles.quality import QualityReport, inspect
from candelabra.candles.raw import RawCandles
from candelabra.candles.resample import cascade, resample
from candelabra.candles.simulate import REGIMES, MarketSettings, SimulatedMarket, simulate, simulate_market
from candelabra.candles.timeframe import Timeframe

__all__ = [
    "REGIMES",
    "Candles",
    "MarketSettings",
    "QualityReport",
    "RawCandles",
    "SimulatedMarket",
    "Timeframe",
    "cascade",
    "inspect",
    "oracle_log_volatility",
    "oracle_return",
    "oracle_variance",
    "resample",
    "simulate",
    "simulate_market",
]
