"""The dual of causality: a shock to the newest closed bar of each timeframe must be heard at once, else the output is *k* bars late."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from candelabra.evaluation.answers import Answer
from candelabra.evaluation.findings import Finding
from candelabra.evaluation.subject import Effort
from candelabra.evaluation.worlds import Market

if TYPE_CHECKING:
    from candelabra.evaluation.causality import Probe

__all__ = ["audit_fresh"]

_PERIODS: Final = (7 * 86_400_000, 86_400_000, 4 * 3_600_000, 3_600_000)
_MONDAY_MS: Final = 4 * 86_400_000
_NEVER: Final = np.iinfo(np.int64).max
_FEW: Final = 12
_SURE: Final = 3


def audit_fresh(probe: Probe, effort: Effort) -> list[Finding]:
    """Columns that hear of a bar later than they declare, and timeframes whose newest bar nothing hears of in time.

    Each bar shocked is one at which as many timeframes close as possible (a Monday's or a day's midnight), so that a coarse column is not
    called late for waiting until its own bar has closed. A column that no shock moves is named in a note: it may know only the calendar.
    """
    if probe.subject.fresh == "no":
        return []
    delay, heard = _delays(probe, effort, None, _positions(probe, effort, None))
    delay, heard = _insisted(probe, effort, delay, heard)
    names, unit, subject = probe.base.names, probe.world.unit, probe.subject
    silent = [names[c] for c in np.flatnonzero(delay == _NEVER) if subject.delays.get(names[c], 0) >= 0]
    if silent and subject.fresh == "each":  # where any output is enough, the search ends with the first that hears
        shown = ", ".join(silent[:6]) + (f" and {len(silent) - 6} more" if len(silent) > 6 else "")
        probe.notes.append(f"hears of no shock to a single bar, so its freshness is not judged: {shown}")
    findings = []
    if subject.fresh == "any":
        late = int(delay.min(initial=_NEVER))
        if late == _NEVER:
            findings.append(Finding(subject.name, "stale", "every output", None, unit, way="shock"))
        elif late > 0:
            findings.append(Finding(subject.name, "stale", "every output", late, unit, way="shock"))
    else:
        for column, name in enumerate(names):
            due, late = subject.delays.get(name, 0), int(delay[column])
            if late in (_NEVER, due) or due < 0:
                continue
            if _discrete(probe.base.values[:, column]) and heard[column] < _SURE:
                probe.notes.append(f"{name} takes few values and heard of {heard[column]} shocks: its freshness is not judged")
                continue
            detail = f"its name says {due}" if due else ""
            findings.append(Finding(subject.name, "stale", name, late, unit, way="shock", detail=detail))
    if isinstance(probe.world, Market) and len(probe.world.parts) > 1 and not findings:
        findings += _by_timeframe(probe, effort)
    return findings


def _by_timeframe(probe: Probe, effort: Effort) -> list[Finding]:
    findings = []
    for part in probe.world.parts:
        delay, _ = _delays(probe, effort, part, _positions(probe, effort, part))
        late = int(delay.min(initial=_NEVER))
        if late == _NEVER:
            probe.notes.append(f"nothing hears of the {part} candles that were given")
        elif late > 0:
            findings.append(Finding(probe.subject.name, "stale", f"what reads the {part} candles", late, probe.world.unit, way="shock"))
    return findings


def _insisted(
    probe: Probe, effort: Effort, delay: NDArray[np.int64], heard: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The same after many more shocks, for columns that seem late: a rare event (a swing high) hears of the newest bar when it is due."""
    names, values = probe.base.names, probe.base.values
    for column in np.flatnonzero((delay > 0) & (delay < _NEVER)):
        due = probe.subject.delays.get(names[column], 0)
        if due < 0 or delay[column] <= due:
            continue
        known = np.flatnonzero(np.isfinite(values[:, column]))
        usual = np.median(values[known, column])
        rare = known[values[known, column] != usual] if _discrete(values[:, column]) else known
        rows = np.unique(np.concatenate([rare[-2 * effort.positions :], known[-effort.positions :]]))[::-1]
        more, again = _delays(probe, effort, None, [int(t) for t in probe.base.time_ms[rows]], int(column))
        delay, heard = np.minimum(delay, more), heard + again
    return delay, heard


