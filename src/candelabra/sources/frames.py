"""Data frames as raw candles: the same columns, numbers and times as in files, already in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from candelabra.candles.raw import RawCandles
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import DataError
from candelabra.sources.collect import Naming, raw_of_columns
from candelabra.sources.forms import recognised
from candelabra.sources.head import Head
from candelabra.sources.layout import Told
from candelabra.sources.members import Member
from candelabra.sources.reading import Reading
from candelabra.sources.tables import Part

__all__ = ["raw_of_table"]


def raw_of_table(table: Any, where: str, symbol: str | None, wanted: Timeframe | None, told: Told) -> list[RawCandles]:
    """The candles of a ``pyarrow.Table`` per symbol; DataError as :func:`files.read_candles` raises it."""
    member = Member(Path(where), "feather", where)
    head = Head(tuple(map(str, table.column_names)), True)
    reading = Reading(member, head, recognised(member, head, told, None if symbol is None else symbol.split("/")[0]), told)
    if reading.layout.holds == "trades":
        raise DataError(f"{where}: these look like trades, not candles: make bars with candles.Trades.of and candles.trade_bars")
    if table.num_rows == 0:
        raise DataError(f"{where} has no rows: fetch the candles again")
    columns = {name: table.column(name).combine_chunks() for name in reading.layout.columns}
    chunks = {c.symbol: c for c in reading.chunks_of(Part(columns, np.arange(table.num_rows, dtype=np.int64)))}
    naming = Naming("", symbol, wanted, {})
    names = naming.chosen(list(chunks), symbol, False, where)
    return [raw_of_columns(chunks[found], where, name, naming, reading) for found, name in names.items()]
