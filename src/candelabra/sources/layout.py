"""Which column is which: the layout of a table, found by the names of its columns or told by the user."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from candelabra.candles.frame import PRICE_COLUMNS, VALUE_COLUMNS
from candelabra.errors import DataError, UsageError
from candelabra.registry import did_you_mean

__all__ = ["ROLES", "Layout", "SeriesColumns", "Stamps", "Told", "layout_by_name", "normal"]

Stamps = Literal["open", "close", "month-end"]

_TIME_NAMES: Final = (
    "open_time_ms", "open_time", "opentime", "unix", "unix_timestamp", "timestamp", "ts",
    "datetime", "date_time", "date", "time", "gmt_time", "candle_begin_time", "start_time",
)  # fmt: skip
_CLOSE_TIME_NAMES: Final = ("close_time", "closetime", "close_time_ms", "end_time")
_TRADE_TIME_NAMES: Final = ("timestamp", "time", "transact_time", "trade_time", "ts", "unix", "datetime", "date")
_SHORT: Final = {"open": "o", "high": "h", "low": "l", "close": "c"}
_VOLUME_NAMES: Final = ("volume", "vol", "v", "base_volume", "volume_base")
_QUOTE_VOLUME_NAMES: Final = ("quote_volume", "quote_asset_volume", "volume_quote", "turnover")
_SYMBOL_NAMES: Final = ("symbol", "pair", "market", "ticker")
_AMOUNT_NAMES: Final = ("amount", "qty", "quantity", "size", "volume")
_ID_NAMES: Final = ("id", "trade_id", "agg_trade_id", "tid")
_UNNAMED: Final = ("", "__index_level_0__", "unnamed:_0", "index")
_QUOTE_OF: Final = re.compile(r"volume_(usdt|usdc|usd|eur|gbp|busd|btc|eth|try|jpy)$")

ROLES: Final = ("open_time", "close_time", *PRICE_COLUMNS, "volume", "quote_volume", "symbol", "price", "amount", "id")
"""What a column can be told to be."""


@dataclass(frozen=True)
class Told:
    """What the user says about files instead of leaving it to be recognised; ``columns`` maps roles (``ROLES``) to column names."""

    form: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    time_format: str | None = None
    time_zone: str | None = None
    stamps: Stamps | None = None

    def __post_init__(self) -> None:
        for role in self.columns:
            if role not in ROLES:
                raise UsageError(f"{role!r} is nothing a column can be: {did_you_mean(role, ROLES)}")
        if {"open_time", "close_time"} <= self.columns.keys():
            raise UsageError("both open_time and close_time were given a column: bars are placed by one of them, give open_time")
        if self.stamps not in (None, "open", "close", "month-end"):
            raise UsageError(f"stamps are open, close or month-end, got {self.stamps!r}")
        if self.time_zone is not None:
            _known_zone(self.time_zone)


@dataclass(frozen=True)
class SeriesColumns:
    """The columns of one symbol: five values of candles, or price and amount of trades; ``symbol`` None: named elsewhere."""

    values: tuple[str, ...]
    symbol: str | None = None


@dataclass(frozen=True)
class Layout:
    """What a table holds and where.

    ``quote_volume`` is a second volume column to check the first with; ``symbol`` a column of symbols; ``quote`` the currency of prices
    where symbols name none; ``venue`` the exchange where the form itself tells; ``absent`` why this form has no row for a bar, where
    that is known; ``id`` the column that tells trades apart.
    """

    form: str
    time: str
    series: tuple[SeriesColumns, ...]
    holds: Literal["candles", "trades"] = "candles"
    quote_volume: str | None = None
    symbol: str | None = None
    missing: str | None = None
    id: str | None = None
    stamps: Stamps | None = None
    venue: str = ""
    quote: str = ""
    absent: Literal["", "exchange gap", "no trade"] = ""
    notes: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that is read."""
        values = tuple(name for one in self.series for name in one.values)
        others = (self.quote_volume, self.symbol, self.missing, self.id)
        return tuple(dict.fromkeys((self.time, *values, *(name for name in others if name is not None))))


def normal(name: str) -> str:
    """A column's name without case, blanks and points.

    >>> normal(" Open.Time ")
    'open_time'
    """
    return re.sub(r"[\s\-.]+", "_", str(name).strip().lower())


