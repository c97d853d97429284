"""Rows put by in pieces of time, in memory while they are few and on the disk when they are many: files of any order, in bounded memory."""

from __future__ import annotations

import tempfile
from collections.abc import Hashable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["ROWS_IN_MEMORY", "Spool"]

ROWS_IN_MEMORY: Final = 600_000


class Spool:
    """Columns of rows by key (a series) and piece (a month, a day); a context that leaves nothing behind on the disk.

    Every key has the same number of columns in every piece. ``load`` gives the rows of a piece in the order they were added.
    """

    def __init__(self, rows_in_memory: int = ROWS_IN_MEMORY) -> None:
        self._most, self._held = rows_in_memory, 0
        self._memory: dict[tuple[Hashable, int], list[tuple[NDArray[Any], ...]]] = {}
        self._files: dict[tuple[Hashable, int], Path] = {}
        self._types: dict[Hashable, np.dtype[Any]] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    @property
    def on_disk(self) -> bool:
        """Whether memory did not do."""
        return self._folder is not None

    def add(self, key: Hashable, piece: int, columns: Sequence[NDArray[Any]]) -> None:
        """Put rows by; the arrays are kept as they are, so nobody may change them later."""
        self._memory.setdefault((key, piece), []).append(tuple(columns))
        self._held += len(columns[0])
        if self._held > self._most:
            self._spill()

    def keys(self) -> list[Hashable]:
        """The series there are, in the order they came."""
        return list(dict.fromkeys(key for key, _ in [*self._files, *self._memory]))

    def pieces(self, key: Hashable) -> list[int]:
        """The pieces of a series, in order."""
        return sorted({piece for one, piece in [*self._files, *self._memory] if one == key})

    def load(self, key: Hashable, piece: int) -> tuple[NDArray[Any], ...]:
        """All rows of a piece, a column each."""
        parts = list(self._memory.get((key, piece), []))
        if (key, piece) in self._files:
            rows = np.fromfile(self._files[key, piece], self._types[key])
            parts.insert(0, tuple(np.ascontiguousarray(rows[name]) for name in rows.dtype.names or ()))
        if len(parts) == 1:
            return parts[0]
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True))

    def _spill(self) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="candelabra-import-")
        for (key, piece), parts in self._memory.items():
            kind = self._types.setdefault(key, np.dtype([(f"c{k}", column.dtype) for k, column in enumerate(parts[0])]))
            path = self._files.setdefault((key, piece), Path(self._folder.name) / f"{len(self._files)}.rows")
            with path.open("ab") as out:
                for columns in parts:
                    rows = np.empty(len(columns[0]), kind)
                    for name, column in zip(kind.names or (), columns, strict=True):
                        rows[name] = column
                    rows.tofile(out)
        self._memory.clear()
        self._held = 0
