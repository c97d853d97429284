"""Cells as numbers: columns that are numbers pass through, text is read cell by cell with the reason where it is none."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import DataError
from candelabra.sources.times import is_text

__all__ = ["numbers", "refuse_thousands", "texts"]

_NUMBER: Final = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$"
_ABSENT: Final = r"^(?i:nan|null|none|n/?a)?$"
_THOUSANDS: Final = r"^[+-]?\d{1,3}(\.\d{3}){2,}$|^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$|^[+-]?\d{1,3}([' ]\d{3})+([.,]\d+)?$"
_ADVICE: Final = "write plain numbers with a decimal point and no thousands separators (a spreadsheet may have changed the file)"


def numbers(column: Any, name: str, where: str, unreadable: dict[int, str] | None = None, first_row: int = 0) -> NDArray[np.float64]:
    """A column as float64 ``(n,)``, NaN where a cell is empty; ``first_row`` is the number of its first row, for messages.

    What is no number raises DataError, or, when a dict is given as ``unreadable``, becomes NaN with the reason noted under its row.
    Thousands separators raise in any case: where a spreadsheet put them, cells that look right are wrong too.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(flat.type):
        flat = flat.dictionary_decode()
    if not is_text(flat.type):
        try:
            return np.asarray(pc.cast(flat, pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise DataError(f"{where}: column {name!r} of type {flat.type} is not numeric") from error
    trimmed = pc.utf8_trim_whitespace(pc.cast(flat, pa.string()))
    empty = pc.match_substring_regex(pc.fill_null(trimmed, ""), _ABSENT)
    good = pc.fill_null(pc.match_substring_regex(trimmed, _NUMBER), False)
    bad = np.flatnonzero(np.asarray(pc.invert(pc.or_(good, empty)).to_numpy(zero_copy_only=False)))
    if len(bad):
        refuse_thousands(trimmed, name, where, first_row)
        if unreadable is None:
            row = int(bad[0])
            raise DataError(f"{where}: column {name!r} is not numeric: row {row + first_row} holds {trimmed[row].as_py()!r}; {_ADVICE}")
        for at in map(int, bad):
            unreadable.setdefault(at, f"column {name!r} holds {str(trimmed[at].as_py())[:60]!r}, which is no number")
    kept = pc.if_else(good, trimmed, pa.scalar(None, pa.string()))
    return np.asarray(pc.cast(kept, pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def refuse_thousands(column: Any, name: str, where: str, first_row: int = 0) -> None:
    """DataError when any text of a column is a number with thousands separators."""
    import pyarrow.compute as pc

    marked = np.flatnonzero(np.asarray(pc.fill_null(pc.match_substring_regex(column, _THOUSANDS), False).to_numpy(zero_copy_only=False)))
    if len(marked):
        row = int(marked[0])
        raise DataError(
            f"{where}: column {name!r} is not numeric: row {row + first_row} holds {column[row].as_py()!r}, with thousands "
            f"separators ({len(marked)} such cells): nobody can tell what the other cells were before, so nothing of the file is read; "
            + _ADVICE
        )


def texts(column: Any) -> Any:
    """A column as an Arrow dictionary of texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(flat.type):
        return flat if flat.dictionary.type == pa.string() else pc.dictionary_encode(pc.cast(flat.dictionary_decode(), pa.string()))
    return pc.dictionary_encode(pc.cast(flat, pa.string()))
