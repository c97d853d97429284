"""From raw columns to candles: what may be left out with a note, what may be put in order, and what must be refused."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from candelabra.candles.frame import Candles, format_time
from candelabra.candles.quality import bad_rows
from candelabra.candles.raw import NO_TIME, RawCandles
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import DataError

__all__ = ["OnBad", "ReadNotes", "distinct", "frame_of", "frame_of_steps", "joined", "saved_ms", "settled", "step_counts"]

OnBad = Literal["refuse", "drop"]

_STEPS: Final = (
    "1s",
    "5s",
    "15s",
    "30s",
    "1m",
    "3m",
    "5m",
    "10m",
    "15m",
    "30m",
    "1h",
    "2h",
    "3h",
    "4h",
    "6h",
    "8h",
    "12h",
    "1d",
    "3d",
    "1w",
)
_FRAME_WORDS: Final = " (--timeframe 1h on the command line, timeframe= in Python)"
_WAY_OUT: Final = {
    "no time": "give every row its open time",
    "off grid": "is the timeframe right, are these close times, or is the time zone not UTC?",
    "not finite": "fill in the true values or delete such rows",
    "broken high/low law": "low <= min(open, close), high >= max(open, close), prices > 0 and volume >= 0 must hold; get the data again",
    "conflicting duplicate": "one bar has two different rows: keep the true one, or read one source at a time",
    "disorder": "sort the file by open time",
}


@dataclass(frozen=True)
class ReadNotes:
    """What reading left out or put right: ``lines`` for people, ``dropped`` rows by kind."""

    lines: tuple[str, ...] = ()
    dropped: tuple[tuple[str, int], ...] = ()

    def count(self, kind: str) -> int:
        """How many rows of a kind were dropped."""
        return sum(n for k, n in self.dropped if k == kind)


def frame_of(times: NDArray[np.int64], where: str, stated: Timeframe | None) -> Timeframe:
    """The timeframe by the most common step; it must agree with the one stated."""
    known = distinct(times[times != NO_TIME])
    return frame_of_steps(step_counts(known), int(known[0]) if len(known) else 0, where, stated)


def distinct(times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Times in rising order, each once; no work for files that are in order, the usual case."""
    if len(times) < 2 or bool((times[1:] > times[:-1]).all()):
        return times
    if bool((times[1:] < times[:-1]).all()):
        return times[::-1]
    ordered: NDArray[np.int64] = np.sort(times)
    fresh: NDArray[np.bool_] = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    return ordered[fresh]


def step_counts(times: NDArray[np.int64]) -> dict[int, int]:
    """How often each step lies between neighbours of rising times."""
    steps = np.diff(times)
    if len(steps) and bool((steps == steps[0]).all()):
        return {int(steps[0]): len(steps)}
    ordered = np.sort(steps)
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(ordered) else np.zeros(0, np.int64)
    counts = np.diff(np.append(starts, len(ordered)))
    return dict(zip(ordered[starts].tolist(), counts.tolist(), strict=True))


def frame_of_steps(counts: Mapping[int, int], first_ms: int, where: str, stated: Timeframe | None) -> Timeframe:
    """As :func:`frame_of`, from how often each step (ms) between neighbouring bars is there."""
    total = sum(counts.values())
    if not total:
        if stated is None:
            raise DataError(f"{where} has one bar only, which does not tell its timeframe: name it{_FRAME_WORDS}")
        return stated
    most = max(counts.values())
    step = min(s for s, n in counts.items() if n == most)
    day = 86_400_000
    if 28 * day <= step <= 31 * day:
        found: Timeframe | None = Timeframe("1M")
    else:
        found = next((Timeframe(s) for s in _STEPS if Timeframe(s).milliseconds == step), None)
    if stated is not None:
        matches = (found is not None and found.is_calendar) if stated.is_calendar else stated.milliseconds == step
        if not matches and total > 2 and not (stated.is_calendar and step % day == 0 and step > 27 * day):
            raise DataError(
                f"{where}: the bars are {_duration(step)} apart ({most} of {total} steps), not {stated}: "
                "state the true timeframe (and resample), or correct the file's name or its times"
            )
        return stated
    if found is None:
        raise DataError(
            f"{where}: the most common step between bars, {_duration(step)}, is no timeframe "
            f"({most} of {total} steps, from {format_time(first_ms)}): "
            f"are these open times of bars on a regular grid? If so, name it{_FRAME_WORDS}"
        )
    return found


def _duration(ms: int) -> str:
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)):
        if ms % size == 0:
            return f"{ms // size}{unit}"
    return f"{ms / 1000:g}s"


def joined(parts: list[RawCandles]) -> RawCandles:
    """Several files of one series as one, in order of their first bar."""
    if len(parts) == 1:
        return parts[0]

    def first(raw: RawCandles) -> int:
        known = raw.open_time[raw.open_time != NO_TIME]
        return int(known.min()) if len(known) else 0

    if len({raw.source for raw in parts}) > 1:
        raise DataError(
            f"{parts[0].symbol} {parts[0].timeframe}: some of {', '.join(p.files[0] for p in parts)} are resampled and others not"
        )
    parts = sorted((_oldest_first(p)[0] for p in parts), key=first)
    names = ("open_time", "open", "high", "low", "close", "volume", "missing", "row")
    columns: dict[str, Any] = {name: np.concatenate([getattr(p, name) for p in parts]) for name in names}
    file = np.repeat(np.arange(len(parts), dtype=np.int32), [len(p) for p in parts])
    spans = [p.span for p in parts if p.span is not None]
    span = (min(s[0] for s in spans), max(s[1] for s in spans)) if len(spans) == len(parts) else None
    simulated = any(p.simulated for p in parts)
    files = tuple(p.files[0] for p in parts)
    lines = tuple(p.first_lines[0] if p.first_lines else 0 for p in parts)
    notes = tuple(dict.fromkeys(note for p in parts for note in p.notes))
    whole = replace(parts[0], files=files, first_lines=lines, notes=notes, file=file, span=span, simulated=simulated, **columns)
    # Files may overlap; rows out of order inside one file are a finding and stay where they are.
    if all((np.diff(p.open_time) >= 0).all() for p in parts):
        whole = whole.rows(np.argsort(whole.open_time, kind="stable"))
    return whole


