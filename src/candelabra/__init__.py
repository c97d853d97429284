"""candelabra learns from OHLCV candles at several timeframes at once."""

__version__ = "0.1.0"
