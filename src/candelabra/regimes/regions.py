"""The regions of a regime chart, and the rule of `hysteresis` as its guards and actions: no library here, so that an export needs none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from candelabra.candles.timeframe import timeframe
from candelabra.errors import UsageError
from candelabra.regimes.hysteresis import NO_STATE, HysteresisSettings

__all__ = ["Heard", "Memory", "RegimeChange", "Region", "closes", "record", "regions_of", "switches", "tick"]

Counters: TypeAlias = tuple[int, int, int]
"""Age, candidate and count of a region, as `hysteresis.HysteresisState` has them."""


@dataclass(frozen=True)
class RegimeChange:
    """A timeframe's regime changed at the close of a bar.

    ``before``: None where there was none; it had lasted ``age_bars`` bars. ``probability``: of ``after``, on this bar.
    """

    timeframe: str
    time_ms: int
    before: str | None
    after: str
    age_bars: int
    probability: float


@dataclass(frozen=True)
class Region:
    """One timeframe of a chart: its labels in the order of their probabilities, its rule, and the threshold of each label."""

    timeframe: str
    labels: tuple[str, ...]
    settings: HysteresisSettings
    enter: tuple[float, ...]

    @property
    def codes(self) -> range:
        """The code of every state, `NO_STATE` first."""
        return range(NO_STATE, len(self.labels))

    @property
    def rule(self) -> dict[str, Any]:
        """Labels and settings as plain values for JSON."""
        settings = self.settings
        return {"labels": list(self.labels), "enter": list(self.enter), "confirm": settings.confirm, "min_hold": settings.min_hold}

    def key(self, code: int | None = None) -> str:
        """The name of a state within the machine, or of the region itself; labels are people's, and may be written with anything."""
        return f"tf_{self.timeframe}" if code is None else f"tf_{self.timeframe}_{'start' if code == NO_STATE else code}"

    def title(self, code: int) -> str:
        """A state's name for people: its label, and one that is no label for the state to start in."""
        name = "unknown" if code == NO_STATE else self.labels[code]
        while code == NO_STATE and name in self.labels:
            name = f"({name})"
        return name


@dataclass(frozen=True)
class Heard:
    """What an event says of one bar: its leader and that one's probability (`NO_STATE` and NaN: nothing is known)."""

    time_ms: int
    best: int
    probability: float


@dataclass
class Memory:
    """What a chart remembers besides its states: counters by timeframe, the changes of the bar at hand; ``state`` is the library's."""

    counters: dict[str, Counters]
    state: Any
    changes: list[RegimeChange] = field(default_factory=list)


Guard: TypeAlias = Callable[[Memory, Mapping[str, Heard]], bool]
Action: TypeAlias = Callable[[Memory, Mapping[str, Heard]], None]


def switches(region: Region, before: int, after: int) -> Guard:
    """The guard of the way from one state to another: this bar completes what it takes."""
    name, enter, confirm, min_hold = region.timeframe, region.enter[after], region.settings.confirm, region.settings.min_hold

    def guard(model: Memory, bars: Mapping[str, Heard]) -> bool:
        heard = bars.get(name)
        if heard is None or heard.best != after:
            return False
        if before == NO_STATE:
            return True
        age, candidate, count = model.counters[name]
        return heard.probability >= enter and (count if candidate == after else 0) + 1 >= confirm and age + 1 >= min_hold

    guard.__name__ = "first" if before == NO_STATE else f"p >= {enter:g}, {confirm} in a row, held {min_hold}"  # a diagram shows it
    return guard


def closes(region: Region) -> Guard:
    """The guard of staying: a bar of this timeframe has closed."""

    def guard(model: Memory, bars: Mapping[str, Heard]) -> bool:
        return region.timeframe in bars

    guard.__name__ = "stays"
    return guard


def tick(region: Region, state: int) -> Action:
    """The action of staying: a bar older, and the candidate counted or cleared."""
    name, enter = region.timeframe, region.enter

    def action(model: Memory, bars: Mapping[str, Heard]) -> None:
        heard = bars[name]
        age, candidate, count = model.counters[name]
        if heard.best in (NO_STATE, state) or heard.probability < enter[heard.best]:
            model.counters[name] = (age + 1, NO_STATE, 0)
        else:
            model.counters[name] = (age + 1, heard.best, (count if candidate == heard.best else 0) + 1)

    return action


def record(region: Region, before: int, after: int) -> Action:
    """The action of changing: everything counted starts again, and the change is told."""
    name, was = region.timeframe, None if before == NO_STATE else region.labels[before]

    def action(model: Memory, bars: Mapping[str, Heard]) -> None:
        heard = bars[name]
        model.changes.append(RegimeChange(name, heard.time_ms, was, region.labels[after], model.counters[name][0] + 1, heard.probability))
        model.counters[name] = (0, NO_STATE, 0)

    return action


def regions_of(settings: Mapping[str, HysteresisSettings], labels: Mapping[str, Sequence[str]]) -> tuple[Region, ...]:
    """A checked region for each timeframe, the shortest first; UsageError for what does not fit together."""
    if set(settings) != set(labels) or not settings:
        raise UsageError(
            f"settings were given for {', '.join(settings) or 'no timeframe'} and labels for {', '.join(labels) or 'none'}: give both for "
            "the same timeframes"
        )
    made = []
    for name in sorted(settings, key=timeframe):
        given: object = labels[name]
        words = () if isinstance(given, str) else tuple(labels[name])
        if not words or len(set(words)) != len(words) or not all(isinstance(w, str) and w for w in words):
            raise UsageError(f"{name} has the labels {given!r}: give at least one name, each once, as in ('bullish', 'bearish')")
        made.append(Region(name, words, settings[name], tuple(settings[name].thresholds(len(words)).tolist())))
    return tuple(made)
