"""What a candle is."""

from candelabra.candles.agreement import Agreement, compare
from candelabra.candles.frame import Candles
from candelabra.candles.information import InformationBars, dollar_bars, volume_bars
from candelabra.candles.oracle import oracle_log_volatility, oracle_return, oracle_variance
from candelabra.candles.quality import QualityReport, inspect
from candelabra.candles.raw import RawCandles
from candelabra.candles.resample import cascade, resample
from candelabra.candles.simulate import REGIMES, MarketSettings, SimulatedMarket, simulate, simulate_market
from candelabra.candles.timeframe import Timeframe
from candelabra.candles.trades import Trades, trade_bars

__all__ = [
    "REGIMES",
    "Agreement",
    "Candles",
    "InformationBars",
    "MarketSettings",
    "QualityReport",
    "RawCandles",
    "SimulatedMarket",
    "Timeframe",
    "Trades",
    "cascade",
    "compare",
    "dollar_bars",
    "inspect",
    "oracle_log_volatility",
    "oracle_return",
    "oracle_variance",
    "resample",
    "simulate",
    "simulate_market",
    "trade_bars",
    "volume_bars",
]
