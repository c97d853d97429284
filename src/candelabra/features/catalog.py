"""The catalog of features: spec strings such as ``return(24)``, ``rsi(14)``, ``talib.CCI(20)``, ``lag(return(1),3)`` to numbers.

A spec is ``name(arguments)``, with ``.channel`` behind it to pick one of several channels: ``macd(12,26,9).signal``. Every
channel name of a :class:`~candelabra.features.table.FeatureTable` is itself a spec. Nothing absolute in price leaves the catalog.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from candelabra.candles.frame import Candles
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import UsageError
from candelabra.features.bars import Bars
from candelabra.features.kind import Completing, Feature, FeatureKind, Kind
from candelabra.features.spec import SpecText, read_spec
from candelabra.features.table import FeatureTable
from candelabra.registry import Entry, Registry, did_you_mean

__all__ = ["FEATURES", "compute", "compute_tail", "describe", "parse", "warm_up"]

VERSION: Final = "1"
"""Changes whenever the arithmetic of a feature here changes."""

FEATURES: Final = Registry("feature")
"""Feature kinds by name; third parties add theirs through the entry-point group ``candelabra.feature``."""

_HERE: Final = {
    "returns": ("return scaled_return body upper_wick lower_wick range opening_jump close_position gap bars_since_gap"),
    "volatility": (
        "log_rv deviation rv_ratio rel_log_rv level log_parkinson rel_log_parkinson log_garman_klass log_rogers_satchell log_yang_zhang "
        "log_semivariance_up log_semivariance_down up_share log_ewma_vol log_bipower jump_share fine_log_rv rel_fine_log_rv"
    ),
    "indicators": "talib rsi macd sma_ratio ema_ratio bollinger atr adx stochastic",
    "volume": "rel_volume rel_volume_median rel_dollar_volume volume_zscore amihud obv ad vwap_ratio",
    "calendar": "close_hour close_weekday target_hour target_weekday window_hours window_week window_weekend",
    "transforms": "lag difference relative scaled",
}
for _module, _names in _HERE.items():
    for _name in _names.split():
        _where = f"candelabra.features.{_module}:{_name.upper()}"
        FEATURES.add(Entry(_name, "candelabra.features.kind:Kind", _where, _module))


def parse(spec: str | Feature) -> Feature:
    """The feature a spec names; UsageError that says what is wrong with it and what was perhaps meant.

    >>> parse("rv_ratio").spec
    'rv_ratio(24,168)'
    >>> parse("window_week(24)").names[1]
    'window_week(24).cos1'
    >>> parse("retrun(24)")
    Traceback (most recent call last):
    ...
    candelabra.errors.UsageError: in feature "retrun(24)": unknown feature 'retrun': did you mean "return"?
    """
    if isinstance(spec, Feature):
        return spec
    try:
        return _feature(read_spec(spec))
    except UsageError as error:
        if str(error).startswith("in feature"):
            raise
        raise UsageError(f'in feature "{spec}": {error}') from None


def compute(candles: Candles, specs: Sequence[str | Feature], *, fine: Mapping[str, Candles] | None = None) -> FeatureTable:
    """Features of closed candles: one row per bar, a channel (or several) per spec, NaN where not yet known.

    ``fine`` holds candles of finer timeframes by name for the features that read them (``fine_log_rv``). ``values`` lie in memory
    column by column (writing columns into wide rows costs more than most features); a scaler's output lies row by row.

    >>> import numpy as np
    >>> close = np.exp(np.cumsum([0.01, -0.02, 0.03]))
    >>> candles = Candles.of("X/Y", "1h", np.arange(3) * 3_600_000, close, close, close, close, [1, 1, 1])
    >>> compute(candles, ["return(1)"]).values[:, 0].round(3)
    array([  nan, -0.02,  0.03], dtype=float32)
    """
    features = _distinct(specs)
    bars = Bars(candles, fine)
    names = tuple(name for feature in features for name in feature.names)
    columns = np.empty((len(names), len(candles)), np.float32)
    row = 0
    shared = {inner.spec for feature in features for inner in feature.arguments if isinstance(inner, Feature)}
    for feature in features if len(candles) else ():
        for column in (feature.single(bars),) if feature.spec in shared else feature.compute(bars):
            columns[row] = column
            row += 1
    frame = candles.timeframe
    memory = tuple(feature.warm_up(frame) for feature in features for _ in feature.names)
    return FeatureTable(candles.symbol, frame, names, columns.T, memory, _version(features))


def compute_tail(
    candles: Candles, specs: Sequence[str | Feature], rows: int = 1, *, fine: Mapping[str, Candles] | None = None
) -> FeatureTable:
    """The newest ``rows`` rows of :func:`compute`, at a cost that does not grow with history.

    Reads only as many bars before them as the longest warm-up asks for, and equals the full history within law 3.
    """
    features = _distinct(specs)
    memory = max((f.warm_up(candles.timeframe) for f in features), default=0)
    first = max(0, len(candles) - rows - memory)
    tail = candles.rows(slice(first, None))
    cut = {}
    for name, finer in (fine or {}).items():
        begin = int(np.searchsorted(finer.close_time, tail.open_time[0], "right")) if len(tail) else 0
        cut[name] = finer.rows(slice(max(0, begin - 2), None))
    table = compute(tail, features, fine=cut)
    return FeatureTable(table.symbol, table.timeframe, table.names, table.values[max(0, len(tail) - rows) :], table.warm_up, table.version)


def warm_up(specs: Sequence[str | Feature], timeframe: Timeframe) -> int:
    """Bars needed before a bar so that all of ``specs`` are final there."""
    return max((parse(s).warm_up(timeframe) for s in specs), default=0)


def describe() -> list[dict[str, str]]:
    """Every feature kind: name with default arguments, channels, formula, warm-up (bars, at 1h) and source; for listings."""
    found = []
    for entry in FEATURES:
        kind: FeatureKind = FEATURES.load(entry.name)
        feature = parse(entry.name if entry.name != "talib" else "talib.CCI")
        found.append(
            {
                "name": feature.whole,
                "parameters": ", ".join(p.name for p in kind.parameters),
                "channels": ", ".join(kind.channels(*feature.arguments)),
                "formula": kind.formula,
                "warm_up": str(feature.warm_up(Timeframe("1h"))),
                "source": kind.source,
                "family": entry.summary,
            }
        )
    return found


def _example(kind: FeatureKind) -> Feature:
    return parse(kind.name)


def _distinct(specs: Sequence[str | Feature]) -> list[Feature]:
    if isinstance(specs, str):
        raise UsageError(f'features must be a list of specs, got the text "{specs}": write ["{specs}"]')
    features = [parse(s) for s in specs]
    seen: set[str] = set()
    for name in (name for feature in features for name in feature.names):
        if name in seen:
            raise UsageError(f"the feature {name} is listed twice: keep one of them")
        seen.add(name)
    return features


def _feature(text: SpecText) -> Feature:
    kind: FeatureKind = FEATURES.load(text.name)
    parameters = kind.parameters
    if len(text.arguments) > len(parameters):
        takes = ", ".join(p.name for p in parameters) or "none"
        raise UsageError(f"{text.name} takes {len(parameters)} arguments ({takes}), got {len(text.arguments)}")
    arguments = []
    for i, parameter in enumerate(parameters):
        if i < len(text.arguments):
            arguments.append(_argument(text.name, parameter, text.arguments[i]))
        elif parameter.default is None:
            raise UsageError(f"{text.name} needs the argument {parameter.name}")
        else:
            default = parameter.default
            arguments.append(parse(default) if parameter.type == "feature" else default)
    if isinstance(kind, Completing):
        arguments = list(kind.complete(*arguments))
    parts = kind.channels(*arguments)
    if text.channel is not None and text.channel not in parts:
        known = did_you_mean(text.channel, parts) if parts else "it has one channel only"
        raise UsageError(f"{text.name} has no channel {text.channel!r}: {known}")
    return Feature(kind, tuple(arguments), text.channel)


def _argument(name: str, parameter: Any, text: SpecText | str) -> Any:
    if parameter.type == "feature":
        inner = _feature(text if isinstance(text, SpecText) else read_spec(text))
        if len(inner.names) > 1:
            raise UsageError(f"{inner.whole} has {len(inner.names)} channels: pick one, as in {inner.names[0]}")
        return inner
    shown = text if isinstance(text, str) else text.name
    if parameter.type == "name":
        return shown
    if parameter.type == "timeframe":
        return Timeframe(shown).name
    try:
        value = int(shown) if parameter.type == "bars" else float(shown)
    except ValueError:
        what = "a whole number of bars" if parameter.type == "bars" else "a number"
        raise UsageError(f"{name}: {parameter.name} must be {what}, got {shown!r}") from None
    if not value >= parameter.least or value == float("inf"):
        raise UsageError(f"{name}: {parameter.name} must be at least {parameter.least:g}, got {shown}")
    return value


def _version(features: Sequence[Feature]) -> str:
    others = sorted({f"{f.kind.name}-{f.kind.version}" for f in features if not isinstance(f.kind, Kind) or f.kind.version != "1"})
    return "+".join([VERSION, *others])
