"""Times of any unit and spelling as ms UTC: the form is decided once for a whole file and then held to."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import format_time
from candelabra.candles.raw import NO_TIME
from candelabra.errors import DataError, UsageError
from candelabra.sources.layout import Told

__all__ = ["TimeReader", "is_text"]

_FORMATS: Final = (
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d",
    "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y-%m-%d %I-%p", "%Y-%m-%d %I:%M %p",
    "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%m/%d/%Y", "%d/%m/%Y",
    "%m/%d/%Y %I:%M %p", "%d/%m/%Y %I:%M %p", "%d.%m.%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y",
    "%d-%m-%Y %H:%M", "%m-%d-%Y %H:%M", "%d-%m-%Y", "%m-%d-%Y", "%d-%m-%y %H:%M", "%y-%m-%d %H:%M", "%b %d, %Y", "%d %b %Y",
)  # fmt: skip
# Years 1990 to 2200 in s, ms, us and ns: the ranges do not overlap.
_UNITS: Final = tuple((10**k, 631_152_000 * 10**k, 7_258_118_400 * 10**k) for k in (0, 3, 6, 9))
_MOST_MS: Final = 7_258_118_400_000


def is_text(kind: Any) -> bool:
    """Whether an Arrow type holds text."""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


@dataclass
class TimeReader:
    """Turns the time column of one member into ms UTC, batch by batch; the unit or spelling of the first batch holds for all.

    Text without a zone counts as UTC, or as ``told.time_zone``. ``lenient`` gives ``NO_TIME`` for what cannot be read instead of raising
    DataError. ``undecided`` says that the spelling fits two readings so far: then :meth:`look` at the rest of the file first.
    """

    name: str
    where: str
    told: Told
    lenient: bool = False
    _unit: int = 0
    _scores: dict[str, int] | None = None
    _spelling: str = ""

    def __post_init__(self) -> None:
        self._scores = {}

    def look(self, column: Any) -> None:
        """Count which spellings fit these texts."""
        flat = _trimmed(column)
        if len(flat) == flat.null_count or self._scores is None:
            return
        for spelling in _spellings() if not self._scores else [s for s, n in self._scores.items() if n]:
            fitting = len(flat) - _read(flat, spelling).null_count
            self._scores[spelling] = self._scores.get(spelling, 0) + fitting

    @property
    def undecided(self) -> bool:
        """Whether several spellings fit equally well."""
        return not self._spelling and self.told.time_format is None and len(self._best()) > 1

    def read(self, column: Any) -> NDArray[np.int64]:
        """Times in ms UTC ``(n,)``, ``NO_TIME`` where absent."""
        import pyarrow as pa
        import pyarrow.compute as pc

        flat = _flat(column)
        if is_text(flat.type):
            return self._text(_trimmed(flat))
        kind = flat.type
        if self.told.time_format is not None and pa.types.is_integer(kind):
            return self._text(_trimmed(pc.cast(flat, pa.string())))
        if pa.types.is_null(kind):
            return np.full(len(flat), NO_TIME, np.int64)
        if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
            zone = getattr(kind, "tz", None)
            return self._placed(pc.cast(flat, pa.timestamp("ms", zone), safe=False))
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            return self._epoch(flat)
        raise DataError(f"{self.where}: column {self.name!r} of type {kind} is not a time: give dates, or s, ms, us or ns since 1970 (UTC)")

    def _text(self, flat: Any) -> NDArray[np.int64]:
        import pyarrow as pa
        import pyarrow.compute as pc

        if self.told.time_format is not None:
            stamps = _as_told(flat, self.told.time_format)
            spelling = self.told.time_format
        else:
            if not self._spelling:
                self.look(flat)
                self._spelling = self._chosen(flat)
            spelling = self._spelling
            stamps = _read(flat, spelling) if spelling else pa.nulls(len(flat), pa.timestamp("ms"))
        if not self.lenient and stamps.null_count > flat.null_count:
            row = int(np.argmax(np.asarray(pc.and_(pc.is_null(stamps), pc.is_valid(flat)).to_numpy(zero_copy_only=False))))
            what = f"is not written as {spelling}" if self.told.time_format else "has dates in no single known form, such as"
            raise DataError(
                f"{self.where}: column {self.name!r} {what} {flat[row].as_py()!r}: write them as 2024-03-13 17:45:00, or tell their form "
                "(--time-format '%d.%m.%Y %H:%M')"
            )
        if pa.types.is_integer(stamps.type) or pa.types.is_floating(stamps.type):
            return self._epoch(stamps)
        return self._placed(stamps)

    def _best(self) -> list[str]:
        scores = self._scores or {}
        most = max(scores.values(), default=0)
        return [s for s, n in scores.items() if n == most and n]

    def _chosen(self, flat: Any) -> str:
        """The spelling that fits most rows; two that fit equally well may not disagree."""
        import pyarrow as pa
        import pyarrow.compute as pc

        best = self._best()
        readings: dict[int, str] = {}
        example, guesses = "", []
        for spelling in best:
            times = _read(flat, spelling)
            if pa.types.is_integer(times.type) or pa.types.is_floating(times.type) or spelling.startswith("ISO"):
                return spelling
            known = np.flatnonzero(np.asarray(pc.is_valid(times).to_numpy(zero_copy_only=False)))
            if not len(known):
                continue
            stamp = int(pc.cast(times, pa.int64())[int(known[0])].as_py())
            if stamp not in readings:
                readings[stamp] = spelling
                example = example or str(flat[int(known[0])].as_py())
                guesses.append(format_time(stamp))
        if len(guesses) > 1 or (len(readings) == 1 and len(best) > 1):
            raise DataError(
                f"{self.where}: column {self.name!r} can be read in two ways: {example!r} as {' or '.join(guesses)} ({', '.join(best)}): "
                "write dates as 2024-03-13 17:45:00, or tell their form (--time-format '%d/%m/%Y %H:%M')"
            )
        return next(iter(readings.values()), "")

    def _epoch(self, flat: Any) -> NDArray[np.int64]:
        import pyarrow as pa
        import pyarrow.compute as pc

        known = np.asarray(pc.is_valid(flat).to_numpy(zero_copy_only=False), dtype=np.bool_)
        if pa.types.is_integer(flat.type):
            if flat.type == pa.uint64():
                flat = pc.cast(flat, pa.int64(), safe=False)
            number = np.asarray((pc.fill_null(flat, 0) if flat.null_count else flat).to_numpy(zero_copy_only=False)).astype(
                np.int64, copy=False
            )
            scale = 1
        else:
            real = np.array(
                pc.fill_null(pc.cast(flat, pa.float64(), safe=False), float("nan")).to_numpy(zero_copy_only=False), dtype=np.float64
            )
            known &= np.isfinite(real) & (np.abs(np.where(np.isfinite(real), real, 0.0)) < 9e18)
            # Milliseconds are whole numbers below 2^53; fractions of a second would be lost without the scaling.
            seconds = self._unit == 1 or (not self._unit and known.any() and float(np.median(real[known])) < _UNITS[0][2])
            scale = 1000 if seconds else 1
            number = np.round(np.where(known, real, 0.0) * (scale if seconds else 1)).astype(np.int64)
        return self._scaled(number, known, scale)

    def _scaled(self, number: NDArray[np.int64], known: NDArray[np.bool_], scale: int) -> NDArray[np.int64]:
        out = np.full(len(number), NO_TIME, np.int64)
        if not known.any():
            return out
        some = number if known.all() else number[known]
        if not self._unit:
            middle = float(np.median(some)) / scale
            self._unit = next((factor for factor, low, high in _UNITS if low <= middle < high), 0)
            if not self._unit:
                raise DataError(
                    f"{self.where}: column {self.name!r} holds {int(some[0]) // scale}, no time between 1990 and 2200 in s, ms, us "
                    "or ns since 1970: is this the open time?"
                )
        factor, low, high = next(u for u in _UNITS if u[0] == self._unit)
        if scale > 1:
            low, high = low * scale, high * scale
        if int(some.min()) < low or int(some.max()) >= high:
            wrong = known & ((number < low) | (number >= high))
            if not self.lenient:
                row = int(np.argmax(wrong))
                like = int(some[0]) // scale
                raise DataError(
                    f"{self.where}: column {self.name!r} changes its unit: row {row} holds {int(number[row]) // scale} where most are like "
                    f"{like}: write one unit (s, ms, us or ns since 1970) throughout"
                )
            known = known & ~wrong
            some = number[known]
        if factor == 1:
            some = some if scale > 1 else some * 1000
        elif factor > 1000:
            some = some // (factor // 1000)
        if known.all():
            return np.array(some)
        out[known] = some
        return out

    def _placed(self, stamps: Any) -> NDArray[np.int64]:
        """Timestamps as ms UTC; local ones by the zone told, ``NO_TIME`` where a local time happened twice or never."""
        import pyarrow as pa
        import pyarrow.compute as pc

        stamps = pc.cast(stamps, pa.timestamp("ms", stamps.type.tz), safe=False)
        zone = self.told.time_zone
        if zone is None or zone.upper() == "UTC" or stamps.type.tz is not None:
            return _bounded(np.array(pc.fill_null(pc.cast(stamps, pa.int64()), NO_TIME).to_numpy(zero_copy_only=False), dtype=np.int64))
        early = pc.assume_timezone(stamps, zone, ambiguous="earliest", nonexistent="earliest")
        late = pc.assume_timezone(stamps, zone, ambiguous="latest", nonexistent="latest")
        first, last = (
            np.array(pc.fill_null(pc.cast(t, pa.int64()), NO_TIME).to_numpy(zero_copy_only=False), np.int64) for t in (early, late)
        )
        doubtful = first != last
        if doubtful.any() and not self.lenient:
            at = int(np.argmax(doubtful))
            raise DataError(
                f"{self.where}: row {at}: {stamps[at].as_py()} happened twice or never in {zone} (the clocks were changed): "
                "write times in UTC"
            )
        return _bounded(np.where(doubtful, NO_TIME, first))


def _bounded(times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Times outside the years 1 to 2200 are none: nothing may overflow later."""
    return np.where((times > -62_135_596_800_000) & (times < _MOST_MS), times, NO_TIME)


