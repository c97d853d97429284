"""Candles from plain files (CSV, Parquet, Feather) and data frames, and back to Parquet: read right, or refused with the reason."""

from __future__ import annotations

import contextlib
import glob
import io
import json
import re
import time
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from candelabra.candles.frame import Candles
from candelabra.candles.raw import RawCandles
from candelabra.candles.timeframe import Timeframe, timeframe
from candelabra.disk import place, temporary_beside
from candelabra.errors import CandelabraError, DataError, SourceError, UsageError
from candelabra.registry import did_you_mean
from candelabra.sources.columns import Columns, read_columns, split_symbol
from candelabra.sources.settle import OnBad, ReadNotes, frame_of, joined, settled
from candelabra.sources.stored import is_stored, stored_candles

__all__ = ["ReadNotes", "from_frame", "read_candles", "read_raw", "read_raw_apart", "read_with_notes", "to_pandas", "write_candles"]

Paths = str | Path | Sequence[str | Path]

_ENDINGS: Final = (".csv", ".csv.gz", ".csv.zip", ".zip", ".txt", ".parquet", ".pq", ".feather", ".arrow")
_METADATA: Final = b"candelabra"
_LISTED: Final = 20


def read_candles(
    paths: Paths, *, symbol: str | None = None, timeframe: str | Timeframe | None = None, on_bad: OnBad = "refuse"
) -> list[Candles]:
    """Candles from a file, a folder, a glob or several of them: one series per symbol and timeframe, sorted by both.

    Files are CSV (also .gz, .zip), Parquet or Feather with columns for open time (s, ms, us, ns or dates, UTC), open, high, low, close
    and volume in any order. Symbol and timeframe come from a column ``symbol``, the file's name (``binance_BTCUSDT_1h.parquet``) and
    the most common step; ``symbol`` and ``timeframe`` select, and name what no file names. Files of one series are joined. Rows that
    repeat exactly and the bar still forming are left out (:func:`read_with_notes` says how many). ``on_bad="drop"`` leaves out rows
    that are not candles instead of refusing. The folder of a store, or of an exchange in one, gives what is stored; ``timeframe`` may
    then be any that can be made of it. Raises DataError naming file, row and time, SourceError when a file cannot be opened.
    """
    return read_with_notes(paths, symbol=symbol, timeframe=timeframe, on_bad=on_bad)[0]


def read_with_notes(
    paths: Paths,
    *,
    symbol: str | None = None,
    timeframe: str | Timeframe | None = None,
    on_bad: OnBad = "refuse",
    now_ms: int | None = None,
) -> tuple[list[Candles], ReadNotes]:
    """As :func:`read_candles`, with the notes; ``now_ms`` is the time to judge which bars are closed (default: the clock)."""
    if on_bad not in ("refuse", "drop"):
        raise UsageError(f"on_bad must be 'refuse' or 'drop', got {on_bad!r}")
    notes: list[str] = []
    dropped: dict[str, int] = {}
    series = []
    for raw in read_raw(paths, symbol=symbol, timeframe=timeframe):
        series.append(settled(raw, on_bad, now_ms if now_ms is not None else int(time.time() * 1000), notes, dropped))
    return series, ReadNotes(tuple(notes), tuple(dropped.items()))


def read_raw(paths: Paths, *, symbol: str | None = None, timeframe: str | Timeframe | None = None) -> list[RawCandles]:
    """The same columns unchecked, for ``candles.quality.inspect``: one per symbol and timeframe, rows in the order read."""
    files, many = _files(paths)
    wanted = None if timeframe is None else _as_timeframe(timeframe)
    parts = [part for path in files for part in _read_file(path, symbol, wanted, many)]
    if not parts:
        raise _nothing_found(paths, files, symbol, wanted)
    series = [_of_one_place(members) for members in _grouped(parts)]
    return sorted(series, key=_by_name)


def read_raw_apart(
    paths: Paths, *, symbol: str | None = None, timeframe: str | Timeframe | None = None
) -> tuple[list[RawCandles], list[CandelabraError]]:
    """As :func:`read_raw`, going on past what cannot be read: the series that could be, and what is wrong with the others.

    A series that is there from several places is given once for each. Raises only when nothing at all could be read.
    """
    files, many = _files(paths)
    wanted = None if timeframe is None else _as_timeframe(timeframe)
    parts: list[tuple[str, RawCandles]] = []
    wrong: list[CandelabraError] = []
    for path in files:
        try:
            parts += _read_file(path, symbol, wanted, many)
        except CandelabraError as error:
            wrong.append(error)
    if not parts and len(wrong) == 1:
        raise wrong[0]
    if not parts and wrong:
        raise DataError(f"none of the {len(files)} files in {_shown(paths)} could be read: " + "; ".join(map(str, wrong)))
    if not parts:
        raise _nothing_found(paths, files, symbol, wanted)
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


