"""`Answer`: the numbers a subject gives, each row with the time by which it may be known; and how two answers are compared."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles
from candelabra.errors import UsageError

__all__ = ["Answer", "as_answer", "moved"]

_TIMES: Final = ("close_time", "open_time", "time", "timestamp", "date", "datetime")
_CLOSING: Final = ("close_time",)


@dataclass(frozen=True, eq=False)
class Answer:
    """``values`` float64 ``(rows, columns)`` with ``names``; ``time_ms`` int64 ``(rows,)`` rising: the bar a row stands for (its close).

    ``known_ms`` int64 ``(rows, columns)`` says until when a value may look: its own time for all that is point in time, the ``known_at``
    of a label.
    """

    time_ms: NDArray[np.int64]
    names: tuple[str, ...]
    values: NDArray[np.float64]
    known_ms: NDArray[np.int64]

    @classmethod
    def of(cls, time_ms: NDArray[np.int64], columns: Mapping[str, Any], known_ms: NDArray[np.int64] | None = None) -> Answer:
        """An answer from columns ``(rows,)`` by name; ``known_ms`` ``(rows,)`` or ``(rows, columns)``, the row's time by default."""
        names = tuple(columns)
        values = np.column_stack([_numbers(columns[n]) for n in names]) if names else np.zeros((len(time_ms), 0))
        if values.shape != (len(time_ms), len(names)):
            raise UsageError(f"columns of {values.shape[0]} rows for {len(time_ms)} times: give one value a bar, NaN where unknown")
        known = np.asarray(time_ms if known_ms is None else known_ms, np.int64)
        known = np.broadcast_to(known[:, None] if known.ndim == 1 else known, values.shape)
        return cls(np.asarray(time_ms, np.int64), names, values, known)

    def __len__(self) -> int:
        return len(self.time_ms)


def moved(
    before: Answer, after: Answer, upto_ms: int, rounding: float = 0.0, spread: NDArray[np.float64] | None = None
) -> NDArray[np.bool_]:
    """Which values known by ``upto_ms`` differ, ``(rows, columns)`` of ``before``; a row or column that is gone counts, if it was known.

    ``rounding``: what differs by no more than this times max(|value|, ``spread``) is the same (0: to the bit).
    """
    index = np.searchsorted(after.time_ms, before.time_ms)
    there = np.zeros(len(before), bool)
    inside = index < len(after)
    there[inside] = after.time_ms[index[inside]] == before.time_ms[inside]
    found = np.full(before.values.shape, np.nan)
    for column, name in enumerate(before.names):
        if name in after.names:
            found[there, column] = after.values[index[there], after.names.index(name)]
    a, b = before.values, found
    differs = ~((a == b) | (np.isnan(a) & np.isnan(b)))
    if rounding > 0 and differs.any():
        scale = np.abs(a) if spread is None else np.maximum(np.abs(a), spread)
        with np.errstate(invalid="ignore"):
            differs &= ~(np.abs(a - b) <= rounding * scale)
    return np.asarray(differs & (before.known_ms <= upto_ms))


def as_answer(output: Any, base: Candles) -> Answer:
    """What a function of candles gave, as an answer over the bars of ``base``.

    ``output``: an `Answer`; an array or series ``(bars,)`` or ``(bars, columns)``; columns by name, or a pair of them and ``known_at``
    (ms); any eager frame, whose column or index of times (``close_time``; or open times under ``open_time``, ``time``, ``timestamp``,
    ``date``) places its rows; an object with ``names`` and ``values`` (a `FeatureTable`). UsageError when rows cannot be placed: what is
    shorter than the candles must say which bars it means.
    """
    if isinstance(output, Answer):
        return output
    if isinstance(output, tuple) and len(output) == 2 and isinstance(output[0], Mapping):
        return _with_known(output[0], output[1], base)
    if isinstance(output, Mapping):
        return _placed({str(k): v for k, v in output.items()}, base)
    if hasattr(output, "names") and hasattr(output, "values") and not hasattr(output, "columns") and not callable(output.values):
        return _placed(dict(zip(output.names, np.asarray(output.values).T, strict=True)), base)
    if isinstance(output, np.ndarray) or (isinstance(output, Sequence) and not isinstance(output, str)):
        table = np.asarray(output)
        if table.ndim == 1:
            return _placed({"output": table}, base)
        flat = table.reshape(len(table), -1)
        return _placed({f"output[{k}]": flat[:, k] for k in range(flat.shape[1])}, base)
    return _of_frame(output, base)


