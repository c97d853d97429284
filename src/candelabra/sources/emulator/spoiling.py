"""Answers made wrong: rows and bodies as the faults of `faults.REST_FAULTS` leave them."""

from __future__ import annotations

import json
from typing import Any

from candelabra.sources.emulator.wire import Answer, Columns

__all__ = ["spoil_rows"]


def spoil_rows(kind: str, answer: Answer, pick: int) -> bool:
    """Make the rows of an answer wrong, in place; ``pick`` chooses the row. False when there are too few rows for this fault.

    First and last row are left alone where another can be taken: who looks at the ends only sees nothing.
    """
    rows, at = answer.rows, answer.columns
    if rows is None or not rows:
        return False
    row = 1 + pick % (len(rows) - 2) if len(rows) > 2 else 0
    if len(rows) < {"gap": 3, "shuffled": 3, "revised": 2}.get(kind, 1):
        return False
    if kind == "gap":
        del rows[row : min(row + 1 + pick % 3, len(rows) - 1)]
    elif kind == "shuffled":
        rows[:] = rows[row:] + rows[:row]
    elif kind == "duplicate":
        rows.insert(row, json.loads(json.dumps(rows[row])))
    elif kind == "empty-list":
        rows.clear()
    elif kind == "row-object":
        rows[row] = {"x": 1} if isinstance(rows[row], list) else [1, 2, 3]
    elif kind == "short-row":
        if isinstance(rows[row], list):
            del rows[row][3:]
        else:
            rows[row] = dict(list(rows[row].items())[:3])
    else:
        _spoil_field(kind, rows[row], at)
    return True


def _spoil_field(kind: str, row: Any, at: Columns) -> None:
    def like(old: Any, new: float) -> Any:
        return type(old)(new) if not isinstance(old, str) else str(new)

    if kind == "close-null":
        row[at.close] = None
    elif kind == "close-empty":
        row[at.close] = ""
    elif kind == "close-nan":
        row[at.close] = "NaN"
    elif kind == "close-infinity":
        row[at.close] = "Infinity"
    elif kind == "negative-volume":
        row[at.volume] = like(row[at.volume], -1.0)
    elif kind == "high-below-low":
        row[at.high], row[at.low] = like(row[at.low], float(row[at.low]) * 0.5), like(row[at.high], float(row[at.high]) * 1.5)
    elif kind == "time-null":
        row[at.time] = None
    elif kind == "time-seconds":
        old = int(row[at.time])
        row[at.time] = type(row[at.time])(old // 1000 if at.unit_ms == 1 else old * 1000)
    elif kind == "revised":
        other = row[at.low] if row[at.close] != row[at.low] else row[at.high]
        row[at.close] = like(row[at.close], (float(row[at.close]) + float(other)) / 2)
