"""The forms candles come in: each recognised by the beginning of a file, or told by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from candelabra.errors import DataError, UsageError
from candelabra.registry import did_you_mean
from candelabra.sources.head import Head, is_number
from candelabra.sources.layout import Layout, SeriesColumns, Told, layout_by_name, normal
from candelabra.sources.members import Member

__all__ = ["FORMS", "Form", "recognised"]

Recogniser = Callable[[Member, Head, Told, str | None], Layout | None]


@dataclass(frozen=True)
class Form:
    """A form by name; ``recognise`` gives the layout of a member that has it, or None."""

    name: str
    about: str
    recognise: Recogniser


def recognised(member: Member, head: Head, told: Told, base: str | None = None) -> Layout:
    """The layout of a member: of the form that was told, or of the first that recognises it.

    Raises UsageError for a form nobody knows, DataError when the file does not have the form it should.
    """
    if told.form is not None:
        form = next((f for f in FORMS if f.name == told.form), None)
        if form is None:
            raise UsageError(f"there is no form {told.form!r}: {did_you_mean(told.form, [f.name for f in FORMS])}")
        layout = form.recognise(member, head, told, base)
        if layout is None:
            shown = ", ".join(map(repr, head.names[:16])) if head.header else " ".join(head.rows[0]) if head.rows else "nothing"
            raise DataError(f"{member.name} does not have the form {form.name} ({form.about}): it begins with {shown}")
        return layout
    if not told.columns:
        for form in FORMS:
            layout = form.recognise(member, head, told, base)
            if layout is not None:
                return layout
    return layout_by_name(head.names, told, member.name, base)


def _rows_fit(head: Head, fits: Callable[[tuple[str, ...]], bool]) -> bool:
    """Whether nine in ten of the first rows are as a form wants them: some may be broken."""
    return bool(head.rows) and sum(fits(row) for row in head.rows) >= 0.9 * len(head.rows)


def _stamp(cell: str, digits: tuple[int, ...]) -> bool:
    return cell.isascii() and cell.isdecimal() and len(cell) in digits


def _binance(member: Member, head: Head, told: Told, base: str | None) -> Layout | None:
    """Binance Vision klines: twelve columns, the seventh the last instant of the bar; with a header for futures."""
    if len(head.names) != 12:
        return None

    def fits(row: tuple[str, ...]) -> bool:
        return (
            _stamp(row[0], (13, 16))
            and _stamp(row[6], (13, 16))
            and len(row[0]) == len(row[6])
            and row[0] < row[6]
            and _stamp(row[8], tuple(range(1, 12)))
        )

    if not _rows_fit(head, fits) and not (head.header and not head.rows):
        return None
    names = {normal(n): n for n in head.names}
    if not head.header:
        venue = "binance"
    elif {"open_time", "count", "taker_buy_volume"} <= names.keys():
        venue = "binanceusdm"
    else:
        return None
    c = head.names
    return Layout("binance", c[0], (SeriesColumns((*c[1:5], c[5])),), quote_volume=c[7], venue=venue, absent="exchange gap")


def _kraken(member: Member, head: Head, told: Told, base: str | None) -> Layout | None:
    """Kraken OHLCVT: seconds, open, high, low, close, volume, number of trades; no header."""
    if head.header or len(head.names) != 7 or member.kind != "csv":
        return None
    if not _rows_fit(head, lambda r: _stamp(r[0], (9, 10)) and all(map(is_number, r[1:6])) and _stamp(r[6], tuple(range(1, 10)))):
        return None
    return Layout("kraken", "1", (SeriesColumns(("2", "3", "4", "5", "6")),), venue="kraken", absent="no trade")


def _cryptodatadownload(member: Member, head: Head, told: Told, base: str | None) -> Layout | None:
    """CryptoDataDownload: often a line above the header, newest first, two volumes of which the first should be in base units."""
    names = {normal(n): n for n in head.names}
    banner = any("cryptodatadownload" in line.lower() for line in head.above)
    two = [n for n in names if re.fullmatch(r"volume(_[a-z0-9]+)?", n)]
    if not head.header or not (banner or ({"date", "symbol"} <= names.keys() and len(two) == 2)) or "open" not in names:
        return None
    coin = base or _coin(head, names)
    layout = layout_by_name(head.names, told, member.name, coin)
    return replace(layout, form="cryptodatadownload")


def _coin(head: Head, names: dict[str, str]) -> str | None:
    """The base currency as the first row's symbol tells it."""
    from candelabra.sources.symbols import split_symbol

    if "symbol" not in names or not head.rows:
        return None
    symbol = split_symbol(head.rows[0][head.names.index(names["symbol"])])
    return None if symbol is None else symbol.split("/")[0]


def _kaggle(member: Member, head: Head, told: Told, base: str | None) -> Layout | None:
    """CoinMarketCap histories as Kaggle hands them round: SNo, Name, Symbol, Date, High, Low, Open, Close, Volume, Marketcap."""
    names = {normal(n): n for n in head.names}
    if not {"symbol", "date", "high", "low", "open", "close", "volume", "marketcap"} <= names.keys() or not {"sno", "name"} & names.keys():
        return None
    note = "the volume is in USD, as CoinMarketCap counts it, not in coins"
    return replace(layout_by_name(head.names, told, member.name), form="kaggle", quote="USD", notes=(note,))


