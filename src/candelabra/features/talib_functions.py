"""What each TA-Lib function gives (a price, a price difference, a pure number), how long it remembers, and which are refused."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final, Literal

from candelabra.errors import UsageError
from candelabra.registry import did_you_mean

__all__ = ["FUNCTIONS", "REFUSED", "Function", "function"]

Scale = Literal["price", "difference", "free", "pattern"]

_PRICE: Final = (
    "ACCBANDS BBANDS DEMA DONCHIAN EMA HMA KAMA KC MA MIDPOINT MIDPRICE RMA SMA T3 TEMA TRIMA VWMA WMA ZLEMA AVGPRICE MEDPRICE "
    "TYPPRICE WCLPRICE HA LINEARREG LINEARREG_INTERCEPT PERCENTILE TSF"
)
_DIFFERENCE: Final = "AC AO APO DPO ERI MACD MACDEXT MACDFIX MINUS_DM PLUS_DM MOM QSTICK AVGDEV LINEARREG_SLOPE STDDEV TRANGE ADR ATR"
_FREE: Final = (
    "ADX ADXR AROON AROONOSC BOP CCI CMO CMOU COPPOCK DX ER FOSC FRACTAL IMI KDJ MFI MINUS_DI PLUS_DI PPO ROC ROCP ROCR ROCR100 "
    "RSI SMI STOCH STOCHF STOCHRSI TRIX TSI ULTOSC VHF VORTEX WILLR BETA CORREL PERCENTRANK CVI MASSI NATR RVI CMF PVO RVOL"
)
_WILDER: Final = "ADX ADXR CMO DX MINUS_DI PLUS_DI MINUS_DM PLUS_DM RSI ATR NATR RVI RMA STOCHRSI KDJ KC"
_EXPONENTIAL: Final = "APO PPO PVO MACD ERI SMI TRIX TSI DEMA EMA T3 TEMA ZLEMA CVI MASSI"
_NEUTRAL: Final = {
    **dict.fromkeys(("RSI", "MFI", "IMI", "ULTOSC", "STOCH", "STOCHF", "STOCHRSI", "KDJ", "AROON", "RVI", "PERCENTRANK"), 50.0),
    **dict.fromkeys(("ROCR", "VORTEX", "BETA", "CORREL", "RVOL"), 1.0),
    "ROCR100": 100.0,
    "WILLR": -50.0,
}
_CUMULATIVE: Final = "it adds up from the first bar, so that its value depends on where the history begins"
_STATE: Final = "it has no finite memory: its state depends on where the history begins"
REFUSED: Final = {
    **dict.fromkeys(("AD", "OBV"), f"{_CUMULATIVE}; use ad(n) or obv(n), its difference over n bars"),
    **dict.fromkeys(("WAD", "NVI", "PVI", "PVT", "VWAP", "CUMSUM"), _CUMULATIVE + "; for a volume-weighted mean use vwap_ratio(n)"),
    **dict.fromkeys(("SAR", "SAREXT", "SUPERTREND", "MAMA"), _STATE),
    **dict.fromkeys(("HT_DCPERIOD", "HT_DCPHASE", "HT_PHASOR", "HT_SINE", "HT_TRENDMODE", "HT_TRENDLINE"), _STATE),
    "VAR": "it is a squared price; use talib.STDDEV(n)",
    "LINEARREG_ANGLE": "an angle of a price line depends on the unit of price; use talib.LINEARREG_SLOPE(n)",
    **dict.fromkeys(
        ("ADOSC", "EFI", "MARKETFI"), "it is measured in traded volume, which has no fixed scale; use ad(n), obv(n) or volume_zscore(n)"
    ),
    "MAVP": "it needs a column of periods beside the prices",
}
FUNCTIONS: Final[dict[str, Scale]] = {
    **dict.fromkeys(_PRICE.split(), "price"),
    **dict.fromkeys(_DIFFERENCE.split(), "difference"),
    **dict.fromkeys(_FREE.split(), "free"),
}
_SMOOTHED: Final = frozenset({0, 2, 5})  # TA-Lib's moving averages with a window: simple, weighted, triangular
_ENDLESS: Final = frozenset({6, 7})  # KAMA, MAMA


@dataclass(frozen=True)
class Function:
    """One TA-Lib function: inputs are candle columns, ``scale`` says what its outputs are, ``neutral`` their value when nothing moves."""

    name: str
    scale: Scale
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    defaults: tuple[tuple[str, float], ...]
    neutral: float

    def filled(self, given: tuple[float, ...]) -> tuple[float, ...]:
        """``given`` parameters in TA-Lib's order and types, defaults behind them; UsageError for what TA-Lib would refuse."""
        if len(given) > len(self.defaults):
            takes = ", ".join(name for name, _ in self.defaults) or "none"
            raise UsageError(f"talib.{self.name} takes {len(self.defaults)} parameters ({takes}), got {len(given)}")
        filled: list[float] = []
        for (name, default), value in zip(self.defaults, (*given, *(d for _, d in self.defaults[len(given) :])), strict=True):
            if isinstance(default, int) and value != int(value):
                raise UsageError(f"talib.{self.name}: {name} must be a whole number, got {value:g}")
            if "matype" in name and value in _ENDLESS:
                raise UsageError(
                    f"talib.{self.name}: {name}={value:g} is an average without finite memory; use 0 (simple) or 1 (exponential)"
                )
            filled.append(int(value) if isinstance(default, int) else float(value))
        self.lookback(tuple(filled))
        return tuple(filled)

    def lookback(self, filled: tuple[float, ...]) -> int:
        """Rows without a value at the start of a run; UsageError for parameters TA-Lib refuses."""
        return _lookback(self.name, filled)

    def memory(self, filled: tuple[Any, ...]) -> int:
        """Bars needed before a bar for its value to be final: the lookback, more when the function is recursive."""
        periods = sum(v for (name, _), v in zip(self.defaults, filled, strict=True) if "period" in name)
        averages = [v for (name, _), v in zip(self.defaults, filled, strict=True) if "matype" in name]
        lookback = self.lookback(filled)
        if self.name == "KAMA":
            return lookback + 4000  # its slowest weight is (2/31)**2 a bar: 16 of its time constants
        if self.name == "HA":
            return 64
        if self.name == "MACDFIX":
            return lookback + 10 * (26 + 12 + int(periods))
        if self.name in _WILDER.split():
            return lookback + 22 * int(periods)
        if self.name in _EXPONENTIAL.split() or any(a not in _SMOOTHED for a in averages):
            return lookback + 12 * int(periods) + 20
        return lookback


