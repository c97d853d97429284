"""Data items: resampling, indicators, as-of index, sequences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench import market
from bench.item import Goal, Item, Reading, Tool
from bench.timing import PeakMemory, copy_seconds, cpu_seconds, digest, release_free_memory

_DAY_MS = 86_400_000
_SCALE_MS = {"5m": 300_000, "15m": 900_000, "1h": 3_600_000, "4h": 14_400_000, "1d": _DAY_MS, "1w": 7 * _DAY_MS}
_REPEATS = 5


def _memory(call: Callable[[], Any], output_bytes: int) -> Reading:
    """Peak growth of the process during one call, in sizes of its output."""
    release_free_memory()
    with PeakMemory() as peak:
        result = call()
    del result
    return Reading(peak.grown / output_bytes, "x output", note=f"{peak.grown / 1e6:.0f} MB for {output_bytes / 1e6:.0f} MB of output")


def _copy(size: int) -> dict[str, Reading]:
    return {"": Reading(copy_seconds(size) * 1e3, "CPU ms", note=f"an array of {size / 1e6:.0f} MB: as many bytes read and written")}


# main/resample


def _bar_bytes(count: int) -> tuple[int, int]:
    """Bytes a cascade reads and writes: six columns of 8 and one of 4 bytes a bar."""
    lengths = [count, *(count * 60_000 // ms for ms in _SCALE_MS.values())]
    return 52 * sum(lengths[:-1]), 52 * sum(lengths[1:])


def _resample(small: bool) -> dict[str, Reading]:
    from candelabra.candles import cascade

    count = market.rows(small)
    minutes = market.candles(count)
    made = cascade(minutes, market.SCALES)
    seal = digest(*(x for c in made.values() for x in (c.open_time, c.open, c.high, c.low, c.close, c.volume)))
    del made
    seconds = cpu_seconds(lambda: cascade(minutes, market.SCALES), _REPEATS)
    memory = _memory(lambda: cascade(minutes, market.SCALES), _bar_bytes(count)[1])
    return {"": Reading(seconds * 1e3, "CPU ms", seal), "memory": memory}


def _resample_pandas(small: bool) -> dict[str, Reading]:
    import pandas as pd

    count = market.rows(small)
    times = pd.to_datetime(market.open_time_ms(count), unit="ms")
    minutes = pd.DataFrame(market.columns(count), index=times)
    last_close = times[-1] + pd.Timedelta("1min")
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}

    def cascade() -> list[Any]:
        made, frame = [], minutes
        for name in market.SCALES:
            rule = {"5m": "5min", "15m": "15min", "1h": "1h", "4h": "4h", "1d": "1D", "1w": "W-MON"}[name]
            frame = frame.resample(rule, label="left", closed="left").agg(how).dropna()
            whole = (frame.index >= times[0]) & (frame.index + pd.Timedelta(_SCALE_MS[name], unit="ms") <= last_close)
            frame = frame[whole]
            made.append(frame)
        return made

    made = cascade()
    parts = [x for f in made for x in (f.index.astype("datetime64[ms]").astype(np.int64), *(f[c].to_numpy() for c in how))]
    return {"": Reading(cpu_seconds(cascade, 3) * 1e3, "CPU ms", digest(*(np.asarray(p) for p in parts)))}


def _per_tool(rival: str, *, least: float, name: str = "candelabra") -> Goal:
    return Goal(rival, "", lambda v: v[rival][""] / v[name][""], f">= {least:g}")


RESAMPLE = Item(
    "main/resample",
    "2.1 M one-minute bars to 5m, 15m, 1h, 4h, 1d, 1w; unfinished bars dropped",
    {
        "candelabra": Tool(_resample),
        "pandas cascade": Tool(_resample_pandas, ("pandas",)),
        "copy": Tool(lambda small: _copy(market.copied_bytes(*_bar_bytes(market.rows(small))))),
    },
    (
        _per_tool("pandas cascade", least=3),
        Goal("copy", "", lambda v: v["candelabra"][""] / v["copy"][""], "<= 15"),
        Goal("candelabra", "memory", lambda v: v["candelabra"]["memory"], "< 2"),
    ),
    reference="pandas cascade",
)


# main/indicators

_SEEN = slice(1000, 20_000)
"""Rows compared: after bar 1000 the different seeds of recursive indicators are forgotten."""
_TA_ROWS = 100_000


def _sealed(matrix: np.ndarray[Any, Any]) -> str:
    return digest(*matrix[_SEEN].T.astype(np.float32), digits=4)


def _indicators(small: bool) -> dict[str, Reading]:
    from candelabra.features.catalog import compute
    from candelabra.features.sets import BENCH16

    minutes = market.candles(market.rows(small))
    seal = _sealed(compute(minutes, BENCH16).values)
    seconds = cpu_seconds(lambda: compute(minutes, BENCH16), _REPEATS)
    return {"": Reading(seconds * 1e3, "CPU ms", seal), "memory": _memory(lambda: compute(minutes, BENCH16), 64 * len(minutes))}


def _raw_talib(high: Any, low: Any, close: Any) -> list[Any]:
    """What one would write by hand: sixteen float64 columns, prices as prices."""
    import talib

    change = np.empty_like(close)
    change[0] = np.nan
    np.subtract(np.log(close[1:]), np.log(close[:-1]), out=change[1:])
    lagged = [change]
    for k in range(1, 5):
        column = np.full_like(close, np.nan)
        column[k:] = change[:-k]
        lagged.append(column)
    deviation = np.full_like(close, np.nan)
    deviation[1:] = talib.STDDEV(change[1:], 20)
    return [
        talib.RSI(close, 14), talib.SMA(close, 50), talib.SMA(close, 200), *talib.MACD(close, 12, 26, 9), *talib.BBANDS(close, 20, 2, 2),
        talib.ATR(high, low, close, 14), *lagged, deviation,
    ]  # fmt: skip


def _as_ours(columns: list[Any], close: Any) -> Any:
    """Sixteen columns with prices as our features have them: ratios to the close (outside the timed part)."""
    rsi, sma50, sma200, line, signal, histogram, upper, middle, lower, atr, *rest = columns
    logs = [np.log(x / close) for x in (sma50, sma200)]
    bands = [np.log(x / close) for x in (upper, middle, lower)]
    return np.stack([rsi, *logs, *(x / close for x in (line, signal, histogram)), *bands, atr / close, *rest], axis=1)


def _indicators_talib(small: bool) -> dict[str, Reading]:
    c = market.columns(market.rows(small))
    given = (c["high"], c["low"], c["close"])
    seal = _sealed(_as_ours(_raw_talib(*given), c["close"]))
    return {"": Reading(cpu_seconds(lambda: _raw_talib(*given), _REPEATS) * 1e3, "CPU ms", seal)}


def _indicators_ta(small: bool) -> dict[str, Reading]:
    from bench.rivals.ta_indicators import sixteen_columns

    count = 21_000 if small else _TA_ROWS
    c = {name: values[:count] for name, values in market.columns(market.rows(small)).items()}
    seal = _sealed(_as_ours(sixteen_columns(c), c["close"]))
    seconds = cpu_seconds(lambda: sixteen_columns(c), 1 if small else 3, warm_up=0) * market.rows(small) / count
    note = f"measured on {count:,} bars and scaled in proportion"
    return {"": Reading(seconds * 1e3, "CPU ms", seal, note)}


INDICATORS = Item(
    "main/indicators",
    "RSI 14, SMA 50 and 200, MACD, Bollinger 20, ATR 14, five lagged returns, deviation 20 of 2.1 M bars",
    {
        "candelabra": Tool(_indicators),
        "TA-Lib by hand": Tool(_indicators_talib, ("talib",)),
        "ta": Tool(_indicators_ta, ("ta", "pandas"), "ta"),
        "copy": Tool(lambda small: _copy(market.copied_bytes(24 * market.rows(small), 64 * market.rows(small)))),
    },
    (
        Goal("TA-Lib by hand", "", lambda v: v["candelabra"][""] / v["TA-Lib by hand"][""], "<= 1.4"),
        _per_tool("ta", least=65),
        Goal("copy", "", lambda v: v["candelabra"][""] / v["copy"][""], "<= 15"),
        Goal("candelabra", "memory", lambda v: v["candelabra"]["memory"], "< 2"),
    ),
    reference="TA-Lib by hand",
)


# main/asof


def _closes(small: bool) -> tuple[Any, list[Any]]:
    """Decision times, and close times of each scale's whole bars."""
    count = market.rows(small)
    decisions = market.open_time_ms(count) + 60_000
    first, last = decisions[0] - 60_000, decisions[-1]
    monday = 4 * _DAY_MS
    found = []
    for name, ms in _SCALE_MS.items():
        origin = monday if name == "1w" else 0
        opens = np.arange(-(-(first - origin) // ms) * ms + origin, last - ms + 1, ms, dtype=np.int64)
        found.append(opens + ms)
    return decisions, found


def _asof(small: bool) -> dict[str, Reading]:
    from candelabra.windows.alignment import asof_indices

    decisions, closes = _closes(small)

    def join() -> list[Any]:
        return list(asof_indices(decisions, {str(i): c for i, c in enumerate(closes)}).values())

    seal = digest(*join())
    seconds = cpu_seconds(join, _REPEATS)
    return {"": Reading(seconds * 1e3, "CPU ms", seal), "memory": _memory(join, 24 * len(decisions))}


def _asof_polars(small: bool) -> dict[str, Reading]:
    import polars as pl

    decisions, closes = _closes(small)
    base = pl.DataFrame({"t": decisions}).set_sorted("t").lazy()
    scales = [pl.DataFrame({"t": c, f"row{i}": np.arange(len(c), dtype=np.int32)}).set_sorted("t").lazy() for i, c in enumerate(closes)]

    def join() -> Any:
        joined = base
        for scale in scales:
            joined = joined.join_asof(scale, on="t", strategy="backward")
        return joined.collect()

    made = join()
    seal = digest(*(made[f"row{i}"].fill_null(-1).to_numpy() for i in range(len(scales))))
    return {"": Reading(cpu_seconds(join, _REPEATS) * 1e3, "CPU ms", seal)}


ASOF = Item(
    "main/asof",
    "last closed bar of six timeframes at each of 2.1 M minutes",
    {
        "candelabra": Tool(_asof),
        "polars join_asof": Tool(_asof_polars, ("polars",)),
        "copy": Tool(lambda small: _copy(market.copied_bytes(8 * 6 * market.rows(small), 24 * market.rows(small)))),
    },
    (
        _per_tool("polars join_asof", least=3),
        Goal("copy", "", lambda v: v["candelabra"][""] / v["copy"][""], "<= 15"),
        Goal("candelabra", "memory", lambda v: v["candelabra"]["memory"], "< 2"),
    ),
    reference="polars join_asof",
)


# main/sequences

_CONTEXT, _CHANNELS, _BATCH = 512, 60, 32


def _table(small: bool) -> np.ndarray[Any, Any]:
    return np.random.default_rng(3).random((market.rows(small), _CHANNELS), dtype=np.float32)


def _sequences(small: bool) -> dict[str, Reading]:
    import torch

    from candelabra.windows.batches import RowWindows

    torch.set_num_threads(1)
    table = _table(small)
    batches = 20 if small else 400
    starts = torch.from_numpy(np.random.default_rng(5).integers(0, len(table) - _CONTEXT + 1, (batches, _BATCH)))
    release_free_memory()
    with PeakMemory() as peak:
        windows = RowWindows(table, _CONTEXT)
        first = windows.take(starts[0])
    seal = digest(windows.take(torch.arange(_BATCH)).numpy())
    assert first.shape == (_BATCH, _CONTEXT, _CHANNELS)

    def gather() -> None:
        for row in starts:
            windows.take(row)

    seconds = cpu_seconds(gather, _REPEATS)
    return {
        "": Reading(batches * _BATCH / seconds, "windows/CPU s", seal, f"batches of {_BATCH}, random starts"),
        "memory": Reading(100 * peak.grown / table.nbytes, "% of the table", note=f"{peak.grown / 1e6:.1f} of {table.nbytes / 1e6:.0f} MB"),
    }


def _sequences_brief(small: bool) -> dict[str, Reading]:
    import pandas as pd

    from bench.rivals.brief_data import sequences

    table = _table(small)[: _CONTEXT + (200 if small else 1500)]
    frame = pd.DataFrame(table, columns=[f"f{i}" for i in range(_CHANNELS)])
    names = list(frame.columns)
    made = sequences(frame, names, "f0", _CONTEXT, 1)[0]
    seconds = cpu_seconds(lambda: sequences(frame, names, "f0", _CONTEXT, 1), 1 if small else 3, warm_up=0)
    note = f"{len(made)} windows of a slice; all of them would be {made[0].nbytes * market.ROWS / 1e9:.0f} GB in float32"
    return {"": Reading(len(made) / seconds, "windows/CPU s", digest(np.asarray(made[:_BATCH])), note)}


SEQUENCES = Item(
    "main/sequences",
    "windows of 512 bars x 60 features of 2.1 M bars, in batches",
    {"candelabra": Tool(_sequences), "the brief's loop": Tool(_sequences_brief, ("pandas",))},
    (
        Goal("candelabra", "", lambda v: v["candelabra"][""], ">= 100000", absolute=True),
        Goal("candelabra", "memory", lambda v: v["candelabra"]["memory"], "< 5"),
    ),
    reference="the brief's loop",
)

ITEMS = (RESAMPLE, INDICATORS, ASOF, SEQUENCES)
