"""`RegimeChart`: hysteresis of several timeframes as one parallel state machine, for a program that lives from bar to bar.

A region per timeframe, a state per label and one to start in; a bar is one event, which concerns the regions whose bar has closed. The
guards and actions say the rule of `hysteresis` once more in a chart's words, the same that `xstate.to_xstate` exports: three ways that a
test holds to the same state on every bar. Over history the compiled loop is a thousand times faster; the chart is for subscribing to
changes, for diagrams, and for picking up after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike
from statemachine import StateChart
from statemachine.io import create_machine_class_from_definition
from statemachine.orderedset import OrderedSet

from candelabra.candles.frame import format_time
from candelabra.candles.timeframe import Timeframe
from candelabra.errors import DataError, UsageError
from candelabra.regimes.hysteresis import NO_STATE, HysteresisSettings, HysteresisState
from candelabra.regimes.regions import Heard, Memory, RegimeChange, Region, closes, record, regions_of, switches, tick
from candelabra.registry import did_you_mean

__all__ = ["RegimeChange", "RegimeChart"]

_FORM: Final = 1
_WHOLE: Final = "regimes"


class RegimeChart:
    """The regimes of one symbol at several timeframes, held by hysteresis and moved by one bar at a time; for one thread.

    ``settings`` and ``labels`` by timeframe. ``begin``: where each region stands (`HysteresisRun.end` of its history; default: no regime
    yet). Bars are told apart by their close time: one that was sent before is refused, since it would count twice.

    >>> chart = RegimeChart({"1h": HysteresisSettings(enter=0.6, confirm=2)}, {"1h": ("bullish", "bearish")})
    >>> for hour, up in enumerate([0.9, 0.2, 0.1]):
    ...     for change in chart.send("1h", hour * 3_600_000, [up, 1 - up]):
    ...         print(change.before, "->", change.after, "after", change.age_bars, "bars")
    None -> bullish after 0 bars
    bullish -> bearish after 2 bars
    """

    def __init__(
        self,
        settings: Mapping[str, HysteresisSettings],
        labels: Mapping[str, Sequence[str]],
        begin: Mapping[str, HysteresisState] | None = None,
    ) -> None:
        self._regions = {r.timeframe: r for r in regions_of(settings, labels)}
        self._frames = {name: Timeframe(name) for name in self._regions}
        self._listeners: list[Callable[[RegimeChange], object]] = []
        self._times: dict[str, int | None] = dict.fromkeys(self._regions)
        for name in begin or {}:
            self._region(name)
        self._stand({name: (begin or {}).get(name, HysteresisState()) for name in self._regions})

    @property
    def timeframes(self) -> tuple[str, ...]:
        """Its timeframes, the shortest first."""
        return tuple(self._regions)

    @property
    def settings(self) -> dict[str, HysteresisSettings]:
        """The settings of each timeframe."""
        return {name: region.settings for name, region in self._regions.items()}

    @property
    def labels(self) -> dict[str, tuple[str, ...]]:
        """The labels of each timeframe, in the order of their probabilities."""
        return {name: region.labels for name, region in self._regions.items()}

    @property
    def regimes(self) -> dict[str, str | None]:
        """The regime of each timeframe; None before its first known bar."""
        return {name: None if s.state == NO_STATE else self._regions[name].labels[s.state] for name, s in self.states.items()}

    @property
    def states(self) -> dict[str, HysteresisState]:
        """Where the rule stands at each timeframe, as `hysteresis.step` has it."""
        active = self._machine.configuration_values
        found = {}
        for name, region in self._regions.items():
            code = next(k for k in region.codes if region.key(k) in active)
            found[name] = HysteresisState(code, *self._memory.counters[name])
        return found

    @property
    def time_ms(self) -> dict[str, int | None]:
        """The close time of the newest bar of each timeframe; None where none was sent."""
        return dict(self._times)

    def on_change(self, callback: Callable[[RegimeChange], object]) -> Callable[[], None]:
        """Call ``callback`` with every `RegimeChange` from now on, the whole bar being done; gives a function that ends it.

        What a callback raises reaches whoever sent the bar; the chart has moved nonetheless.
        """
        self._listeners.append(callback)

        def end() -> None:
            if callback in self._listeners:
                self._listeners.remove(callback)

        return end

    def send(self, timeframe: str, time_ms: int, probabilities: ArrayLike | None) -> tuple[RegimeChange, ...]:
        """One bar of one timeframe, closed at ``time_ms``: the change it made, if any. None or NaN: nothing is known of it."""
        return self.send_bar(time_ms, {timeframe: probabilities})

    def send_bar(self, time_ms: int, probabilities: Mapping[str, ArrayLike | None]) -> tuple[RegimeChange, ...]:
        """Every bar that closed at ``time_ms``, by timeframe, as one event: the changes it made, the shortest timeframe first.

        A bar that cannot be is refused before anything moves.
        """
        bars = {name: self._heard(name, int(time_ms), p) for name, p in probabilities.items()}
        self._memory.changes = []
        self._machine.send("bar", bars=bars)
        for name in bars:
            self._times[name] = int(time_ms)
        # the library takes regions in the order in which their states were entered last
        made = tuple(sorted(self._memory.changes, key=lambda change: self.timeframes.index(change.timeframe)))
        for change in made:
            for callback in tuple(self._listeners):
                callback(change)
        return made

    def save(self) -> dict[str, Any]:
        """Where the chart stands, and under which labels and settings, as plain values for JSON."""
        states = self.states
        regions = {n: {"rule": r.rule, "time_ms": self._times[n], **asdict(states[n])} for n, r in self._regions.items()}
        return {"form": _FORM, "regions": regions}

    def resume(self, saved: Mapping[str, Any]) -> None:
        """Stand where a chart of the same labels and settings was saved; UsageError, and nothing moved, when it was another."""
        form = saved.get("form")
        if form != _FORM:
            raise UsageError(f"this is no saved regime chart of form {_FORM}, its form is {form!r}: give what RegimeChart.save() gave")
        try:
            told = {name: dict(values) for name, values in saved["regions"].items()}
            there = {name: dict(values["rule"]) for name, values in told.items()}
            states = {n: HysteresisState(*(v[k] for k in ("state", "age", "candidate", "count"))) for n, v in told.items()}
            times = {n: None if v["time_ms"] is None else int(v["time_ms"]) for n, v in told.items()}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"the saved regime chart is damaged ({error!r}): begin anew from its history") from error
        if set(there) != set(self._regions):
            raise UsageError(f"saved was a chart of {', '.join(there)}, this one has {', '.join(self._regions)}: give the same timeframes")
        for name, region in self._regions.items():
            differing = [f"{k} was {there[name].get(k)}, is {v}" for k, v in region.rule.items() if there[name].get(k) != v]
            if differing:
                raise UsageError(f"{name} was saved under another rule ({'; '.join(differing)}): begin anew from its history")
        self._stand(states)
        self._times = {name: times[name] for name in self._regions}

    def diagram(self) -> str:
        """The chart as the text of a Mermaid diagram, the active states marked."""
        return format(self._machine, "mermaid")

    def _stand(self, states: Mapping[str, HysteresisState]) -> None:
        """A machine that stands at the given states."""
        counters, active = {}, [_WHOLE]
        for name, region in self._regions.items():
            state = states[name].check(len(region.labels))
            counters[name] = (state.age, state.candidate, state.count)
            active += [region.key(), region.key(state.state)]
        # a machine whose memory names its states begins there, and enters nothing
        self._memory = Memory(counters, OrderedSet(active))
        self._machine = _chart_class(tuple(self._regions.values()))(model=self._memory)

    def _region(self, name: str) -> Region:
        if name not in self._regions:
            raise UsageError(f"the chart has no timeframe {name!r}: {did_you_mean(name, self.timeframes)}")
        return self._regions[name]

    def _heard(self, name: str, time_ms: int, probabilities: ArrayLike | None) -> Heard:
        """What a region is told of a bar; DataError for a bar that was sent before, UsageError for another number of labels."""
        region, newest = self._region(name), self._times[name]
        if newest is not None and time_ms <= newest:
            raise DataError(
                f"the {name} bar that closed at {format_time(time_ms)} came after that of {format_time(newest)}: send each bar once, the "
                "oldest first"
            )
        if int(self._frames[name].floor(time_ms)) != time_ms:
            raise DataError(f"no {name} bar closes at {format_time(time_ms)} ({time_ms} ms): give close times in ms, as candles have")
        if probabilities is None:
            return Heard(time_ms, NO_STATE, float("nan"))
        p = np.asarray(probabilities, np.float64)
        if p.shape != (len(region.labels),):
            raise UsageError(f"{name} got probabilities of shape {p.shape} for {len(region.labels)} labels: give one for each, or None")
        if not np.isfinite(p).all():
            return Heard(time_ms, NO_STATE, float("nan"))
        best = int(np.argmax(p))
        return Heard(time_ms, best, float(p[best]))


@lru_cache(maxsize=32)
def _chart_class(regions: tuple[Region, ...]) -> type[StateChart[Memory]]:
    """The machine of some regions; made once, since it takes as long as a hundred bars."""
    parts = {r.key(): {"name": r.timeframe, "states": {r.key(code): _state(r, code) for code in r.codes}} for r in regions}
    whole: Any = {_WHOLE: {"name": "regimes", "parallel": True, "initial": True, "states": parts}}
    # errors of ours are to be seen, not sent into the machine as one more event
    return create_machine_class_from_definition("RegimeChart", whole, catch_errors_as_events=False, atomic_configuration_update=True)


def _state(region: Region, code: int) -> dict[str, Any]:
    """A state with its ways out: to each other label, or none (no target: it is not left), the first that is open."""
    ways: list[dict[str, Any]] = [
        {"target": region.key(to), "cond": switches(region, code, to), "on": record(region, code, to)}
        for to in range(len(region.labels))
        if to != code
    ]
    ways.append({"target": None, "cond": closes(region), "on": tick(region, code)})
    title = " ".join(region.title(code).replace('"', "'").split())
    return {"name": title, "initial": code == NO_STATE, "on": {"bar": ways}}