def _of_frame(output: Any, base: Candles) -> Answer:
    import narwhals as nw

    index: Any = getattr(output, "index", None)
    stamped = index is not None and getattr(getattr(index, "dtype", None), "kind", "") == "M"
    try:
        frame = nw.from_native(output, allow_series=True, eager_only=True)
    except TypeError as error:
        raise UsageError(
            f"a {type(output).__name__} came back: an audited function gives an array, columns by name, or a pandas, polars or pyarrow "
            "frame with one row a bar"
        ) from error
    if isinstance(frame, nw.Series):
        columns = {frame.name or "output": frame.to_numpy()}
    else:
        columns = {str(name): frame[name].to_numpy() for name in frame.columns}
    if stamped:
        return _placed({"open_time": np.asarray(index.tz_localize(None) if index.tz is not None else index)} | columns, base)
    return _placed(columns, base)


def _with_known(columns: Mapping[str, Any], known_at: Any, base: Candles) -> Answer:
    plain = _placed({str(k): v for k, v in columns.items()}, base)
    return Answer(plain.time_ms, plain.names, plain.values, Answer.of(plain.time_ms, columns, np.asarray(known_at)).known_ms)


def _placed(columns: dict[str, Any], base: Candles) -> Answer:
    lengths = {len(v) for v in columns.values()}
    if len(lengths) > 1:
        raise UsageError(f"columns of different lengths came back ({', '.join(map(str, sorted(lengths)))}): give one value a bar in each")
    named = next((n for n in _TIMES if n in columns and _is_time(columns[n])), None)
    if named is not None:
        stamps = _milliseconds(columns.pop(named))
        times = stamps if named in _CLOSING else base.timeframe.next(stamps)
        order = np.argsort(times, kind="stable")
        if len(times) and (np.diff(times[order]) == 0).any():
            raise UsageError(f"rows of one {named} came back more than once: give one row a bar")
        return Answer.of(times[order], {n: np.asarray(v)[order] for n, v in columns.items()})
    if lengths and lengths != {len(base)}:
        raise UsageError(
            f"{next(iter(lengths)):,} rows came back for {len(base):,} bars of {base.timeframe}, without times: give a row for every bar "
            "(NaN where unknown), or a frame with a column open_time or close_time"
        )
    return Answer.of(base.close_time, columns)


def _is_time(values: Any) -> bool:
    array = np.asarray(values)
    return array.dtype.kind == "M" or (array.dtype.kind in "iu" and len(array) > 0 and int(array[0]) > 10_000_000_000)


def _milliseconds(values: Any) -> NDArray[np.int64]:
    array = np.asarray(values)
    return array.astype("datetime64[ms]").astype(np.int64) if array.dtype.kind == "M" else array.astype(np.int64)


def _numbers(values: Any) -> NDArray[np.float64]:
    array = np.asarray(values)
    if array.dtype.kind in "OUS":  # words such as "up" and "down": a number each, the same in every run
        known = [None if v is None or v != v else v for v in array.tolist()]
        if all(v is None or isinstance(v, int | float | bool) for v in known):
            return np.array([np.nan if v is None else float(v) for v in known])
        return np.array([np.nan if v is None else float(zlib.crc32(str(v).encode())) for v in known])
    if array.dtype.kind == "M":
        return array.astype("datetime64[ms]").astype(np.int64).astype(np.float64)
    return array.astype(np.float64)