def settled(raw: RawCandles, on_bad: OnBad, now_ms: int, notes: list[str], dropped: dict[str, int], *, copy: bool = True) -> Candles:
    """Raw columns as candles: repeats and the forming bar left out, the rest refused or dropped when it is no candle.

    ``copy=False``: the columns are nobody else's, and become those of the candles.
    """
    what = f"{raw.symbol} {raw.timeframe}"
    notes += raw.notes

    def left_out(kind: str, count: int, line: str) -> None:
        dropped[kind] = dropped.get(kind, 0) + count
        notes.append(f"{what}: {line}")

    raw, turned = _oldest_first(raw)
    if turned:
        notes.append(f"{what}: {raw.files[0]} is written newest first; it was turned round")
    future = raw.open_time > now_ms
    if future.any():
        at = int(np.argmax(future))
        raise DataError(
            f"{raw.where(at)}: this bar opens in the future ({int(future.sum())} such rows): is the unit or the zone of its times wrong?"
        )
    if len(raw):
        newest = int(np.argmax(raw.open_time))
        opened = int(raw.open_time[newest])
        closes = int(raw.timeframe.next(opened)) if opened != NO_TIME else opened
        saved = saved_ms(raw.files[int(raw.file[newest])])
        if closes > now_ms or opened <= saved < closes:
            why = "is still open" if closes > now_ms else f"was still open when the file was saved ({format_time(saved)})"
            left_out("forming", 1, f"the bar of {format_time(opened)} {why} and was left out")
            raw = raw.rows(raw.open_time != opened)
    bad = bad_rows(raw)
    same = bad.pop("identical duplicate")
    for kind, mask in bad.items():
        if on_bad == "refuse" and mask.any():
            at = int(np.argmax(mask))
            twin = ""
            if kind == "conflicting duplicate":
                other = int(np.flatnonzero(raw.open_time == raw.open_time[at])[-1])
                twin = f"; against {raw.where(other)}: {raw.describe(other)}"
            raise DataError(
                f"{raw.where(at)}: {kind}: {raw.describe(at)}{twin} ({int(mask.sum())} such rows of {len(raw)}): {_WAY_OUT[kind]}; "
                '`candelabra check` lists all, --on-bad drop (on_bad="drop" in Python) leaves them out'
            )
    disorder = int(bad.pop("disorder").sum())
    keep = ~same
    if same.any():
        left_out("identical duplicate", int(same.sum()), f"{int(same.sum())} rows that repeat another exactly were left out, the first at "
                 f"{raw.where(int(np.argmax(same)))}")  # fmt: skip
    for kind, mask in bad.items():
        count = int((mask & keep).sum())
        if count:
            left_out(kind, count, f"{count} rows were left out ({kind}), the first: {raw.where(int(np.argmax(mask & keep)))}")
        keep &= ~mask
    if not keep.any():
        raise DataError(f"{', '.join(raw.files)}: no row of {what} is a valid candle ({len(raw)} rows read): `candelabra check` says why")
    raw = raw if keep.all() else raw.rows(keep)
    if disorder:
        notes.append(f"{what}: {disorder} rows were out of order and were sorted")
        raw = raw.rows(np.argsort(raw.open_time, kind="stable"))
    span = raw.span
    if span is not None and not (span[0] <= raw.open_time[0] and raw.timeframe.next(raw.open_time[-1]) <= span[1]):
        span = None
    if not copy and raw.source in (None, raw.timeframe):
        # `bad_rows` has looked at every row for what `Candles.of` would look for again.
        own = [np.ascontiguousarray(v) for v in raw.values()]
        time, lost = np.ascontiguousarray(raw.open_time), np.ascontiguousarray(raw.missing)
        return Candles.sealed(raw.symbol, raw.timeframe, time, own, lost, raw.timeframe, span, raw.simulated)
    open_, high, low, close, volume = raw.values()
    columns = (raw.open_time, open_, high, low, close, volume, raw.missing)
    return Candles.of(raw.symbol, raw.timeframe, *columns, source=raw.source, span=span, simulated=raw.simulated, copy=copy)


def _oldest_first(raw: RawCandles) -> tuple[RawCandles, bool]:
    """A file written newest first, turned round."""
    steps = np.diff(raw.open_time)
    if len(steps) and (steps <= 0).all() and (steps < 0).any() and not (raw.open_time == NO_TIME).any():
        return raw.rows(slice(None, None, -1)), True
    return raw, False


def saved_ms(file: str) -> int:
    """When a file was last written: a bar open then was not closed in it (a later time proves nothing, as copying renews it)."""
    for place in (file, os.path.dirname(file)):  # a file inside an archive has no time of its own
        if os.path.isfile(place):
            with contextlib.suppress(OSError):
                return int(os.stat(place).st_mtime * 1000)
    return NO_TIME
