"""Members read whole: chunks gathered per symbol into raw candles, trades made into bars."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.raw import NO_TIME, RawCandles
from candelabra.candles.timeframe import Timeframe
from candelabra.candles.trades import Trades, trade_bars, unlawful_trades
from candelabra.errors import DataError, UsageError
from candelabra.sources.layout import Told
from candelabra.sources.members import Member, members_of, named_by
from candelabra.sources.reading import Chunk, Reading, open_member
from candelabra.sources.settle import frame_of
from candelabra.sources.stamps import opened, seen_stamps
from candelabra.sources.stored import is_stored, stored_candles

__all__ = ["METADATA", "Naming", "naming_of", "raw_of_columns", "read_file", "trade_order"]

METADATA = b"candelabra"
"""The key under which our own Parquet files say what they hold."""


@dataclass(frozen=True)
class Naming:
    """What names a member's candles: venue, symbol and timeframe by its name, the facts our own files carry, what the user said."""

    venue: str
    symbol: str | None
    frame: Timeframe | None
    facts: dict[str, Any]

    def chosen(self, found: Sequence[str | None], told: str | None, many: bool, where: str) -> dict[str | None, str]:
        """Final names of the symbols a member holds, those that are not wanted left out; ``told`` selects, and names what no file names.

        Raises UsageError when nothing says which symbol it is.
        """
        if list(found) == [None]:
            if self.symbol is None:
                raise UsageError(
                    f"{where} does not say which symbol it holds: name it (--symbol BTC/USDT on the command line, symbol= in Python), or "
                    "call the file BTCUSDT_1h.csv"
                )
            return {None: self.symbol}
        names: dict[str | None, str] = {s: s or "" for s in found}
        if told is None:
            return names
        if told not in names.values():
            return {next(iter(names)): told} if len(names) == 1 and not many else {}
        return {s: kept for s, kept in names.items() if kept == told}


def naming_of(member: Member, reading: Reading, symbol: str | None, wanted: Timeframe | None, many: bool) -> Naming:
    """How a member's candles are called; with ``many`` files, symbol and timeframe select instead of naming."""
    venue, named_symbol, named_frame = _named(member)
    facts = _facts(reading)
    name = (symbol if not many else None) or facts.get("symbol") or named_symbol or symbol
    frame = (wanted if not many else None) or (Timeframe(facts["timeframe"]) if facts else named_frame)
    return Naming(venue or reading.layout.venue, name, frame, facts)


def read_file(path: Path, symbol: str | None, wanted: Timeframe | None, many: bool, told: Told) -> list[tuple[str, RawCandles]]:
    """The raw candles of a file with the venue its name tells; DataError and SourceError as in :func:`files.read_candles`."""
    if is_stored(path):
        return stored_candles(path, symbol, wanted)
    found: list[tuple[str, RawCandles]] = []
    for member in members_of(path):
        _, named_symbol, named_frame = _named(member)
        if many and ((symbol and named_symbol and named_symbol != symbol) or (wanted and named_frame and named_frame != wanted)):
            continue
        found += _read_member(member, symbol, wanted, many, told)
    return found


def _read_member(member: Member, symbol: str | None, wanted: Timeframe | None, many: bool, told: Told) -> list[tuple[str, RawCandles]]:
    base = symbol if symbol is not None and not many else _named(member)[1]
    reading = open_member(member, told, None if base is None else base.split("/")[0])
    gathered: dict[str | None, list[Chunk]] = {}
    for chunk in reading.chunks():
        gathered.setdefault(chunk.symbol, []).append(chunk)
    if not gathered:
        raise DataError(f"{member.name} has no rows: fetch the candles again")
    naming = naming_of(member, reading, symbol, wanted, many)
    parts = []
    for found, name in naming.chosen(list(gathered), symbol, many, member.name).items():
        whole = _joined(gathered[found])
        if reading.layout.holds == "trades":
            raw = _bars_of(whole, reading, name, wanted)
        else:
            raw = raw_of_columns(whole, member.name, name, naming, reading)
        parts.append((naming.venue, raw))
    return [(venue, raw) for venue, raw in parts if wanted is None or raw.timeframe == wanted]


def raw_of_columns(whole: Chunk, where: str, name: str, naming: Naming, reading: Reading | None) -> RawCandles:
    """All rows of one symbol as raw candles: timeframe found, stamps turned to open times."""
    facts, n = naming.facts, len(whole)
    step = frame_of(whole.time, f"{where} ({name})", naming.frame)
    told = reading.told.stamps if reading is not None else None
    stamps = told or (reading.layout.stamps if reading is not None else None) or seen_stamps(whole.time, step)
    notes = () if reading is None else tuple(reading.notes())
    if stamps != "open":
        notes += (f"{where}: bars are stamped at their {'end' if stamps == 'close' else stamps}; they were given their open times",)
    if reading is not None and reading.layout.form == "cryptodatadownload":
        whole, moved = _newest_first_in_order(whole)
        if moved:
            notes += (f"{where}: {moved} rows stand out of order in a file that is newest first; they were sorted",)
    known = whole.missing is not None and bool(facts)
    missing = whole.missing if known and whole.missing is not None else np.zeros(n, np.int32)
    source = Timeframe(facts["source"]) if facts else None
    span = (int(facts["span"][0]), int(facts["span"][1])) if facts else None
    open_, high, low, close, volume = whole.values
    return RawCandles(
        name, step, opened(whole.time, step, stamps), open_, high, low, close, volume, missing,
        (where,), np.zeros(n, np.int32), whole.row, source, span, bool(facts.get("simulated", False)),
        (reading.first_line if reading is not None else 0,), notes,
    )  # fmt: skip


