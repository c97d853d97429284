"""Candles from files of any known form and from data frames, and back to Parquet: read right, or refused with the reason."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from candelabra.candles.frame import Candles
from candelabra.candles.raw import RawCandles
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.disk import place, temporary_beside
from candelabra.errors import CandelabraError, DataError, UsageError
from candelabra.sources.collect import METADATA, read_file
from candelabra.sources.frames import raw_of_table
from candelabra.sources.layout import Told
from candelabra.sources.members import Paths, find_files
from candelabra.sources.settle import OnBad, ReadNotes, joined, settled

__all__ = ["ReadNotes", "from_frame", "read_candles", "read_raw", "read_raw_apart", "read_with_notes", "to_pandas", "write_candles"]

_LISTED: Final = 20
_AS_RECOGNISED: Final = Told()


def read_candles(
    paths: Paths,
    *,
    symbol: str | None = None,
    timeframe: str | Timeframe | None = None,
    on_bad: OnBad = "refuse",
    told: Told = _AS_RECOGNISED,
) -> list[Candles]:
    """Candles from a file, a folder, a glob or several of them: one series per symbol and timeframe, sorted by both.

    Files are CSV, JSON (also .gz, .zip), Parquet or Feather of any form in ``sources.forms.FORMS``, from Binance Vision to plain columns
    for open time (s, ms, us, ns or dates, UTC), open, high, low, close and volume in any order; trades are made into bars of ``timeframe``.
    What is not recognised can be ``told``. Symbol and timeframe come from a column ``symbol``, the file's name
    (``binance_BTCUSDT_1h.parquet``) and the most common step; ``symbol`` and ``timeframe`` select, and name what no file names. Files of
    one series are joined. Rows that repeat exactly and the bar still forming are left out (:func:`read_with_notes` says how many).
    ``on_bad="drop"`` leaves out rows that are not candles instead of refusing. The folder of a store, or of an exchange in one, gives what
    is stored; ``timeframe`` may then be any that can be made of it. Raises DataError naming file, row and time, SourceError when a file
    cannot be opened.
    """
    return read_with_notes(paths, symbol=symbol, timeframe=timeframe, on_bad=on_bad, told=told)[0]


def read_with_notes(
    paths: Paths,
    *,
    symbol: str | None = None,
    timeframe: str | Timeframe | None = None,
    on_bad: OnBad = "refuse",
    now_ms: int | None = None,
    told: Told = _AS_RECOGNISED,
) -> tuple[list[Candles], ReadNotes]:
    """As :func:`read_candles`, with the notes; ``now_ms`` is the time to judge which bars are closed (default: the clock)."""
    if on_bad not in ("refuse", "drop"):
        raise UsageError(f"on_bad must be 'refuse' or 'drop', got {on_bad!r}")
    notes: list[str] = []
    dropped: dict[str, int] = {}
    series = []
    for raw in read_raw(paths, symbol=symbol, timeframe=timeframe, told=told):
        series.append(settled(raw, on_bad, now_ms if now_ms is not None else int(time.time() * 1000), notes, dropped, copy=False))
    return series, ReadNotes(tuple(notes), tuple(dropped.items()))


def read_raw(
    paths: Paths, *, symbol: str | None = None, timeframe: str | Timeframe | None = None, told: Told = _AS_RECOGNISED
) -> list[RawCandles]:
    """The same columns unchecked, for ``candles.quality.inspect``: one per symbol and timeframe, rows in the order read."""
    files, many = find_files(paths)
    wanted = None if timeframe is None else _frame(timeframe)
    parts = [part for path in files for part in read_file(path, symbol, wanted, many, told)]
    if not parts:
        raise _nothing_found(paths, files, symbol, wanted, told)
    series = [_of_one_place(members) for members in _grouped(parts)]
    return sorted(series, key=_by_name)


def read_raw_apart(
    paths: Paths, *, symbol: str | None = None, timeframe: str | Timeframe | None = None, told: Told = _AS_RECOGNISED
) -> tuple[list[RawCandles], list[CandelabraError]]:
    """As :func:`read_raw`, going on past what cannot be read: the series that could be, and what is wrong with the others.

    A series that is there from several places is given once for each. Raises only when nothing at all could be read.
    """
    files, many = find_files(paths)
    wanted = None if timeframe is None else _frame(timeframe)
    parts: list[tuple[str, RawCandles]] = []
    wrong: list[CandelabraError] = []
    for path in files:
        try:
            parts += read_file(path, symbol, wanted, many, told)
        except CandelabraError as error:
            wrong.append(error)
    if not parts and len(wrong) == 1:
        raise wrong[0]
    if not parts and wrong:
        raise DataError(f"none of the {len(files)} files in {_shown(paths)} could be read: " + "; ".join(map(str, wrong)))
    if not parts:
        raise _nothing_found(paths, files, symbol, wanted, told)
    series: list[RawCandles] = []
    for members in _grouped(parts):
        try:
            series.append(_of_one_place(members))
        except CandelabraError as error:
            wrong.append(error)
            series += [raw for _, raw in members]
    return sorted(series, key=_by_name), wrong


def _grouped(parts: Sequence[tuple[str, RawCandles]]) -> list[list[tuple[str, RawCandles]]]:
    groups: dict[tuple[str, str], list[tuple[str, RawCandles]]] = {}
    for venue, raw in parts:
        groups.setdefault((raw.symbol, raw.timeframe.name), []).append((venue, raw))
    return list(groups.values())


def _by_name(raw: RawCandles) -> tuple[str, int]:
    return raw.symbol, raw.timeframe.milliseconds


def _of_one_place(members: Sequence[tuple[str, RawCandles]]) -> RawCandles:
    """The files of one series as one; DataError when they come from several venues."""
    raw = members[0][1]
    if len({venue for venue, _ in members}) > 1:
        places = ", ".join(sorted({f for _, one in members for f in one.files}))
        raise DataError(
            f"{raw.symbol} {raw.timeframe} is there from several places ({places}): prices differ by exchange, so name the files of one of "
            "them"
        )
    return joined([one for _, one in members])


def _nothing_found(paths: Paths, files: Sequence[Path], symbol: str | None, wanted: Timeframe | None, told: Told) -> DataError:
    """The error for a selection that nothing fits, with what there is instead."""
    there: set[tuple[str, int, str]] = set()
    for path in files[:_LISTED]:
        with contextlib.suppress(CandelabraError):
            there |= {(raw.symbol, raw.timeframe.milliseconds, raw.timeframe.name) for _, raw in read_file(path, None, wanted, True, told)}
    asked = " ".join(str(one) for one in (symbol or "any symbol", wanted) if one)
    listed = ", ".join(f"{name} {frame}" for name, _, frame in sorted(there)) or "nothing that can be read"
    rest = f" (in the first {_LISTED} files)" if len(files) > _LISTED else ""
    return DataError(f"no candles of {asked} in {_shown(paths)} ({len(files)} files): there are {listed}{rest}")


def from_frame(
    frame: Any,
    symbol: str | None = None,
    timeframe: str | Timeframe | None = None,
    *,
    on_bad: OnBad = "refuse",
    told: Told = _AS_RECOGNISED,
) -> Candles:
    """Candles from any eager data frame (pandas, polars, pyarrow, ...) with recognisable columns, or a time index in pandas.

    A column ``symbol`` must hold one symbol. Raises DataError as :func:`read_candles` does.
    """
    import narwhals as nw

    try:
        table = nw.from_native(frame, eager_only=True).to_arrow()
        if hasattr(frame, "reset_index") and getattr(getattr(frame, "index", None), "dtype", np.dtype(int)).kind == "M":
            table = nw.from_native(frame.rename_axis("open_time").reset_index(), eager_only=True).to_arrow()
    except TypeError as error:
        raise UsageError(f"{type(frame).__name__} is not an eager data frame: give pandas, polars or pyarrow ({error})") from error
    wanted = None if timeframe is None else _frame(timeframe)
    parts = raw_of_table(table, "the data frame", symbol, wanted, told)
    if len(parts) != 1:
        raise DataError(f"the data frame holds {len(parts)} symbols ({', '.join(p.symbol for p in parts[:8])}): name one with symbol=")
    return settled(parts[0], on_bad, int(time.time() * 1000), [], {})


def to_pandas(candles: Candles) -> Any:
    """A pandas DataFrame with a UTC ``open_time`` index (pandas must be installed)."""
    try:
        return candles.to_arrow().to_pandas().set_index("open_time")
    except ImportError as error:
        raise UsageError("to_pandas needs pandas, which is not installed: pip install pandas") from error


def write_candles(candles: Candles, path: str | Path) -> Path:
    """Write Parquet (zstd, page checksums) that :func:`read_candles` reads back equal, marked as simulated or not; whole or not at all.

    A temporary file beside it is synced and renamed, so a crash leaves the old file or the new one. Raises SourceError when the
    disk refuses.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    target = Path(path)
    if target.suffix not in (".parquet", ".pq"):
        raise UsageError(f"candles are written as Parquet: call the file {target.stem}.parquet, not {target.name}")
    facts: dict[str, Any] = {"symbol": candles.symbol, "timeframe": candles.timeframe.name, "source": candles.source.name}
    facts |= {"span": list(candles.span), **({"simulated": True} if candles.simulated else {})}
    table = candles.to_arrow().replace_schema_metadata({METADATA: json.dumps(facts)})
    out = pa.BufferOutputStream()
    pq.write_table(table, out, compression="zstd", write_page_checksum=True)
    place({target: temporary_beside(target, memoryview(out.getvalue()))})
    return target


def _frame(value: str | Timeframe) -> Timeframe:
    return timeframe(value)


def _shown(paths: Paths) -> str:
    return str(paths) if isinstance(paths, str | Path) else ", ".join(str(p) for p in paths[:4])
