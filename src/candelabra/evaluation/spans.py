"""Labels and splits: no target used in a part may reach into the next one, no look-back into one it must not see."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from candelabra.errors import UsageError
from candelabra.evaluation.findings import Audit, Finding

__all__ = ["audit_split"]

Rows = NDArray[np.int64]


def audit_split(
    name: str,
    parts: Mapping[str, Rows],
    time_ms: NDArray[np.int64],
    known_ms: NDArray[np.int64],
    *,
    unit_ms: int,
    unit: str = "bar",
    embargo_ms: int = 0,
    look_back_ms: int | None = None,
) -> Audit:
    """Whether purge and embargo hold between the parts of a split, whatever their order in time.

    ``parts``: row numbers by name; ``time_ms`` ``(rows,)``: decision times; ``known_ms`` ``(rows,)`` or ``(rows, targets)``: when each
    target became known (a row counts with its last one). A row used in a part must have its target known by the first decision of the
    next. ``embargo_ms``: the least time between the last decision before a part and its first. ``look_back_ms``: how far inputs reach
    back; when given, rows *after* a test part may not look into it or at what its targets needed (combinatorial splits). The distance is
    the worst one, in bars of ``unit_ms``.
    """
    known = known_ms.max(axis=1) if known_ms.ndim == 2 else known_ms
    if len(known) != len(time_ms):
        raise UsageError(f"{name}: {len(known)} known_at for {len(time_ms)} decision times: give one for each row")
    findings = [*_doubled(name, parts, time_ms, unit), *_ahead(name, parts, time_ms, known, unit_ms, unit, embargo_ms)]
    if look_back_ms is not None:
        findings += _back(name, parts, time_ms, known, unit_ms, unit, look_back_ms + embargo_ms)
    tried = {"pairs of parts": len(parts) * (len(parts) - 1), "rows": int(sum(len(r) for r in parts.values()))}
    return Audit(name, tuple(findings), tried, (), len(parts), len(time_ms))


def _doubled(name: str, parts: Mapping[str, Rows], time_ms: NDArray[np.int64], unit: str) -> list[Finding]:
    found = []
    for (a, one), (b, two) in ((p, q) for i, p in enumerate(parts.items()) for q in list(parts.items())[i + 1 :]):
        both = np.intersect1d(one, two)
        if len(both):
            detail = f"{len(both):,} rows are in {a} and in {b}"
            found.append(Finding(name, "split", a, len(both), unit, int(time_ms[both[0]]), way="rows in two parts", detail=detail))
    return found


def _runs(rows: Rows) -> list[Rows]:
    """Stretches of consecutive rows: a part of a combinatorial split has several."""
    return [run for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1) if len(run)]


def _ahead(
    name: str, parts: Mapping[str, Rows], time_ms: NDArray[np.int64], known: NDArray[np.int64], unit_ms: int, unit: str, embargo_ms: int
) -> list[Finding]:
    """For each stretch of rows, against the stretch of another part that follows it."""
    stretches: list[tuple[int, str, Rows]] = sorted(
        ((int(run[0]), part, run) for part, rows in parts.items() for run in _runs(np.sort(rows))), key=lambda s: s[0]
    )
    found: dict[str, Finding] = {}
    for (_, part, rows), (_, following, later) in pairwise(stretches):
        if part == following:
            continue
        start = int(time_ms[later[0]])
        over = known[rows] - start
        if (over > 0).any():
            worst = int(-(-int(over.max()) // unit_ms))
            first = int(rows[int(np.argmax(over > 0))])
            detail = f"{int((over > 0).sum()):,} of its targets are known only after {following} has begun"
            found.setdefault(part, Finding(name, "split", part, worst, unit, int(time_ms[first]), way="purge", detail=detail))
        between = start - int(time_ms[rows[-1]])
        if between < embargo_ms and part not in found:
            short = int(-(-(embargo_ms - between) // unit_ms))
            detail = f"{following} begins {between // unit_ms:,} bars after it, and the embargo is {embargo_ms // unit_ms:,}"
            found[part] = Finding(name, "split", part, short, unit, start, way="embargo", detail=detail)
    return list(found.values())


def _back(
    name: str, parts: Mapping[str, Rows], time_ms: NDArray[np.int64], known: NDArray[np.int64], unit_ms: int, unit: str, reach_ms: int
) -> list[Finding]:
    """Rows that come after another part and reach back to what its targets needed."""
    found: dict[str, Finding] = {}
    for part, rows in parts.items():
        for other in (o for o in parts if o != part):
            for run in _runs(np.sort(parts[other])):
                end = int(known[run].max())
                after = rows[(time_ms[rows] > time_ms[run[-1]]) & (time_ms[rows] - reach_ms < end)]
                if part != "test" and len(after) and part not in found:
                    over = int(-(-(end - (int(time_ms[after].min()) - reach_ms)) // unit_ms))
                    detail = f"{len(after):,} of its rows look back into what {other} was judged on"
                    found[part] = Finding(name, "split", part, over, unit, int(time_ms[after[0]]), way="look-back", detail=detail)
    return list(found.values())