@cache
def function(name: str) -> Function:
    """What is known of a TA-Lib function; UsageError with the reason for one that is refused, or with the nearest name."""
    if name in REFUSED:
        raise UsageError(f"talib.{name} cannot be a feature: {REFUSED[name]}")
    if name.startswith("CDL"):
        scale: Scale = "pattern"
    elif name in FUNCTIONS:
        scale = FUNCTIONS[name]
    else:
        raise UsageError(f"unknown TA-Lib function {name!r}: {did_you_mean(name.upper(), list(FUNCTIONS))}")
    try:
        info = _abstract(name).info
    except Exception:
        raise UsageError(f"the installed TA-Lib has no function {name}: upgrade it, or use another feature") from None
    inputs: list[str] = []
    for columns in info["input_names"].values():
        inputs += [columns] if isinstance(columns, str) else list(columns)
    return Function(name, scale, tuple(inputs), tuple(info["output_names"]), tuple(info["parameters"].items()), _NEUTRAL.get(name, 0.0))


def _abstract(name: str) -> Any:
    abstract: Any = importlib.import_module("talib.abstract")
    return abstract.Function(name)


@lru_cache(maxsize=1024)
def _lookback(name: str, filled: tuple[float, ...]) -> int:
    use = _abstract(name)
    try:
        if filled:
            use.parameters = dict(zip(use.parameters, filled, strict=True))
        found = int(use.lookback)
    except Exception as error:
        raise UsageError(f"talib.{name}{filled} is refused by TA-Lib: {error}") from None
    if found < 0:
        raise UsageError(f"talib.{name}{filled}: a parameter is out of TA-Lib's range")
    return found