def _newest_first_in_order(whole: Chunk) -> tuple[Chunk, int]:
    """A file that is newest first but for some rows, sorted so; and how many stood out of order."""
    steps = np.diff(whole.time)
    rising = int((steps > 0).sum())
    if not rising or rising > 0.1 * len(steps) or (whole.time == NO_TIME).any():
        return whole, 0
    order = np.argsort(-whole.time, kind="stable")
    return replace(whole, time=whole.time[order], values=tuple(v[order] for v in whole.values), row=whole.row[order]), rising


def _bars_of(whole: Chunk, reading: Reading, name: str, wanted: Timeframe | None) -> RawCandles:
    """Bars of the timeframe told, out of trades."""
    where = reading.member.name
    if wanted is None:
        raise DataError(
            f"{where}: these look like trades, not candles: name the bars to make of them (--timeframe 1m on the command line, timeframe= "
            "in Python; from 1s up to 1d)"
        )
    price, amount = whole.values
    bad = unlawful_trades(price, amount) | (whole.time == NO_TIME)
    if bad.any():
        at = int(np.argmax(bad))
        line = f" (line {int(whole.row[at]) + reading.first_line})" if reading.first_line else ""
        raise DataError(
            f"{where}, row {int(whole.row[at])}{line}: price {price[at]:g}, amount {amount[at]:g} is no trade ({int(bad.sum())} such rows "
            f"of {len(whole)}): get the trades again, or let `candelabra import` leave such rows out and list them"
        )
    order, again = trade_order(whole.time, whole.id, price, amount)
    kept = order[~again]
    notes = (
        *reading.notes(),
        f"{where}: {len(kept):,} trades were made into bars of {wanted}; the first and the last bar only where whole",
    )
    if again.any():
        notes += (f"{where}: {int(again.sum())} trades that repeat another exactly were left out",)
    raw = RawCandles.of(trade_bars(Trades.of(name, whole.time[kept], price[kept], amount[kept]), wanted))
    return replace(raw, files=(where,), notes=notes, span=None)


def trade_order(
    time: NDArray[np.int64], identity: NDArray[np.int64] | None, price: NDArray[np.float64], amount: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Row numbers in the order of trading ``(n,)``, and which of these repeat the one before exactly (only ids can tell that).

    Within a millisecond ids decide; a file without ids that is written newest first is turned round.
    """
    n = len(time)
    falling = n > 1 and bool((np.diff(time) <= 0).all()) and time[0] > time[-1]
    rows = np.arange(n - 1, -1, -1) if falling else np.arange(n)
    again = np.zeros(n, np.bool_)
    if identity is None:
        return rows[np.argsort(time[rows], kind="stable")], again
    rising = bool((identity >= -1).all())  # ids that are no numbers tell trades apart, but not which came first
    order = np.lexsort((identity[rows], time[rows])) if rising else np.argsort(time[rows], kind="stable")
    order = rows[order]
    by_id = order if rising else np.lexsort((identity, time))
    a, b = by_id[1:], by_id[:-1]
    same = (time[a] == time[b]) & (identity[a] == identity[b]) & (identity[a] != -1) & (price[a] == price[b]) & (amount[a] == amount[b])
    repeats = np.zeros(n, np.bool_)
    repeats[a[same]] = True
    return order, repeats[order]


def _joined(chunks: list[Chunk]) -> Chunk:
    if len(chunks) == 1:
        return chunks[0]
    first = chunks[0]
    values = tuple(np.concatenate([c.values[k] for c in chunks]) for k in range(len(first.values)))
    missing = None if first.missing is None else np.concatenate([c.missing for c in chunks if c.missing is not None])
    identity = None if first.id is None else np.concatenate([c.id for c in chunks if c.id is not None])
    time, row = np.concatenate([c.time for c in chunks]), np.concatenate([c.row for c in chunks])
    return Chunk(first.symbol, time, values, row, missing, identity)


def _named(member: Member) -> tuple[str, str | None, Timeframe | None]:
    """What the names say: that of a file inside an archive first, then the archive's."""
    venue, symbol, frame = named_by(Path(member.inner).name) if member.inner else ("", None, None)
    outer = named_by(member.path.name)
    return venue or outer[0], symbol or outer[1], frame or outer[2]


def _facts(reading: Reading) -> dict[str, Any]:
    text = (reading.head.facts or {}).get(METADATA)
    if text is None:
        return {}
    try:
        facts = json.loads(text)
        needed = {"symbol": str, "timeframe": str, "source": str, "span": list}
        if not all(isinstance(facts[k], kind) for k, kind in needed.items()) or len(facts["span"]) != 2:
            raise ValueError("its facts are not of their kinds")
        return dict(facts)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{reading.member.name}: what the file says about itself cannot be read ({error}): write the candles again"
        ) from error