def _flat(column: Any) -> Any:
    import pyarrow as pa

    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(flat, pa.ChunkedArray):
        flat = pa.concat_arrays(flat.chunks) if flat.num_chunks else pa.array([], flat.type)
    return flat.dictionary_decode() if pa.types.is_dictionary(flat.type) else flat


def _trimmed(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    flat = pc.utf8_trim_whitespace(pc.cast(_flat(column), pa.string()))
    return pc.if_else(pc.equal(flat, ""), pa.scalar(None, pa.string()), flat)


def _spellings() -> tuple[str, ...]:
    return ("whole number", "number", "ISO UTC", "ISO", *_FORMATS)


def _read(flat: Any, spelling: str) -> Any:
    """Text read in one spelling, null where it does not fit."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = {"whole number": pa.int64(), "number": pa.float64(), "ISO UTC": pa.timestamp("us", "UTC"), "ISO": pa.timestamp("us")}.get(
        spelling
    )
    if kind is None:
        return pc.strptime(flat, format=spelling, unit="ms", error_is_null=True)
    try:
        return pc.cast(flat, kind)
    except pa.ArrowInvalid:
        pass
    pattern = {
        "whole number": r"^\d{1,18}$", "number": r"^\d{1,18}\.\d*$",
        "ISO UTC": r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)$",
        "ISO": r"^\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?$",
    }[spelling]  # fmt: skip
    fitting = pc.if_else(pc.match_substring_regex(flat, pattern), flat, pa.scalar(None, pa.string()))
    try:
        return pc.cast(fitting, kind)
    except pa.ArrowInvalid:
        return pa.array([_one(v, kind) for v in fitting.to_pylist()], kind)


def _one(value: str | None, kind: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return None if value is None else pc.cast(pa.scalar(value), kind).as_py()
    except pa.ArrowInvalid:
        return None


def _as_told(flat: Any, form: str) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not any(mark in form for mark in ("%f", "%z", "%Z")):
        try:
            return pc.strptime(flat, format=form, unit="ms", error_is_null=True)
        except pa.ArrowInvalid as error:
            raise UsageError(f"--time-format {form!r} is no form of a date: {error}") from error
    out = []
    for value in flat.to_pylist():
        try:
            out.append(None if value is None else datetime.datetime.strptime(value, form))
        except ValueError:
            out.append(None)
    aware = any(t is not None and t.tzinfo is not None for t in out)
    return pa.array(
        [t if t is None or not aware else t.astimezone(datetime.UTC) for t in out], pa.timestamp("ms", "UTC" if aware else None)
    )