def layout_by_name(columns: Sequence[str], told: Told, where: str, base: str | None = None) -> Layout:
    """The layout by column names; ``base`` (as BTC) prefers a column ``volume BTC`` to others.

    Raises DataError with what was found and what is needed.
    """
    names: dict[str, str] = {}
    for name in columns:
        names.setdefault(normal(name), name)
    given = {role: _told_column(role, name, columns, names, where) for role, name in told.columns.items()}
    if _is_trades(names, given):
        return _trades(names, given, where, columns)
    time = given.get("open_time") or given.get("close_time") or next((names[n] for n in _TIME_NAMES if n in names), None)
    stamps: Stamps | None = "close" if "close_time" in given else None
    if time is None:
        time = next((names[n] for n in _CLOSE_TIME_NAMES if n in names), None)
        stamps = None if time is None else "close"
    if time is None:
        time = next((names[n] for n in _UNNAMED if n in names), None)
    if time is not None and "open_time" not in given and {"date", "time"} <= names.keys() and time == names["date"]:
        raise DataError(f"{where}: date and time are in two columns: join them into one column 'timestamp' (UTC)")
    prices = [given.get(n) or names.get(n) or names.get(_SHORT[n]) for n in PRICE_COLUMNS]
    if None not in prices[:3] and prices[3] is None:
        prices[3] = names.get("price")  # some exports call the close so
    absent = (["open time"] if time is None else []) + [n for n, got in zip(PRICE_COLUMNS, prices, strict=True) if got is None]
    if time is None or absent:
        raise DataError(
            f"{where}: no column for {', '.join(absent)}; the columns are {', '.join(map(repr, columns[:16]))}: "
            + _form(list(names), columns)
        )
    volume = given.get("volume") or _volume(names, base, where, columns)
    other = given.get("quote_volume") or _quote_volume(names, volume)
    symbol = given.get("symbol") or next((names[n] for n in _SYMBOL_NAMES if n in names), None)
    values = SeriesColumns((*(p for p in prices if p is not None), volume))
    return Layout("plain", time, (values,), "candles", other, symbol, names.get("missing"), None, stamps)


def _told_column(role: str, name: str, columns: Sequence[str], names: Mapping[str, str], where: str) -> str:
    found = name if name in columns else names.get(normal(name))
    if found is None:
        raise UsageError(f"{where} has no column {name!r} for {role}: {did_you_mean(name, list(columns))}")
    return found


def _is_trades(names: Mapping[str, str], given: Mapping[str, str]) -> bool:
    if "price" in given or "amount" in given:
        return True
    candle = sum(n in names or _SHORT[n] in names for n in PRICE_COLUMNS) + sum(n in given for n in PRICE_COLUMNS)
    return not candle and "price" in names and any(n in names for n in _AMOUNT_NAMES)


def _trades(names: Mapping[str, str], given: Mapping[str, str], where: str, columns: Sequence[str]) -> Layout:
    time = given.get("open_time") or next((names[n] for n in _TRADE_TIME_NAMES if n in names), None)
    price = given.get("price") or names.get("price")
    amount = given.get("amount") or next((names[n] for n in _AMOUNT_NAMES if n in names), None)
    if time is None or price is None or amount is None:
        lacking = [what for what, got in (("time", time), ("price", price), ("amount", amount)) if got is None]
        raise DataError(
            f"{where}: these look like trades, but there is no column for {', '.join(lacking)} among {', '.join(map(repr, columns[:16]))}: "
            "name them as timestamp, price, amount"
        )
    identity = given.get("id") or next((names[n] for n in _ID_NAMES if n in names), None)
    symbol = given.get("symbol") or next((names[n] for n in _SYMBOL_NAMES if n in names), None)
    return Layout("trades", time, (SeriesColumns((price, amount)),), "trades", None, symbol, None, identity, absent="no trade")


def _form(names: list[str], columns: Sequence[str]) -> str:
    """What kind of file this seems to be instead, and the way out."""
    if all(re.fullmatch(r"f?-?\d+(\.\d+)?", str(c)) for c in columns):
        return (
            "the first line holds numbers, so the file has no header: add one, such as open_time,open,high,low,close,volume, or tell the "
            "columns by number (--map open_time=1 --map open=2 ...)"
        )
    if len(columns) <= 2:
        return "is there a line above the header? Delete it, and use commas between columns"
    return "name them as open_time (or timestamp, date, unix), open, high, low, close, volume, or tell them (--map open_time=NAME ...)"


def _volume(names: Mapping[str, str], base: str | None, where: str, columns: Sequence[str]) -> str:
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
        "name that column 'volume', tell it (--map volume=NAME), or fetch the candles with their volume"
    )


def _quote_volume(names: Mapping[str, str], volume: str) -> str | None:
    """The column of the volume in quote units: known by name, or the other one of two columns 'volume ...'."""
    for name in _QUOTE_VOLUME_NAMES:
        if name in names and names[name] != volume:
            return names[name]
    others = [kept for n, kept in names.items() if kept != volume and (_QUOTE_OF.fullmatch(n) or n == "volume")]
    return others[0] if len(others) == 1 else None


def _known_zone(name: str) -> None:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise UsageError(f"{name!r} is no time zone: give a name such as UTC, Europe/Berlin or America/New_York") from error


assert len(VALUE_COLUMNS) == 5  # what SeriesColumns of candles holds
