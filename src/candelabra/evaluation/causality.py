"""The audit: change what comes later, look at what was known before; then shocks to the newest bar, and candles one by one.

A finding names the column, the first output that moved and the distance: found by bisection on which later bar still moves it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import CandelabraError, UsageError
from candelabra.evaluation.answers import Answer, moved
from candelabra.evaluation.findings import Audit, Finding, Law
from candelabra.evaluation.staleness import audit_fresh
from candelabra.evaluation.streaming import audit_stream
from candelabra.evaluation.subject import Effort, Subject
from candelabra.evaluation.worlds import RESHAPING, World

__all__ = ["Probe", "audit", "audit_future", "moments", "quietly"]

T = TypeVar("T")

_DAY_MS: Final = 86_400_000


@dataclass(frozen=True)
class _Case:
    """A change that moved a column: its first row, the time after which all was changed, how, and the seed of the change."""

    row: int
    time_ms: int
    way: str
    seed: int


@dataclass(eq=False)
class Probe:
    """A subject on a world, with its undisturbed answer, everything tried so far, and answers already computed."""

    subject: Subject
    world: World
    base: Answer
    seed: int
    spread: NDArray[np.float64]
    tried: dict[str, int]
    notes: list[str]
    delays: dict[tuple[int, int, str | None], NDArray[np.int64] | None] = field(default_factory=dict)
    """How late each column heard of a shock, by its time, number and part: many columns ask about the same one."""

    @classmethod
    def start(cls, subject: Subject, world: World, seed: int = 0) -> Probe:
        """The undisturbed answer; UsageError when there is nothing in it to look at."""
        try:
            base = quietly(lambda: subject.answer(world))
        except CandelabraError:
            raise
        except Exception as error:
            raise UsageError(
                f"{subject.name} raised {type(error).__name__} on the candles as they are ({str(error)[:200]}), so nothing can be audited: "
                "try it on them first, and look at what it takes"
            ) from error
        if not base.values.size or not np.isfinite(base.values).any():
            raise UsageError(f"{subject.name} gave no value for {len(world.times):,} bars: give more candles, or look at what it returns")
        with np.errstate(invalid="ignore"):
            spread = np.array([np.std(c[np.isfinite(c)]) if np.isfinite(c).any() else 0.0 for c in base.values.T])
        return cls(subject, world, base, seed, spread, {}, [])

    def ask(self, what: str, world: World, *, note: bool = True) -> Answer | None:
        """The answer on another world; None, with a note, when the subject refuses it (too few bars in the first rows are no news)."""
        self.tried[what] = self.tried.get(what, 0) + 1
        try:
            return quietly(lambda: self.subject.answer(world))
        except CandelabraError as error:
            said = f"{what}: refused, so not judged ({str(error)[:120]})"
        except Exception as error:
            said = f"{what}: raised {type(error).__name__}, so not judged ({str(error)[:120]})"
        if note:
            self.note(said)
        return None

    def note(self, text: str) -> None:
        """Something that could not be judged, in words."""
        if not any(n.partition(":")[0] == text.partition(":")[0] for n in self.notes):  # one a way is enough
            self.notes.append(text)

    def moved(self, after: Answer, upto_ms: int, way: str) -> NDArray[np.bool_]:
        """Which values known by a time differ from the undisturbed answer."""
        return moved(self.base, after, upto_ms, self.subject.tolerance(way), self.spread)

    def row(self, time_ms: int) -> int:
        """The world's last bar known by a time."""
        return int(np.searchsorted(self.world.times, time_ms, "right")) - 1