def _nothing_found(paths: Paths, files: Sequence[Path], symbol: str | None, wanted: Timeframe | None) -> DataError:
    """The error for a selection that nothing fits, with what there is instead."""
    there: set[tuple[str, int, str]] = set()
    for path in files[:_LISTED]:
        with contextlib.suppress(CandelabraError):
            there |= {(raw.symbol, raw.timeframe.milliseconds, raw.timeframe.name) for _, raw in _read_file(path, None, None, True)}
    asked = " ".join(str(one) for one in (symbol or "any symbol", wanted) if one)
    listed = ", ".join(f"{name} {frame}" for name, _, frame in sorted(there)) or "nothing that can be read"
    rest = f" (in the first {_LISTED} files)" if len(files) > _LISTED else ""
    return DataError(f"no candles of {asked} in {_shown(paths)} ({len(files)} files): there are {listed}{rest}")


def from_frame(frame: Any, symbol: str | None = None, timeframe: str | Timeframe | None = None, *, on_bad: OnBad = "refuse") -> Candles:
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
    wanted = None if timeframe is None else _as_timeframe(timeframe)
    parts = _split(read_columns(table, "the data frame", _base(symbol)), "the data frame", symbol, wanted, {})
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
    table = candles.to_arrow().replace_schema_metadata({_METADATA: json.dumps(facts)})
    out = pa.BufferOutputStream()
    pq.write_table(table, out, compression="zstd", write_page_checksum=True)
    place({target: temporary_beside(target, memoryview(out.getvalue()))})
    return target


def _as_timeframe(value: str | Timeframe) -> Timeframe:
    return timeframe(value)


def _base(symbol: str | None) -> str | None:
    return None if symbol is None else symbol.split("/")[0]


def _shown(paths: Paths) -> str:
    return str(paths) if isinstance(paths, str | Path) else ", ".join(str(p) for p in paths[:4])


def _files(paths: Paths) -> tuple[list[Path], bool]:
    """The files meant, and whether they were gathered (then symbol and timeframe select among them)."""
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    files: list[Path] = []
    gathered = len(given) > 1
    for one in given:
        path = Path(one)
        if is_stored(path):
            gathered = True
            files.append(path)
        elif path.is_dir():
            gathered = True
            inside = sorted(p for p in path.iterdir() if p.name.lower().endswith(_ENDINGS) and not p.name.startswith("."))
            if not inside:
                raise SourceError(f"the folder {path} has no files that end in {', '.join(_ENDINGS)}: is it the right one?")
            files += inside
        elif path.exists():
            files.append(path)
        else:
            matches = sorted(Path(m) for m in glob.glob(str(one)))
            if not matches:
                beside = path.parent.iterdir() if path.parent.is_dir() else ()
                near = [p.name for p in beside if p.name.lower().endswith(_ENDINGS)]
                hint = did_you_mean(path.name, near) if 0 < len(near) <= 100 else "check the path"
                raise SourceError(f"there is no file {one}: {hint}")
            gathered = True
            files += matches
    return list(dict.fromkeys(files)), gathered


def _read_file(path: Path, symbol: str | None, wanted: Timeframe | None, many: bool) -> list[tuple[str, RawCandles]]:
    if is_stored(path):
        return stored_candles(path, symbol, wanted)
    venue, named_symbol, named_frame = _from_name(path.name)
    if many and ((symbol and named_symbol and named_symbol != symbol) or (wanted and named_frame and named_frame != wanted)):
        return []
    table = _table(path)
    facts = json.loads((table.schema.metadata or {}).get(_METADATA, b"{}"))
    name = (symbol if not many else None) or facts.get("symbol") or named_symbol or symbol
    columns = read_columns(table, str(path), _base(name))
    frame = (wanted if not many else None) or (Timeframe(facts["timeframe"]) if facts else named_frame)
    parts = _split(columns, str(path), name if columns.symbol is None else symbol, frame, facts)
    return [(venue, raw) for raw in parts if (symbol is None or raw.symbol == symbol) and (wanted is None or raw.timeframe == wanted)]


