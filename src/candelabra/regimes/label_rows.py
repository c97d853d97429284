"""The cells of a table of labels as values, and what is wrong with each row: number, reason, remedy."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.raw import NO_TIME
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import CandelabraError, DataError, UsageError
from candelabra.regimes.label_files import LabelTable
from candelabra.sources.layout import Told
from candelabra.sources.symbols import spelled
from candelabra.sources.times import TimeReader

__all__ = ["Flaw", "FlawKind", "LabelRows", "label_rows"]

FlawKind = Literal[
    "unreadable", "reversed", "time zone", "inclusive end", "off the grid", "overlap", "unknown label", "confidence", "market", "empty"
]
_UNIX: Final = Told()
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?)?)?(Z|[+-]\d\d:?\d\d)?$")


@dataclass(frozen=True)
class Flaw:
    """What is wrong with a row (or with ``count`` of them, ``row`` the first), in words, and what to do."""

    kind: FlawKind
    row: int
    text: str
    remedy: str
    count: int = 1

    def __str__(self) -> str:
        return f"{self.text}: {self.remedy}"


@dataclass(frozen=True, eq=False)
class LabelRows:
    """A table's rows as values, each column ``(n,)``; ``start``, ``end``, ``known_at`` int64 ms (`NO_TIME`: none given).

    ``label`` None where a row names none; ``confidence`` float32, 1 where none is given; ``frame`` indexes ``frames``, -1 where the file
    does not say; ``good`` False where a flaw has been found.
    """

    where: str
    unit: str
    row: NDArray[np.int64]
    symbol: list[str | None]
    frames: tuple[Timeframe, ...]
    frame: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    label: list[str | None]
    confidence: NDArray[np.float32]
    known_at: NDArray[np.int64]
    annotator: list[str]
    note: list[str]
    good: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.row)

    def name(self, place: int) -> str:
        """A row for people: file, unit and number."""
        return f"{self.where}: {self.unit} {int(self.row[place])}"


def label_rows(table: LabelTable, time_zone: str | None = None) -> tuple[LabelRows, list[Flaw]]:
    """Values of every row and the flaws of single cells; DataError when the times of a column can be read in two ways."""
    n = len(table)
    cells = table.columns
    told = _UNIX if time_zone is None else Told(time_zone=time_zone)
    good = np.ones(n, bool)
    flaws: list[Flaw] = []

    def flaw(kind: FlawKind, bad: NDArray[np.bool_], role: str, why: str, remedy: str) -> None:
        bad = bad & good
        if bad.any():
            at = int(np.argmax(bad))
            shown = str(cells[role][at])[:60]
            text = f"{table.where}: {table.unit} {table.row[at]}: {role} holds {shown!r}, {why}"
            flaws.append(Flaw(kind, table.row[at], text + _such(bad), remedy, int(bad.sum())))
            good[bad] = False

    begin = "time" if table.form in ("bars", "change-points") else "start"
    times: dict[str, NDArray[np.int64]] = {}
    for role in (begin, "end", "known_at"):
        times[role] = np.full(n, NO_TIME, np.int64)
        if role in cells and n:
            times[role] = _times(cells[role], role, table.where, told)
            given = np.array([not _empty(c) for c in cells[role]])
            zone = "" if time_zone is None else f", or happened twice or never in {time_zone}"
            flaw("unreadable", given & (times[role] == NO_TIME), role, f"which is no time{zone}", "write it as 2024-03-13T17:00:00Z")
    if n:
        missing = times[begin] == NO_TIME
        flaw("unreadable", missing, begin, "so the row has no time", "give the open time of its first bar")

    if "label" in cells:
        nested = np.array([isinstance(c, list | dict | tuple) for c in cells["label"]], bool)
        flaw("unreadable", nested, "label", "which is no name", "write one label as text")
    label = [_word(c) for c in cells.get("label", [None] * n)]
    confidence = np.ones(n, np.float32)
    if "confidence" in cells:
        numbers = [1.0 if _empty(c) else _number(c) for c in cells["confidence"]]
        confidence = np.array(numbers, np.float32)
        with np.errstate(invalid="ignore"):
            bad = ~((confidence >= 0) & (confidence <= 1))
        flaw("confidence", bad, "confidence", "which is no number from 0 to 1", "give a share, as in 0.8, or leave it empty for 1")
    frames, frame, unknown = _frames(cells.get("timeframe", [None] * n))
    if "timeframe" in cells:
        flaw("market", unknown, "timeframe", "which is no timeframe", "write a number and one of s, m, h, d, w, M, as in 1h, 4h, 1d")
    markets = [None if _empty(c) else str(c) for c in cells.get("symbol", [None] * n)]
    spelling = {name: spelled(name) for name in set(markets) if name is not None}
    symbol = [None if name is None else spelling[name] for name in markets]
    annotator = ["" if _empty(c) else _word(c) or "" for c in cells.get("annotator", [""] * n)]
    note = ["" if c is None else str(c) for c in cells.get("note", [""] * n)]
    rows = LabelRows(
        table.where, table.unit, np.array(table.row, np.int64), symbol, frames, frame, times[begin], times["end"], label, confidence,
        times["known_at"], annotator, note, good,
    )  # fmt: skip
    return rows, flaws


def _times(cells: list[Any], role: str, where: str, told: Told) -> NDArray[np.int64]:
    """Times in ms of cells that may be of several kinds (a hand-made table has dates beside times, an export numbers beside text)."""
    out = np.full(len(cells), NO_TIME, np.int64)
    kinds: dict[str, list[int]] = {}
    for k, cell in enumerate(cells):
        if not _empty(cell):
            kinds.setdefault("number" if isinstance(cell, int | float) else type(cell).__name__, []).append(k)
    for kind, places in kinds.items():
        rest = places
        while rest:
            out[rest] = _of_one_kind([cells[k] for k in rest], role, where, told)
            left = [k for k in rest if out[k] == NO_TIME]
            # the reader holds to the form of most; what is written as ISO has one meaning whatever stands beside it
            again = [k for k in left if _ISO.match(cells[k].strip())] if kind == "str" else []
            rest = again if len(again) < len(rest) else []
    return out


def _of_one_kind(cells: list[Any], role: str, where: str, told: Told) -> NDArray[np.int64]:
    import pyarrow as pa

    try:
        column = pa.array([float(c) for c in cells] if isinstance(cells[0], int | float) else cells)
        return TimeReader(role, where, told, lenient=True).read(column)
    except UsageError:
        raise
    except CandelabraError as error:
        raise DataError(str(error).partition(", or tell their form")[0]) from error
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return np.full(len(cells), NO_TIME, np.int64)


def _frames(cells: list[Any]) -> tuple[tuple[Timeframe, ...], NDArray[np.int64], NDArray[np.bool_]]:
    found: dict[str, int] = {}
    frames: list[Timeframe] = []
    index = np.full(len(cells), -1, np.int64)
    unknown = np.zeros(len(cells), bool)
    for k, cell in enumerate(cells):
        if _empty(cell):
            continue
        word = str(cell).strip()
        if word not in found:
            try:
                frames.append(Timeframe(word))
                found[word] = len(frames) - 1
            except UsageError:
                found[word] = -1
        index[k] = found[word]
        unknown[k] = index[k] < 0
    return tuple(frames), index, unknown


def _empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip()) or (isinstance(cell, float) and math.isnan(cell))


def _word(cell: Any) -> str | None:
    """A name; whole numbers that came as 1.0 are 1."""
    if _empty(cell):
        return None
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return math.nan


def _such(bad: NDArray[np.bool_]) -> str:
    return f" ({int(bad.sum())} such)" if bad.sum() > 1 else ""
