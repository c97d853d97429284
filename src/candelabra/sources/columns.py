"""Which column is which: open time, prices and volume recognised in any table, times of any unit turned into ms UTC."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import PRICE_COLUMNS, format_time
from candelabra.candles.raw import NO_TIME
from candelabra.errors import DataError

__all__ = ["Columns", "read_columns", "split_symbol"]

_TIME_NAMES: Final = (
    "open_time_ms", "open_time", "opentime", "unix", "unix_timestamp", "timestamp", "ts",
    "datetime", "date_time", "date", "time", "gmt_time",
)  # fmt: skip
_SHORT: Final = {"open": "o", "high": "h", "low": "l", "close": "c"}
_VOLUME_NAMES: Final = ("volume", "vol", "v", "base_volume", "volume_base")
_SYMBOL_NAMES: Final = ("symbol", "pair", "market", "ticker")
_QUOTES: Final = ("USDT", "USDC", "BUSD", "FDUSD", "TUSD", "DAI", "USD", "EUR", "GBP", "JPY", "TRY", "BRL", "BTC", "ETH", "BNB")
_FORMATS: Final = (
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d",
    "%Y-%m-%d %I-%p", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y",
)  # fmt: skip
# Years 1990 to 2200 in s, ms, us and ns: the ranges do not overlap.
_UNITS: Final = tuple((10**k, 631_152_000 * 10**k, 7_258_118_400 * 10**k) for k in (0, 3, 6, 9))


@dataclass(frozen=True, eq=False)
class Columns:
    """Recognised columns: ``open_time`` ms (``NO_TIME`` where absent), five float64 values, ``missing`` and ``symbol`` where there."""

    open_time: NDArray[np.int64]
    values: tuple[NDArray[np.float64], ...]
    missing: NDArray[np.int32] | None
    symbol: NDArray[np.object_] | None


def read_columns(table: Any, where: str, base: str | None = None) -> Columns:
    """The candle columns of a ``pyarrow.Table``; ``where`` names it in messages.

    ``base`` (as BTC) prefers a column ``volume BTC`` to others. Raises DataError with what was found and what is needed.
    """
    names: dict[str, str] = {}
    for name in table.column_names:
        names.setdefault(re.sub(r"[\s\-.]+", "_", str(name).strip().lower()), name)
    time = next((names[n] for n in _TIME_NAMES if n in names), None)
    if time is not None and {"date", "time"} <= names.keys() and time == names["date"]:
        raise DataError(f"{where}: date and time are in two columns: join them into one column 'timestamp' (UTC)")
    prices = [names.get(n) or names.get(_SHORT[n]) for n in PRICE_COLUMNS]
    if None not in prices[:3] and prices[3] is None:
        prices[3] = names.get("price")  # some exports call the close so
    absent = (["open time"] if time is None else []) + [n for n, got in zip(PRICE_COLUMNS, prices, strict=True) if got is None]
    if time is None or absent:
        raise DataError(
            f"{where}: no column for {', '.join(absent)}; the columns are {', '.join(map(repr, table.column_names[:16]))}: "
            + _form(list(names), list(table.column_names))
        )
    if table.num_rows == 0:
        raise DataError(f"{where} has no rows: fetch the candles again")
    volume = _volume(names, base, where, list(table.column_names))
    values = tuple(_numbers(table.column(c), c, where) for c in [*prices, volume] if c is not None)
    missing = None
    if "missing" in names:
        missing = np.nan_to_num(_numbers(table.column(names["missing"]), "missing", where)).astype(np.int32)
    symbol = next((names[n] for n in _SYMBOL_NAMES if n in names), None)
    symbols = None if symbol is None else np.array([str(s) for s in table.column(symbol).to_pylist()], dtype=object)
    return Columns(_times(table.column(time), time, where), values, missing, symbols)


def split_symbol(text: str) -> str | None:
    """``BTCUSDT``, ``BTC_USDT`` or ``BTC/USDT`` as ``BTC/USDT``; None when no known quote currency ends it.

    >>> split_symbol("BTCUSDT"), split_symbol("xrp-eth"), split_symbol("hello")
    ('BTC/USDT', 'XRP/ETH', None)
    """
    word = text.strip().upper()
    parts = re.split(r"[/_\-:]", word)
    if len(parts) == 2 and all(re.fullmatch(r"[A-Z0-9]{2,12}", p) for p in parts) and parts[1] in _QUOTES:
        return "/".join(parts)
    if len(parts) == 1:
        for quote in _QUOTES:
            head = word.removesuffix(quote)
            if head != word and re.fullmatch(r"[A-Z0-9]{2,12}", head):
                return f"{head}/{quote}"
    return None


def _form(names: list[str], columns: list[str]) -> str:
    """What kind of file this seems to be instead, and the way out."""
    if {"price", "amount"} <= set(names) or {"price", "size"} <= set(names):
        return "these look like trades, not candles: candles need a column each for open time, open, high, low, close and volume"
    if sum(bool(re.search(r"[:_](open|high|low|close)$", n)) for n in names) >= 8:
        return "several symbols stand side by side here: write one file per symbol, or one long table with a column 'symbol'"
    if all(re.fullmatch(r"f?-?\d+(\.\d+)?", str(c)) for c in columns):
        return "the first line holds numbers, so the file has no header: add one, such as open_time,open,high,low,close,volume"
    if len(columns) <= 2:
        return "is there a line above the header? Delete it, and use commas between columns"
    return "name them as open_time (or timestamp, date, unix), open, high, low, close, volume"


def _volume(names: dict[str, str], base: str | None, where: str, columns: list[str]) -> str:
    if base and f"volume_{base.lower()}" in names:
        return names[f"volume_{base.lower()}"]
    for name in _VOLUME_NAMES:
        if name in names:
            return names[name]
    some = [names[n] for n in names if "vol" in n]
    if len(some) == 1:
        return some[0]
    what = f"several columns could be the volume: {', '.join(some)}" if some else f"no column for volume among {', '.join(columns[:16])}"
    raise DataError(
        f"{where}: {what}: candles need the volume traded in base units (features and checks read it); "
        "name that column 'volume', or fetch the candles with their volume"
    )


def _numbers(column: Any, name: str, where: str) -> NDArray[np.float64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(flat.type):
        flat = flat.dictionary_decode()
    try:
        return np.array(pc.cast(flat, pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass
    for row, value in enumerate(flat.to_pylist()):
        try:
            float(value if value is not None else "nan")
        except (TypeError, ValueError):
            raise DataError(
                f"{where}: column {name!r} is not numeric: row {row} holds {value!r}; "
                "write plain numbers with a decimal point and no thousands separators (a spreadsheet may have changed the file)"
            ) from None
    return np.array([np.nan if v is None else float(v) for v in flat.to_pylist()], dtype=np.float64)


def _times(column: Any, name: str, where: str) -> NDArray[np.int64]:
    """Open times in ms UTC; text without a zone counts as UTC."""
    import pyarrow as pa
    import pyarrow.compute as pc

    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    kind = flat.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        flat = _parsed(pc.cast(flat, pa.string()), name, where)
        kind = flat.type
    if pa.types.is_date(kind):
        flat = pc.cast(flat, pa.timestamp("ms"))
    elif pa.types.is_timestamp(kind):
        flat = pc.cast(flat, pa.timestamp("ms", kind.tz), safe=False)
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _epoch(flat, name, where)
    else:
        raise DataError(f"{where}: column {name!r} of type {kind} is not a time: give dates, or s, ms, us or ns since 1970 (UTC)")
    return np.array(pc.fill_null(pc.cast(flat, pa.int64()), NO_TIME).to_numpy(zero_copy_only=False), dtype=np.int64)


def _epoch(flat: Any, name: str, where: str) -> NDArray[np.int64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    known = np.asarray(pc.is_valid(flat).to_numpy(zero_copy_only=False), dtype=np.bool_)
    if pa.types.is_integer(flat.type):
        number = np.array(pc.fill_null(flat, 0).to_numpy(zero_copy_only=False), dtype=np.int64)
    else:
        real = np.array(pc.fill_null(flat, float("nan")).to_numpy(zero_copy_only=False), dtype=np.float64)
        known &= np.isfinite(real)
        # Milliseconds are whole numbers below 2^53; fractions of a second would be lost without the scaling.
        scale = 1000.0 if known.any() and np.nanmedian(np.where(known, real, np.nan)) < _UNITS[0][2] else 1.0
        number = np.round(np.where(known, real, 0.0) * scale).astype(np.int64)
    out = np.full(len(number), NO_TIME, np.int64)
    if not known.any():
        return out
    some = number[known]
    for factor, low, high in _UNITS:
        if low <= np.median(some) < high:
            wrong = known & ((number < low) | (number >= high))
            if wrong.any():
                row = int(np.argmax(wrong))
                raise DataError(
                    f"{where}: column {name!r} changes its unit: row {row} holds {int(number[row])} where most are like {int(some[0])}: "
                    "write one unit (s, ms, us or ns since 1970) throughout"
                )
            out[known] = some * 1000 if factor == 1 else some // (factor // 1000)
            return out
    raise DataError(
        f"{where}: column {name!r} holds {int(some[0])}, which is no time between 1990 and 2200 in s, ms, us or ns since 1970: "
        "is this the open time?"
    )


def _parsed(flat: Any, name: str, where: str) -> Any:
    """Text as numbers (epochs) or as timestamps, by the one format that fits every row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    flat = pc.if_else(pc.equal(pc.utf8_trim_whitespace(flat), ""), None, pc.utf8_trim_whitespace(flat))
    for kind in (pa.int64(), pa.float64(), pa.timestamp("us", "UTC"), pa.timestamp("us")):
        try:
            return pc.cast(flat, kind)
        except pa.ArrowInvalid:
            continue
    fits = {}
    for form in _FORMATS:
        times = pc.strptime(flat, format=form, unit="ms", error_is_null=True)
        if times.null_count == flat.null_count:
            fits[form] = times
    if len(fits) == 1:
        return next(iter(fits.values()))
    row = next((i for i, v in enumerate(flat.to_pylist()) if v is not None), 0)
    example = flat[row].as_py() if len(flat) else ""
    if fits:
        guesses = [format_time(int(pc.cast(t[row], pa.int64()).as_py())) for t in fits.values()]
        raise DataError(
            f"{where}: column {name!r} can be read in two ways: {example!r} as {' or '.join(guesses)}: write dates as 2024-03-13 17:45:00"
        )
    raise DataError(f"{where}: column {name!r} has dates in no single known form, such as {example!r}: write them as 2024-03-13 17:45:00")