def _from_name(name: str) -> tuple[str, str | None, Timeframe | None]:
    """Venue, symbol and timeframe as a file's name tells them.

    >>> _from_name("binance_BTCUSDT_1h.parquet")[1:]
    ('BTC/USDT', Timeframe(name='1h'))
    """
    stem = name
    for ending in sorted(_ENDINGS, key=len, reverse=True):
        if stem.lower().endswith(ending):
            stem = stem[: -len(ending)]
            break
    tokens = [t for t in re.split(r"[_\-\s.]+", stem) if t]
    frame = next((Timeframe(t) for t in tokens if re.fullmatch(r"[1-9]\d*[smhdwM]", t)), None)
    for at, token in enumerate(tokens):
        pair = split_symbol(f"{token}/{tokens[at + 1]}") if at + 1 < len(tokens) and token.isupper() and tokens[at + 1].isupper() else None
        found = pair or (split_symbol(token) if token.isupper() else None)
        if found:
            return "_".join(tokens[:at]).lower(), found, frame
    return "", None, frame


def _table(path: Path) -> Any:
    """The file as a ``pyarrow.Table``."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.feather
    import pyarrow.parquet as pq

    name = path.name.lower()
    try:
        if name.endswith((".parquet", ".pq")):
            return pq.read_table(path, page_checksum_verification=True)
        if name.endswith((".feather", ".arrow")):
            return pyarrow.feather.read_table(path)
        if name.endswith((".csv", ".txt", ".csv.gz", ".zip")):
            data = _text(path)
            first, second = [*data[:8192].split(b"\n", 2), b"", b""][:2]
            separator = max(b",;\t|", key=first.count)
            if second.count(b",") > first.count(b",") and b"open" in second.lower():
                raise DataError(f"{path}: the header is on line 2, below {first.decode(errors='replace').strip()!r}: delete the first line")
            return pyarrow.csv.read_csv(io.BytesIO(data), parse_options=pyarrow.csv.ParseOptions(delimiter=chr(separator)))
    except (OSError, EOFError, zipfile.BadZipFile) as error:
        raise SourceError(f"cannot read {path}: {error}: is the file whole, and of the kind its name says?") from error
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} is not a table that can be read: {error}: open it and check its header and rows") from error
    raise UsageError(f"{path}: files that end in {', '.join(_ENDINGS)} can be read")


def _text(path: Path) -> bytes:
    import gzip

    name = path.name.lower()
    if name.endswith(".gz"):
        return gzip.decompress(path.read_bytes())
    if name.endswith(".zip"):
        with zipfile.ZipFile(path) as archive:
            inside = [n for n in archive.namelist() if n.lower().endswith((".csv", ".txt")) and not n.startswith("__MACOSX")]
            if len(inside) != 1:
                raise DataError(f"{path} holds {len(inside)} CSV files, and one is needed: unpack it and give the folder")
            return archive.read(inside[0])
    return path.read_bytes()


def _split(columns: Columns, where: str, symbol: str | None, frame: Timeframe | None, facts: dict[str, Any]) -> list[RawCandles]:
    """One table as raw candles per symbol."""
    n = len(columns.open_time)
    if columns.symbol is None:
        if symbol is None:
            raise UsageError(
                f"{where} does not say which symbol it holds: name it (--symbol BTC/USDT on the command line, symbol= in Python), or call "
                "the file BTCUSDT_1h.csv"
            )
        chosen = {symbol: np.arange(n)}
    else:
        names = {str(s): split_symbol(str(s)) or str(s) for s in np.unique(columns.symbol)}
        if symbol is not None and symbol not in names.values():
            if len(names) > 1:
                return []
            names = dict.fromkeys(names, symbol)
        chosen = {kept: np.flatnonzero(columns.symbol == s) for s, kept in names.items() if symbol is None or kept == symbol}
    out = []
    for kept, rows in chosen.items():
        times = columns.open_time[rows]
        open_, high, low, close, volume = (v[rows] for v in columns.values)
        known = columns.missing is not None and bool(facts)
        missing = columns.missing[rows] if known and columns.missing is not None else np.zeros(len(times), np.int32)
        step = frame_of(times, f"{where} ({kept})", frame)
        number = np.asarray(rows, dtype=np.int64)
        source = Timeframe(facts["source"]) if facts else None
        span = tuple(facts["span"]) if facts else None
        at = np.zeros(len(times), np.int32)
        raw = RawCandles(kept, step, times, open_, high, low, close, volume, missing, (where,), at, number, source, span)
        raw = replace(raw, simulated=bool(facts.get("simulated", False)))
        out.append(raw)
    return out
