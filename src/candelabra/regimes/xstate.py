"""A regime chart as XState v5 JSON, for front ends: data alone, with guards and actions named and their parameters beside them.

`RUNTIME` is the file of JavaScript that supplies them: ``setup(implementations({assign, emit})).createMachine(chart)``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from candelabra.regimes.hysteresis import NO_STATE, HysteresisState
from candelabra.regimes.regions import Region, regions_of

if TYPE_CHECKING:
    from candelabra.regimes.statechart import RegimeChart

__all__ = ["FORM", "RUNTIME", "to_xstate", "xstate_position"]

FORM: Final = "1"
"""The ``version`` of the chart: a runtime and a chart of one form fit together."""

RUNTIME: Final = Path(__file__).with_name("statechart_runtime.mjs")
"""The guards and actions of an exported chart; hand it to the page beside the chart."""


def to_xstate(chart: RegimeChart) -> dict[str, Any]:
    """The machine of a chart at its start: a parallel state with a region per timeframe and a state per label, moved by ``BAR`` events.

    Labels in the order of their probabilities, and the settings, are under ``meta``. `xstate_position` says where a chart stands.
    """
    regions = regions_of(chart.settings, chart.labels)
    return {
        "id": "regimes",
        "version": FORM,
        "type": "parallel",
        "context": {r.timeframe: _counters(HysteresisState()) for r in regions},
        "meta": {"xstate": 5, "rules": {r.timeframe: r.rule for r in regions}},
        "states": {
            r.timeframe: {
                "id": r.key(),
                "initial": r.title(NO_STATE),
                "states": {r.title(code): {"id": r.key(code), "on": {"BAR": _ways(r, code)}} for code in r.codes},
            }
            for r in regions
        },
    }


def xstate_position(chart: RegimeChart) -> dict[str, Any]:
    """Where a chart stands, for a front end to go on from: ``createActor(machine, {snapshot: machine.resolveState(position)})``."""
    regions, states = regions_of(chart.settings, chart.labels), chart.states
    return {
        "value": {r.timeframe: r.title(states[r.timeframe].state) for r in regions},
        "context": {r.timeframe: _counters(states[r.timeframe]) for r in regions},
    }


def _counters(state: HysteresisState) -> dict[str, int]:
    return {"age": state.age, "candidate": state.candidate, "count": state.count}


def _ways(region: Region, code: int) -> list[dict[str, Any]]:
    """The ways out of a state, of which at most one is open, and last the one that stays."""
    own = {"timeframe": region.timeframe}
    ticking = own | {"state": code, "enter": list(region.enter)}
    stay = {"guard": {"type": "closes", "params": own}, "actions": [{"type": "tick", "params": ticking}]}
    return [*(_way(region, code, to) for to in range(len(region.labels)) if to != code), stay]


def _way(region: Region, before: int, after: int) -> dict[str, Any]:
    own: dict[str, Any] = {"timeframe": region.timeframe}
    first = before == NO_STATE
    limits = {} if first else {"enter": region.enter[after], "confirm": region.settings.confirm, "min_hold": region.settings.min_hold}
    told = own | {"before": None if first else region.labels[before], "after": region.labels[after]}
    return {
        "target": f"#{region.key(after)}",  # by id: a label may hold a dot, which would be read as a path
        "guard": {"type": "begins" if first else "switches", "params": own | {"after": after} | limits},
        "actions": [{"type": "announce", "params": told}, {"type": "record", "params": own}],
    }
