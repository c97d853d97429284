"""Candles out of a store for other programs: Parquet, or CSV with exact values."""

from __future__ import annotations

from pathlib import Path

from candelabra.candles.frame import VALUE_COLUMNS, Candles
from candelabra.disk import place, temporary_beside
from candelabra.errors import UsageError
from candelabra.sources.files import write_candles

__all__ = ["export_candles"]


def export_candles(candles: Candles, path: str | Path) -> Path:
    """Write candles as ``.parquet`` or ``.csv``, whole or not at all; `read_candles` reads either back with equal values.

    CSV holds open_time (UTC), open, high, low, close, volume in the shortest digits that give the same float; it cannot say that
    candles are simulated or that bars inside a resampled one are absent. Raises UsageError for other endings, SourceError when the
    disk refuses.
    """
    target = Path(path)
    if target.suffix in (".parquet", ".pq"):
        return write_candles(candles, target)
    if target.suffix != ".csv":
        raise UsageError(f"{target.name} ends in neither .parquet nor .csv: these two can be written")
    import pyarrow as pa
    import pyarrow.csv

    out = pa.BufferOutputStream()
    options = pyarrow.csv.WriteOptions(quoting_style="none")
    pyarrow.csv.write_csv(candles.to_arrow().select(["open_time", *VALUE_COLUMNS]), out, options)
    place({target: temporary_beside(target, memoryview(out.getvalue()))})
    return target
