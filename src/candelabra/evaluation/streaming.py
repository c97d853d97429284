"""Stream equals batch: history cut at one close after another, and the last row from as little history as is declared to be enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from candelabra.errors import CandelabraError
from candelabra.evaluation.answers import Answer
from candelabra.evaluation.findings import Finding
from candelabra.evaluation.subject import Effort

if TYPE_CHECKING:
    from candelabra.evaluation.causality import Probe

__all__ = ["audit_stream"]


def audit_stream(probe: Probe, effort: Effort) -> list[Finding]:
    """Columns whose newest value, with history ending there or beginning shortly before, is not what the whole history gives."""
    findings: dict[str, Finding] = {}
    times = probe.base.time_ms
    last = [int(t) for t in times[-1 - effort.steps : -1]]
    spread = [int(t) for t in times[np.linspace(len(times) // 2, len(times) - 1, max(1, effort.steps // 2)).astype(int)]]
    for time in last:
        cut = probe.world.changed("cut", time)
        _compare(probe, probe.ask("candle by candle", cut), time, "candle by candle", findings)
    if probe.subject.tail is not None:
        for time in dict.fromkeys((*spread, *last[:2])):
            probe.tried["from its tail"] = probe.tried.get("from its tail", 0) + 1
            try:
                tail = probe.subject.tail(probe.world.changed("cut", time))
            except CandelabraError as error:
                probe.notes.append(f"from its tail: refused ({str(error)[:120]})")
                break
            _compare(probe, tail, time, "recomputed from the history it declares to be enough", findings)
    return list(findings.values())


def _compare(probe: Probe, answer: Answer | None, time: int, what: str, findings: dict[str, Finding]) -> None:
    if answer is None:
        return
    row = int(np.searchsorted(probe.base.time_ms, time))
    at = int(np.searchsorted(answer.time_ms, time))
    there = at < len(answer) and answer.time_ms[at] == time
    for column, name in enumerate(probe.base.names):
        whole = probe.base.values[row, column]
        known = there and name in answer.names
        single = answer.values[at, answer.names.index(name)] if known else np.nan
        if whole == single or (np.isnan(whole) and np.isnan(single)) or probe.base.known_ms[row, column] > time:
            continue
        off = abs(whole - single) / max(abs(whole), float(probe.spread[column]), 1e-300)
        if not off <= probe.subject.reshaped and name not in findings:
            size = "unknown in one of them" if np.isnan(off) else f"off by {off:.1e} of its spread"
            detail = f"{what}, it is {size}"
            findings[name] = Finding(probe.subject.name, "stream", name, None, probe.world.unit, time, way=what, detail=detail)
