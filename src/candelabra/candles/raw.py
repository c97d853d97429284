"""`RawCandles`: columns as they came, before anyone knows whether they are candles, each row still knowing where it came from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import VALUE_COLUMNS, Candles, format_time
from candelabra.candles.timeframe import Timeframe

__all__ = ["NO_TIME", "RawCandles"]

NO_TIME: Final = int(np.iinfo(np.int64).min)  # stands for an open time that is absent


@dataclass(frozen=True, eq=False)
class RawCandles:
    """Unchecked OHLCV columns of one symbol and timeframe, in the order they were read.

    ``open_time`` int64 ms UTC ``(n,)`` (``NO_TIME`` where absent); values float64 ``(n,)``, NaN where absent; ``missing`` int32 ``(n,)``.
    ``files`` are the places read, ``file`` int32 ``(n,)`` indexes them, ``row`` int64 ``(n,)`` counts data rows in that file from 0.
    ``source``, ``span`` and ``simulated`` as in :class:`Candles`, where the file says. ``first_lines``: the line of row 0 in each file (0:
    its rows have no lines). ``notes`` say how the files were understood.
    """

    symbol: str
    timeframe: Timeframe
    open_time: NDArray[np.int64]
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    missing: NDArray[np.int32]
    files: tuple[str, ...]
    file: NDArray[np.int32]
    row: NDArray[np.int64]
    source: Timeframe | None = None
    span: tuple[int, int] | None = None
    simulated: bool = False
    first_lines: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, candles: Candles) -> RawCandles:
        """The columns of candles that are already checked."""
        n, (open_, high, low, close, volume) = len(candles), candles.values()
        return cls(
            candles.symbol,
            candles.timeframe,
            candles.open_time,
            open_,
            high,
            low,
            close,
            volume,
            candles.missing,
            (repr(candles),),
            np.zeros(n, np.int32),
            np.arange(n, dtype=np.int64),
            candles.source,
            candles.span,
            candles.simulated,
        )

    def __len__(self) -> int:
        return len(self.open_time)

    def values(self) -> tuple[NDArray[np.float64], ...]:
        """``open, high, low, close, volume``."""
        return self.open, self.high, self.low, self.close, self.volume

    def rows(self, index: NDArray[np.int64] | NDArray[np.bool_] | slice) -> RawCandles:
        """The rows at an index, in its order."""
        names = ("open_time", *VALUE_COLUMNS, "missing", "file", "row")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def where(self, at: int) -> str:
        """File, row and time of one row, for messages."""
        which = int(self.file[at])
        name, number = self.files[which], int(self.row[at])
        first = self.first_lines[which] if self.first_lines else 0
        line = f" (line {number + first})" if first else ""
        time = "no time" if self.open_time[at] == NO_TIME else format_time(int(self.open_time[at]))
        return f"{name}, row {number}{line}, {time}"

    def describe(self, at: int) -> str:
        """The values of one row, for messages."""
        return " ".join(f"{n} {float(v[at]):g}" for n, v in zip(VALUE_COLUMNS, self.values(), strict=True))