def quietly(call: Callable[[], T]) -> T:
    """``call()`` without warnings: flat prices divide by zero in many a function, and where warnings are errors that would end the run."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return call()


def audit(subject: Subject, world: World, *, effort: Effort | None = None, seed: int = 0) -> Audit:
    """Everything that can be asked of something that gives numbers: point in time, fresh, stream equals batch.

    UsageError when the subject gives nothing to look at.
    """
    chosen = effort or Effort()
    probe = Probe.start(subject, world, seed)
    again = probe.ask("asked again", world)
    findings: list[Finding] = []
    if again is not None and (unlike := moved(probe.base, again, int(np.iinfo(np.int64).max))).any():
        for column in np.flatnonzero(unlike.any(axis=0)):
            first = int(np.argmax(unlike[:, column]))
            detail = "asked twice, it answers differently: it keeps a state or draws at random, and nothing else can be judged"
            findings.append(
                Finding(subject.name, "stream", probe.base.names[column], None, world.unit, int(probe.base.time_ms[first]), detail=detail)
            )
    else:
        findings += audit_future(probe, chosen)
        leaking = {f.column for f in findings}
        findings += audit_fresh(probe, chosen)
        findings += [f for f in audit_stream(probe, chosen) if f.column not in leaking]
    rows, columns = probe.base.values.shape
    notes = tuple(probe.notes)
    return Audit(subject.name, tuple(findings), probe.tried, notes, columns, rows, seed, world.fingerprint, subject.code)


def moments(answer: Answer, effort: Effort) -> list[int]:
    """Times after which everything is changed: some in the first bars, where what was filled backwards shows; the others spread out, at
    different hours of the day, so that no coarser bar hides by closing just then; and the last but one.
    """
    if effort.at:
        return sorted(effort.at)
    times = answer.time_ms
    rows = {row for row in (3, 12, 60, 300)[: effort.early] if row < len(times) // 3}
    for k, row in enumerate(np.linspace(0.3 * len(times), max(0, len(times) - 2), max(1, effort.moments))):
        wanted = _DAY_MS * (2 * k + 1) // (2 * max(1, effort.moments))
        near = np.arange(int(row), min(len(times) - 1, int(row) + 200))
        off = (times[near] - wanted) % _DAY_MS if len(near) else np.zeros(0)
        rows.add(int(near[int(np.argmin(off))]) if len(near) and k < effort.moments - 1 else int(row))
    return [int(times[row]) for row in sorted(rows) if row < len(times)]


def audit_future(probe: Probe, effort: Effort) -> list[Finding]:
    """Columns that read what came later: for each the largest distance seen, with the first output that moved."""
    subject, world = probe.subject, probe.world
    ways = [w for w in effort.ways or subject.ways if w in subject.ways]
    seen: dict[int, list[_Case]] = {}
    end = int(world.times[-1])
    for k, time in enumerate(moments(probe.base, effort)):
        for way in ways:
            if way == "append" and k:
                continue
            upto = end if way == "append" else time
            after = probe.ask(way, world.changed(way, upto, seed=probe.seed + k), note=k >= effort.early)
            if after is None:
                continue
            found = probe.moved(after, upto, way)
            for column in np.flatnonzero(found.any(axis=0)):
                seen.setdefault(int(column), []).append(_Case(int(np.argmax(found[:, column])), upto, way, probe.seed + k))
    answers: dict[tuple[str, int, int], Answer | None] = {}

    def ask(way: str, after_ms: int, seed: int) -> Answer | None:
        if (way, after_ms, seed) not in answers:
            answers[way, after_ms, seed] = probe.ask("bisection", world.changed(way, after_ms, seed=seed))
        return answers[way, after_ms, seed]

    findings = []
    for count, (place, cases) in enumerate(sorted(seen.items())):
        if effort.told and count >= effort.told:
            name, time = probe.base.names[place], int(probe.base.time_ms[cases[0].row])
            findings.append(Finding(subject.name, "future", name, None, world.unit, time, way=cases[0].way))
            continue
        measured = cases[:1] if count >= effort.measured else _telling(cases)
        findings.append(max((_measure(probe, place, case, ask) for case in measured), key=_tells))
    return findings


def _tells(finding: Finding) -> tuple[int, bool, bool]:
    """The largest distance first; of equal ones what was measured inside the history, by a change of values."""
    return finding.bars or 0, not finding.to_the_end, finding.way not in RESHAPING


def _telling(cases: list[_Case]) -> list[_Case]:
    """Of each moment one case, by the change that says most; at most four moments, those whose first moved row lies furthest back first."""
    order = ("values", "mirror", "shuffle", "constant", "nan", "revise", "cut", "drop", "append")
    best: dict[int, _Case] = {}
    for case in sorted(cases, key=lambda c: order.index(c.way)):
        best.setdefault(case.time_ms, case)
    return list(dict.fromkeys([*sorted(best.values(), key=lambda c: -c.row)[:2], *sorted(best.values(), key=lambda c: c.row)[:2]]))


def _measure(probe: Probe, column: int, case: _Case, ask: Callable[[str, int, int], Answer | None]) -> Finding:
    """How far the value at the case's row reads: the last bar whose change, with all after it, still moves it."""
    row, way = case.row, case.way
    times = probe.world.times
    known = int(probe.base.known_ms[row, column])
    own = probe.row(known)
    law: Law = "label" if known > probe.base.time_ms[row] else "future"
    name, stamp = probe.base.names[column], int(probe.base.time_ms[row])
    bisect = "cut" if way in RESHAPING else way
    low, high = max(probe.row(case.time_ms), own), len(times) - 1

    def moves(after: int) -> bool:
        answer = ask(bisect, int(times[after]), case.seed)
        return answer is not None and bool(probe.moved(answer, known, bisect)[row, column])

    if way == "append" and not moves(low):
        detail = "bars added behind the newest move it: it depends on how many there are"
        return Finding(probe.subject.name, law, name, high - own, probe.world.unit, stamp, True, way, detail)
    if low >= high or not moves(low):
        detail = f"it moves when later bars are changed ({way}), by an amount no single bar explains"
        return Finding(probe.subject.name, law, name, None, probe.world.unit, stamp, False, way, detail)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if moves(middle) else (low, middle)
    return Finding(probe.subject.name, law, name, low + 1 - own, probe.world.unit, stamp, low + 1 == len(times) - 1, way)