def _delays(
    probe: Probe, effort: Effort, part: str | None, positions: list[int], column: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fewest bars from a shock to the first row at or after it that moves, and how many shocks were heard: per column.

    Ends as soon as every column (or the one asked about, or any where that is enough) has heard of a bar at once.
    """
    columns = probe.base.values.shape[1]
    delay, heard = np.full(columns, _NEVER), np.zeros(columns, np.int64)
    for at in positions:
        for number in range(len(effort.sizes) + 1):
            late = _late(probe, effort, at, number, part)
            if late is None:
                continue
            delay = np.minimum(delay, late)
            heard += late < _NEVER
            if _enough(probe, delay, part, column):
                return delay, heard
    return delay, heard


def _late(probe: Probe, effort: Effort, at: int, number: int, part: str | None) -> NDArray[np.int64] | None:
    """How late each column hears of a shock; None where the subject refuses it."""
    if (at, number, part) not in probe.delays:
        if number < len(effort.sizes):
            world = probe.world.shocked(at, effort.sizes[number], part)
        else:  # one change of the entire bar, for what reads its open alone; the others leave the open where it was
            world = probe.world.changed("values", at - 1, until_ms=at, part=part, seed=probe.seed)
        after = probe.ask("shock", world)
        probe.delays[at, number, part] = None if after is None else _first_moved(probe, after, at)
    return probe.delays[at, number, part]


def _enough(probe: Probe, delay: NDArray[np.int64], part: str | None, column: int | None) -> bool:
    if column is not None:
        return bool(delay[column] == 0)
    if probe.subject.fresh == "any" or part is not None:
        return bool((delay == 0).any())
    due = np.array([probe.subject.delays.get(name, 0) >= 0 for name in probe.base.names])
    return bool((delay[due] == 0).all())


def _first_moved(probe: Probe, after: Answer, at: int) -> NDArray[np.int64]:
    found = probe.moved(after, _NEVER, "values")
    found &= (probe.base.time_ms >= at)[:, None]
    late = np.full(found.shape[1], _NEVER)
    for column in np.flatnonzero(found.any(axis=0)):
        time = int(probe.base.time_ms[int(np.argmax(found[:, column]))])
        late[column] = probe.row(time) - probe.row(at)
    return late


def _positions(probe: Probe, effort: Effort, part: str | None) -> list[int]:
    """Times of rows to shock: in the later half those at which the longest bars close, some where none does, and the newest.

    Where a coarse bar closes, a ratio of two timeframes can stand still because both move alike; in between it cannot.
    """
    times = probe.base.time_ms
    known = np.flatnonzero(np.isfinite(probe.base.values).any(axis=1))
    later = times[known[len(known) // 2 :]]
    if part is not None and isinstance(probe.world, Market):
        later = later[np.isin(later, probe.world.candles[part].close_time)]
    rank = np.zeros(len(later))
    for weight, period in enumerate(reversed(_PERIODS)):
        rank[(later - (_MONDAY_MS if period > 86_400_000 else 0)) % period == 0] = weight + 1
    half = max(1, effort.positions // 2)
    best = later[np.lexsort((-later, -rank))][:half]
    plain = later[np.lexsort((-later, rank))][: max(1, effort.positions - half - 1)]
    return [int(t) for t in dict.fromkeys([*probe.subject.shocked_at, *best.tolist(), *plain.tolist(), *later[-1:].tolist()])]


def _discrete(values: NDArray[np.float64]) -> bool:
    return len(np.unique(values[np.isfinite(values)])) <= _FEW