_SIDES: Final = (
    re.compile(r"(?P<symbol>[^:]+?)[:_./| ](?P<what>open|high|low|close|volume)", re.I),
    re.compile(r"(?P<what>open|high|low|close|volume)[:_./| ](?P<symbol>.+)", re.I),
)


def _wide(member: Member, head: Head, told: Told, base: str | None) -> Layout | None:
    """Several symbols side by side: a column of times and columns such as BTC:open."""
    for pattern in _SIDES:
        found: dict[str, dict[str, str]] = {}
        for name in head.names:
            match = pattern.fullmatch(name.strip())
            if match:
                found.setdefault(match["symbol"].strip(), {})[match["what"].lower()] = name
        whole = {s: c for s, c in found.items() if {"open", "high", "low", "close"} <= c.keys()}
        if len(whole) < 2:
            continue
        without = [s for s, c in whole.items() if "volume" not in c]
        if without:
            raise DataError(f"{member.name}: no column for volume of {', '.join(without)}: candles need the volume traded in base units")
        inside = {name for columns in found.values() for name in columns.values()}
        rest = [n for n in head.names if n not in inside]
        given = told.columns.get("open_time")
        named = [n for n in rest if normal(n) in ("date", "time", "timestamp", "open_time", "unix", "datetime")]
        time = given or next(iter([*named, *rest]), None)
        if time is None:
            raise DataError(f"{member.name}: several symbols stand side by side, but there is no column for the open time")
        series = tuple(SeriesColumns(tuple(c[w] for w in ("open", "high", "low", "close", "volume")), s) for s, c in whole.items())
        quote = re.search(r"\)\s*([A-Z]{3,5})(?![A-Za-z])", member.path.name)
        return Layout("wide", time, series, quote=quote[1] if quote else "")
    return None


def _lists(member: Member, head: Head, told: Told, base: str | None) -> Layout | None:
    """JSON lists without names: candles as CCXT and freqtrade write them, Binance klines, freqtrade's trades."""
    if member.kind != "json" or not head.lists:
        return None
    if len(head.names) == 6 and _rows_fit(head, lambda r: _stamp(r[0], (10, 13))):
        return Layout("freqtrade", "1", (SeriesColumns(("2", "3", "4", "5", "6")),))
    if len(head.names) == 7 and _rows_fit(head, lambda r: _stamp(r[0], (13,)) and r[3] in ("buy", "sell") and is_number(r[4])):
        return Layout("freqtrade", "1", (SeriesColumns(("5", "6")),), holds="trades", absent="no trade", id="2")
    return None


def _freqtrade(member: Member, head: Head, told: Told, base: str | None) -> Layout | None:
    """Freqtrade's Feather and Parquet, and its JSON lists."""
    listed = _lists(member, head, told, base)
    if listed is not None:
        return listed
    if member.kind in ("feather", "parquet") and tuple(head.names) == ("date", "open", "high", "low", "close", "volume"):
        return replace(layout_by_name(head.names, told, member.name), form="freqtrade")
    if member.kind in ("feather", "parquet") and tuple(head.names) == ("timestamp", "id", "type", "side", "price", "amount", "cost"):
        return replace(layout_by_name(head.names, told, member.name), form="freqtrade")
    return None


def _trades(member: Member, head: Head, told: Told, base: str | None) -> Layout | None:
    """Trades one by one: time, price and amount (and an id where there is one); Binance's have no header."""
    if head.header:
        layout = None
        names = {normal(n) for n in head.names}
        if "price" in names and not {"open", "high", "low", "o", "h", "l"} & names and {"amount", "qty", "quantity", "size"} & names:
            layout = layout_by_name(head.names, told, member.name)
        return layout
    if len(head.names) == 7 and _rows_fit(
        head, lambda r: r[0].isdecimal() and _stamp(r[4], (13, 16)) and is_number(r[1]) and r[5].lower() in ("true", "false")
    ):
        return Layout("trades", "5", (SeriesColumns(("2", "3")),), holds="trades", absent="no trade", id="1", venue="binance")
    if len(head.names) in (7, 8) and _rows_fit(
        head, lambda r: r[0].isdecimal() and _stamp(r[5], (13, 16)) and is_number(r[1]) and r[6].lower() in ("true", "false")
    ):
        return Layout("trades", "6", (SeriesColumns(("2", "3")),), holds="trades", absent="no trade", id="1", venue="binance")
    return None


def _plain(member: Member, head: Head, told: Told, base: str | None) -> Layout | None:
    return layout_by_name(head.names, told, member.name, base)


FORMS: Final = (
    Form("binance", "Binance Vision klines of spot (no header) or futures (with one): twelve columns, ms or us", _binance),
    Form("kraken", "Kraken OHLCVT: seconds, open, high, low, close, volume, trades, no header", _kraken),
    Form("cryptodatadownload", "CryptoDataDownload: newest first, two volumes, often a line above the header", _cryptodatadownload),
    Form("kaggle", "CoinMarketCap histories of Kaggle: SNo, Name, Symbol, Date, High, Low, Open, Close, Volume, Marketcap", _kaggle),
    Form("wide", "several symbols side by side: a time and columns such as BTC:open", _wide),
    Form("freqtrade", "freqtrade's Feather, Parquet and JSON of candles or trades", _freqtrade),
    Form("trades", "trades one by one: time, price and amount, made into bars of the timeframe told", _trades),
    Form("plain", "columns by name: open time, open, high, low, close, volume in any order", _plain),
)
"""Tried in this order; the last takes what has names."""
